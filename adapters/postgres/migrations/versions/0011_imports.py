"""Imports of customers.

Revision: 0011, after 0004.
"""

import sqlalchemy as sa
from alembic import op

from adapters.postgres.migrations.isolation import isolate

revision = "0011"
down_revision = "0004"
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


def downgrade() -> None:
    op.drop_table("imports")
