"""Imports of customers, and indexes for statements that had none.

Revision: 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

from adapters.postgres.migrations.isolation import isolate

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("line", "new", "known", "told", "bad")),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("store_id", "fingerprint", name="pk_imports"),
    )
    isolate("imports")
    merged, open_ = sa.text("merged_into is not null"), sa.text("ended_at is null")
    op.create_index("ix_customers_merged", "customers", ["store_id", "merged_into"], postgresql_where=merged)
    op.create_index("ix_runs_workflow", "runs", ["store_id", "workflow_id"], postgresql_where=open_)
    op.create_index("ix_waitlist_customer", "waitlist", ["store_id", "customer_id"])
    op.create_index(
        "ix_products_popular",
        "products",
        ["store_id", sa.text("sold desc"), "product_id"],
        postgresql_where=sa.text("name is not null and withdrawn is false"),
    )


def downgrade() -> None:
    op.drop_index("ix_products_popular", "products")
    op.drop_index("ix_waitlist_customer", "waitlist")
    op.drop_index("ix_runs_workflow", "runs")
    op.drop_index("ix_customers_merged", "customers")
    op.drop_table("imports")
