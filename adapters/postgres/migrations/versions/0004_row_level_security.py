"""Row-level security: whatever a query says, it sees the rows of one store.

Revision: 0004, after 0003.
"""

from adapters.postgres.migrations.isolation import isolate, make_roles, read_across

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = (
    "stores",
    "keys",
    "events",
    "customers",
    "identities",
    "carts",
    "orders",
    "products",
    "views",
    "waitlist",
    "watchlist",
    "consents",
    "suppressions",
    "provider_secrets",
    "discount_codes",
    "sending_rules",
    "plans",
    "runs",
    "messages",
    "decisions",
    "audit",
    "pauses",
    "happenings",
    "data_keys",
    "tombstones",
)


def upgrade() -> None:
    make_roles()
    for table in _TABLES:
        isolate(table)
    # a key says whose it is; the router looks for whatever waits; a link names its message
    read_across("stores")
    read_across("keys")
    read_across("events")
    read_across("messages", "store_id", "message_id")
