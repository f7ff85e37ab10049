"""An index of the events that wait for their retry.

Revision: 0013, after 0009 (which came after 0012).
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    waits = sa.text("state in ('pending', 'applied') and retry_at is not null")
    op.create_index("ix_events_retry", "events", ["shard", "retry_at"], postgresql_where=waits)


def downgrade() -> None:
    op.drop_index("ix_events_retry", "events")
