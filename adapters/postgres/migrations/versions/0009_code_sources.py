"""Shops that make discount codes, and the secrets that sign what we ask them.

Revision: 0009, after 0012.
"""

import sqlalchemy as sa
from alembic import op

from adapters.postgres.migrations.isolation import every_row, isolate, read_across

revision = "0009"
down_revision = "0012"
branch_labels = None
depends_on = None

_PROVIDERS = ("ses", "sendgrid", "mailgun", "postmark")


def upgrade() -> None:
    op.create_table(
        "code_sources",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("low", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("order_id", sa.Uuid()),
        sa.Column("tried_at", sa.DateTime(timezone=True)),
        sa.Column("problem", sa.Text()),
        sa.PrimaryKeyConstraint("store_id", "pool", name="pk_code_sources"),
    )
    isolate("code_sources")
    read_across("code_sources", "store_id", "tried_at")
    _providers(*_PROVIDERS, "shop")


def downgrade() -> None:
    with every_row("provider_secrets"):
        op.execute("delete from provider_secrets where provider = 'shop'")
    _providers(*_PROVIDERS)
    op.drop_table("code_sources")


def _providers(*names: str) -> None:
    allowed = ", ".join(f"'{name}'" for name in names)
    op.drop_constraint(op.f("ck_provider_secrets_provider"), "provider_secrets", type_="check")
    op.create_check_constraint(op.f("ck_provider_secrets_provider"), "provider_secrets", f"provider in ({allowed})")
