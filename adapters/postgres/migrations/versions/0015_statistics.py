"""What Postgres takes a table for that it has not looked at yet.

Revision: 0015, after 0014.
"""

from alembic import op

from adapters.postgres.migrations.statistics import SUPPOSED

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(SUPPOSED)


def downgrade() -> None:
    """Leave them: the first look at a table replaces them."""
