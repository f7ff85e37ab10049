"""Messages under way by an index, the trace that an event belongs to, and DKIM keys.

Revision: 0010.
"""

import sqlalchemy as sa
from alembic import op

from adapters.postgres.migrations.isolation import isolate, read_across
from adapters.postgres.tenancy import ACROSS

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    under_way = sa.text("state in ('claimed', 'sending')")
    op.create_index("ix_messages_under_way", "messages", ["state", "claimed_at"], postgresql_where=under_way)
    op.add_column("events", sa.Column("traceparent", sa.Text()))
    op.create_table(
        "dkim_keys",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signs_since", sa.DateTime(timezone=True)),
        sa.CheckConstraint("algorithm in ('rsa-sha256', 'ed25519-sha256')", name=op.f("ck_dkim_keys_algorithm")),
        sa.PrimaryKeyConstraint("store_id", "domain", "selector", name="pk_dkim_keys"),
    )
    isolate("dkim_keys")
    # what waits is counted for all stores together
    read_across("runs", "journey", "ended_at")
    op.execute(f"grant select (state, claimed_at, sending_at) on messages to {ACROSS}")
