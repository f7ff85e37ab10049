"""Sending rules, what came back for messages, suppressions that expire, and secrets of mail providers.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    _sending()
    _delivery()
    _bounces()
    _data_keys()
    _erasure()


def _sending() -> None:
    op.create_table(
        "sending_rules",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        _time("set_at"),
        sa.PrimaryKeyConstraint("store_id", name="pk_sending_rules"),
    )
    topic = sa.Column("topic", sa.Text(), server_default="marketing_emails", nullable=False)
    op.add_column("messages", topic)
    op.create_table(
        "discount_codes",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        _time("added_at"),
        sa.Column("message_id", sa.Uuid()),
        _time("given_at", nullable=True),
        sa.PrimaryKeyConstraint("store_id", "code", name="pk_discount_codes"),
        sa.UniqueConstraint("store_id", "message_id", name="uq_discount_codes_store_id_message_id"),
    )
    free, in_order = sa.text("message_id is null"), ["store_id", "pool", "added_at", "place"]
    op.create_index("ix_discount_codes_free", "discount_codes", in_order, postgresql_where=free)


def _delivery() -> None:
    op.add_column("messages", _time("resent_at", nullable=True))


def _bounces() -> None:
    op.add_column("messages", sa.Column("bounce", sa.Text()))
    for name in ("bounced_at", "delivered_at", "complained_at"):
        op.add_column("messages", _time(name, nullable=True))
    op.create_index("ix_messages_address", "messages", ["store_id", "address", "claimed_at"])
    op.add_column("suppressions", _time("expires_at", nullable=True))
    op.add_column("suppressions", sa.Column("detail", sa.Text(), server_default="", nullable=False))
    reasons = "reason in ('unsubscribed', 'bounced', 'complained', 'manual', 'imported')"
    op.drop_constraint("ck_suppressions_reason", "suppressions")
    op.create_check_constraint(op.f("ck_suppressions_reason"), "suppressions", reasons)
    op.create_table(
        "provider_secrets",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        _time("created_at"),
        sa.CheckConstraint(
            "provider in ('ses', 'sendgrid', 'mailgun', 'postmark')", name=op.f("ck_provider_secrets_provider")
        ),
        sa.PrimaryKeyConstraint("store_id", "provider", "secret", name="pk_provider_secrets"),
    )


def _data_keys() -> None:
    op.create_table(
        "data_keys",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary()),
        sa.Column("master", sa.Text()),
        _time("created_at"),
        _time("destroyed_at", nullable=True),
        sa.PrimaryKeyConstraint("store_id", "owner", name="pk_data_keys"),
    )


def _erasure() -> None:
    op.add_column("stores", sa.Column("salt", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False))
    op.create_table(
        "tombstones",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        _time("erased_at"),
        sa.PrimaryKeyConstraint("store_id", "digest", name="pk_tombstones"),
    )
