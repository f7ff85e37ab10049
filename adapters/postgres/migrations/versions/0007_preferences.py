"""Until when a customer has paused marketing.

Revision: 0007, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("customers", sa.Column("marketing_paused_until", sa.DateTime(timezone=True)))
