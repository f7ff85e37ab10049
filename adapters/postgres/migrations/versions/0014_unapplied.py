"""Indexes of unapplied events that Postgres can use for one identity alone.

Revision: 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_IDENTITIES = ("user_id", "anonymous_id", "email", "customer_id")
_UNAPPLIED = "state in ('pending', 'parked')"


def upgrade() -> None:
    for identity in _IDENTITIES:
        mine = sa.text(f"{_UNAPPLIED} and {identity} is not null")
        op.create_index(f"ix_events_unapplied_by_{identity}", "events", ["store_id", identity], postgresql_where=mine)
        op.drop_index(f"ix_events_unapplied_{identity}", "events")


def downgrade() -> None:
    for identity in _IDENTITIES:
        unapplied = sa.text(_UNAPPLIED)
        op.create_index(f"ix_events_unapplied_{identity}", "events", ["store_id", identity], postgresql_where=unapplied)
        op.drop_index(f"ix_events_unapplied_by_{identity}", "events")
