"""Decisions, audit, pauses, follow-ups and price drops.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("plan_version", sa.Integer()),
        _time("due"),
        _time("decided_at"),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text()),
        sa.Column("because", sa.Text(), nullable=False),
        _time("until", nullable=True),
        sa.Column("inputs", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("store_id", "decision_id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_run", "decisions", ["store_id", "run_id", "decided_at"])
    op.create_table(
        "audit",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        _time("at"),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", _JSON, server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("store_id", "audit_id", name="pk_audit"),
    )
    op.create_index("ix_audit_subject", "audit", ["store_id", "subject", "at"])
    op.create_table(
        "pauses",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("pause_id", sa.Uuid(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        _time("since"),
        _time("until", nullable=True),
        sa.Column("policy", sa.Text(), server_default="shift", nullable=False),
        sa.Column("over_s", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("policy in ('shift', 'drop-overdue', 'spread')", name="ck_pauses_policy"),
        sa.PrimaryKeyConstraint("store_id", "pause_id", name="pk_pauses"),
    )
    op.create_index("ix_pauses_journey", "pauses", ["store_id", "journey", "since"])
    open_one = sa.text("until is null")
    op.create_index("uq_pauses_open", "pauses", ["store_id", "journey"], unique=True, postgresql_where=open_one)
    op.create_table(
        "happenings",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        _time("at"),
        sa.PrimaryKeyConstraint("store_id", "event_id", name="pk_happenings"),
    )
    op.create_index("ix_happenings_customer", "happenings", ["store_id", "customer_id", "name", "at"])
    op.add_column("products", sa.Column("price_was_minor", sa.BigInteger()))
    op.add_column("products", _time("price_since", nullable=True))
    op.add_column("views", sa.Column("currency", sa.Text()))
    op.add_column("watchlist", sa.Column("drop_percent", sa.Integer()))
    op.add_column("watchlist", sa.Column("currency", sa.Text()))
    watching, alerts = ["store_id", "product_id", "customer_id"], sa.text("active and notify_on_price_drop")
    op.create_index("ix_watchlist_product", "watchlist", watching, postgresql_where=alerts)
    op.create_index("ix_views_product", "views", ["store_id", "customer_id", "product_id", sa.text("at desc")])
    op.add_column("runs", sa.Column("plan", _JSON))
    op.add_column("runs", sa.Column("trigger_event", sa.Uuid()))
    op.add_column("runs", sa.Column("began_by", sa.Text()))
    op.add_column("runs", sa.Column("exits", _JSON, server_default="[]", nullable=False))
    under_way = sa.text("ended_at is null")
    op.create_index("ix_runs_under_way", "runs", ["store_id", "journey", "run_id"], postgresql_where=under_way)
