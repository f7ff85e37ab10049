"""The tables. Each carries `store_id` and each query filters by it (G7); times are timestamptz.

Money is in bigint minor units.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _time(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


stores = Table(
    "stores",
    metadata,
    Column("store_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("currency", Text, nullable=False, server_default="USD"),
    Column("timezone", Text, nullable=False, server_default="UTC"),
    Column("sender_email", Text, nullable=False),
    Column("sender_name", Text, nullable=False),
    Column("address", Text, nullable=False, server_default=""),
    # of the hashes by which erased customers are recognised
    Column("salt", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    # from whose pages browsers may use its write keys; None: from any
    Column("origins", ARRAY(Text)),
    # what each of its keys may take (`domain.limits.Limit`), unless the key has a limit of its own
    Column("rate_limit", JSONB(none_as_null=True)),
    _time("created_at"),
)

keys = Table(
    "keys",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("key_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    # `domain.access.Scope`; a write key has none
    Column("scopes", ARRAY(Text), nullable=False, server_default="{}"),
    Column("name", Text, nullable=False, server_default=""),
    Column("hash", Text, nullable=False, unique=True),
    Column("rate_limit", JSONB(none_as_null=True)),
    _time("created_at"),
    # when it ends by itself, since it was rotated, and which key has taken its place
    _time("expires_at", nullable=True),
    Column("replaced_by", Uuid),
    _time("revoked_at", nullable=True),
    # told by the processes of the API, each second: when its bucket is full again, and when it was last used
    _time("full_at", nullable=True),
    _time("last_used_at", nullable=True),
    ForeignKeyConstraint(["store_id"], ["stores.store_id"]),
    CheckConstraint("kind in ('write', 'api')", name="kind"),
    CheckConstraint("(kind = 'write') = (scopes = '{}')", name="scopes"),
)

events = Table(
    "events",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("id", Uuid, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("name", Text),
    Column("user_id", Text),
    Column("anonymous_id", Text),
    Column("email", Text),
    Column("customer_id", Uuid),
    Column("payload", JSONB, nullable=False),
    _time("at"),
    _time("received_at"),
    Column("ip", Text),
    Column("shard", SmallInteger, nullable=False),
    # pending: not understood yet; applied: state changed, commands owed; routed; parked: given up, see error
    Column("state", Text, nullable=False, server_default="pending"),
    Column("commands", JSONB),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _time("retry_at", nullable=True),
    Column("error", Text),
    # the trace that its request belonged to (W3C Trace Context), if traces are on
    Column("traceparent", Text),
    CheckConstraint("state in ('pending', 'applied', 'routed', 'parked')", name="state"),
    # by weeks of arrival, which the id begins with; partitions.py makes them and drops them
    postgresql_partition_by="RANGE (id)",
)
# Queries use these very words: with a parameter in their place Postgres could not know that a partial index will do,
# and would plan a query of all weeks anew each time.
OPEN = text("state in ('pending', 'applied')")
UNAPPLIED = text("state in ('pending', 'parked')")
Index("ix_events_open", events.c.shard, events.c.id, postgresql_where=OPEN)
# Whose events are held back is asked with every batch, and nearly always they are nobody's.
Index("ix_events_retry", events.c.shard, events.c.retry_at, postgresql_where=text(f"{OPEN} and retry_at is not null"))
Index("ix_events_parked", events.c.store_id, events.c.id, postgresql_where=text("state = 'parked'"))
# The gate asks whether an accepted event of a customer is still unapplied, by each identity it knows. Every event is
# among these for a moment, and leaves a dead entry; so each index can be used for its own identity alone.
for _identity in ("user_id", "anonymous_id", "email", "customer_id"):
    Index(
        f"ix_events_unapplied_by_{_identity}",
        events.c.store_id,
        events.c[_identity],
        postgresql_where=text(f"{UNAPPLIED} and {_identity} is not null"),
    )

# Which events there are, by what their clients call them: a unique key of `events` would have to hold their ids.
dedup_keys = Table(
    "dedup_keys",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    PrimaryKeyConstraint("store_id", "message_id"),
)

customers = Table(
    "customers",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("email", Text),
    Column("phone", Text),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("locale", Text),
    Column("timezone", Text),
    # the customer wants no marketing until then
    _time("marketing_paused_until", nullable=True),
    Column("traits", JSONB, nullable=False, server_default="{}"),
    # when each profile field was last told, so that a late event does not overwrite a newer one (domain/profile.py)
    Column("told_at", JSONB, nullable=False, server_default="{}"),
    Column("merged_into", Uuid),
    _time("created_at"),
    PrimaryKeyConstraint("store_id", "customer_id"),
)
Index("ix_customers_email", customers.c.store_id, customers.c.email)
_merged = text("merged_into is not null")
Index("ix_customers_merged", customers.c.store_id, customers.c.merged_into, postgresql_where=_merged)

identities = Table(
    "identities",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    PrimaryKeyConstraint("store_id", "kind", "value"),
    CheckConstraint("kind in ('user', 'anonymous', 'email')", name="kind"),
)
Index("ix_identities_customer", identities.c.store_id, identities.c.customer_id)

carts = Table(
    "carts",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("cart", JSONB, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    _time("changed_at", nullable=True),
    PrimaryKeyConstraint("store_id", "customer_id"),
)

orders = Table(
    "orders",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    _time("placed_at", nullable=True),
    Column("total_minor", BigInteger, nullable=False, server_default="0"),
    Column("currency", Text, nullable=False, server_default="USD"),
    Column("lines", JSONB, nullable=False, server_default="[]"),
    Column("coupon", Text),
    _time("updated_at"),
    PrimaryKeyConstraint("store_id", "order_id"),
    CheckConstraint("status in ('placed', 'refunded', 'cancelled')", name="status"),
)
Index("ix_orders_customer", orders.c.store_id, orders.c.customer_id, orders.c.placed_at)

products = Table(
    "products",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("name", Text),
    Column("category", Text),
    Column("url", Text),
    Column("image_url", Text),
    Column("price_minor", BigInteger),
    # once the back office has told a price: the one before, in the same currency, and when this one came
    Column("price_was_minor", BigInteger),
    _time("price_since", nullable=True),
    Column("currency", Text),
    Column("stock", BigInteger),
    Column("withdrawn", Boolean, nullable=False, server_default="false"),
    Column("told_at", JSONB, nullable=False, server_default="{}"),
    Column("sold", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("store_id", "product_id"),
)
Index("ix_products_best_sellers", products.c.store_id, products.c.category, products.c.sold.desc())
Index(
    "ix_products_popular", products.c.store_id, products.c.sold.desc(), products.c.product_id,
    postgresql_where=text("name is not null and withdrawn is false"),
)  # fmt: skip

views = Table(
    "views",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("view_id", Uuid, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("category", Text),
    Column("price_minor", BigInteger),
    Column("currency", Text),
    Column("duration_s", Integer),
    _time("at"),
    PrimaryKeyConstraint("store_id", "view_id"),
)
Index("ix_views_product", views.c.store_id, views.c.customer_id, views.c.product_id, views.c.at.desc())
Index("ix_views_customer", views.c.store_id, views.c.customer_id, views.c.at.desc())
# What is oldest lies together, so a few pages say where: retention finds it without an index entry for each row.
Index("ix_views_age", views.c.at, postgresql_using="brin")

waitlist = Table(
    "waitlist",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    _time("asked_at"),
    # chosen: taken into a wave; told: its run has been signalled; left: bought, or gave up
    _time("chosen_at", nullable=True),
    _time("told_at", nullable=True),
    _time("left_at", nullable=True),
    PrimaryKeyConstraint("store_id", "product_id", "customer_id"),
)
Index("ix_waitlist_queue", waitlist.c.store_id, waitlist.c.product_id, waitlist.c.asked_at)
Index("ix_waitlist_customer", waitlist.c.store_id, waitlist.c.customer_id)

watchlist = Table(
    "watchlist",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("target_price_minor", BigInteger),
    Column("price_when_watched_minor", BigInteger),
    Column("drop_percent", Integer),
    Column("currency", Text),
    Column("notify_on_price_drop", Boolean, nullable=False),
    Column("notify_on_restock", Boolean, nullable=False),
    _time("changed_at"),
    Column("active", Boolean, nullable=False),
    PrimaryKeyConstraint("store_id", "customer_id", "product_id"),
)

Index(
    "ix_watchlist_product", watchlist.c.store_id, watchlist.c.product_id, watchlist.c.customer_id,
    postgresql_where=text("active and notify_on_price_drop"),
)  # fmt: skip

# Append-only: a trigger refuses what is neither a new line, a joined customer nor an erasure (migration 0012).
consents = Table(
    "consents",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("consent_id", Uuid, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("channel", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("granted", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("ip", Text),
    Column("user_agent", Text),
    # the version of the text that the customer agreed to
    Column("wording", Text),
    # awaited: counts for nothing yet; given: counts for `address`, whose mails the customer reads
    Column("confirmation", Text),
    Column("address", Text),
    _time("at"),
    _time("recorded_at"),
    PrimaryKeyConstraint("store_id", "consent_id"),
    CheckConstraint("confirmation in ('awaited', 'given')", name="confirmation"),
)
Index("ix_consents_customer", consents.c.store_id, consents.c.customer_id, consents.c.channel)

suppressions = Table(
    "suppressions",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("address", Text, nullable=False),
    # unsubscribed stops marketing; every other reason stops everything
    Column("reason", Text, nullable=False),
    _time("at"),
    # None: for good
    _time("expires_at", nullable=True),
    # who did it, or what was said: codes and names of files, no words of others
    Column("detail", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("store_id", "channel", "address", "reason"),
    CheckConstraint("reason in ('unsubscribed', 'bounced', 'complained', 'manual', 'imported')", name="reason"),
)

# What verifies a mail provider's webhooks; a secret is kept sealed where a master key is set.
provider_secrets = Table(
    "provider_secrets",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("secret", Text, nullable=False),
    _time("created_at"),
    PrimaryKeyConstraint("store_id", "provider", "secret"),
    CheckConstraint("provider in ('ses', 'sendgrid', 'mailgun', 'postmark', 'shop')", name="provider"),
)

# What signs a store's mail (RFC 6376); a private key is kept sealed where a master key is set.
dkim_keys = Table(
    "dkim_keys",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("selector", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("private_key", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    _time("created_at"),
    # None: its record is not published yet, or no longer
    _time("signs_since", nullable=True),
    PrimaryKeyConstraint("store_id", "domain", "selector"),
    CheckConstraint("algorithm in ('rsa-sha256', 'ed25519-sha256')", name="algorithm"),
)

# Codes that are given to one message each; `place` keeps the order of the file.
discount_codes = Table(
    "discount_codes",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("place", Integer, nullable=False),
    _time("added_at"),
    Column("message_id", Uuid),
    _time("given_at", nullable=True),
    PrimaryKeyConstraint("store_id", "code"),
    UniqueConstraint("store_id", "message_id"),
)
Index(
    "ix_discount_codes_free", discount_codes.c.store_id, discount_codes.c.pool, discount_codes.c.added_at,
    discount_codes.c.place, postgresql_where=text("message_id is null"),
)  # fmt: skip

# Shops that fill a pool when fewer than `low` codes are free; `order_id` is an order that is not filled yet.
code_sources = Table(
    "code_sources",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("low", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    _time("set_at"),
    Column("order_id", Uuid),
    _time("tried_at", nullable=True),
    Column("problem", Text),
    PrimaryKeyConstraint("store_id", "pool"),
)

# Quiet hours and caps of a store's marketing, as `domain.sending_rules`; a store without a row has none.
sending_rules = Table(
    "sending_rules",
    metadata,
    Column("store_id", Text, primary_key=True),
    Column("rules", JSONB, nullable=False),
    _time("set_at"),
)

# How long a store keeps what, as `domain.retention`; a store without a row has the default.
retention_policies = Table(
    "retention_policies",
    metadata,
    Column("store_id", Text, primary_key=True),
    Column("policy", JSONB, nullable=False),
    _time("set_at"),
)

plans = Table(
    "plans",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("plan", JSONB, nullable=False),
    _time("created_at"),
    PrimaryKeyConstraint("store_id", "journey", "version"),
)

runs = Table(
    "runs",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("product_id", Text),
    Column("order_id", Text),
    Column("plan_version", Integer, nullable=False),
    # the plan that it has now, if that is no version of the store's: it kept its steps and took new waits
    Column("plan", JSONB),
    _time("since"),
    _time("begun_at"),
    _time("expires_at"),
    _time("ended_at", nullable=True),
    Column("outcome", Text, nullable=False, server_default="running"),
    Column("because", Text),
    # why it began: the event, and its fact in a few words
    Column("trigger_event", Uuid),
    Column("began_by", Text),
    # names of events that end it by its plan's own word (follow-ups)
    Column("exits", JSONB, nullable=False, server_default="[]"),
    PrimaryKeyConstraint("store_id", "run_id"),
)
Index("ix_runs_under_way", runs.c.store_id, runs.c.journey, runs.c.run_id, postgresql_where=text("ended_at is null"))
Index("ix_runs_age", runs.c.ended_at, postgresql_using="brin")
Index("ix_runs_customer", runs.c.store_id, runs.c.customer_id, runs.c.journey)
Index("ix_runs_workflow", runs.c.store_id, runs.c.workflow_id, postgresql_where=text("ended_at is null"))
Index("ix_runs_product", runs.c.store_id, runs.c.product_id, postgresql_where=text("ended_at is null"))

messages = Table(
    "messages",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("journey", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("channel", Text, nullable=False, server_default="email"),
    Column("transactional", Boolean, nullable=False),
    Column("topic", Text, nullable=False, server_default="marketing_emails"),
    # claimed: ours to send; sending: handed to the provider, not yet answered; else a Result
    Column("state", Text, nullable=False),
    Column("because", Text),
    Column("address", Text),
    Column("discount_code", Text),
    Column("urls", JSONB, nullable=False, server_default="[]"),
    _time("claimed_at"),
    _time("sending_at", nullable=True),
    # when it was sent again, since nobody could know whether it had gone out
    _time("resent_at", nullable=True),
    _time("settled_at", nullable=True),
    _time("retry_at", nullable=True),
    _time("opened_at", nullable=True),
    _time("clicked_at", nullable=True),
    _time("converted_at", nullable=True),
    # what came back for it: a `domain.bounces.Kind`, the worst that was told
    Column("bounce", Text),
    _time("bounced_at", nullable=True),
    _time("delivered_at", nullable=True),
    _time("complained_at", nullable=True),
    Column("order_id", Text),
    Column("order_value_minor", BigInteger),
    PrimaryKeyConstraint("store_id", "message_id"),
    UniqueConstraint("store_id", "run_id", "step"),
)
Index("ix_messages_id", messages.c.message_id)
Index("ix_messages_age", messages.c.claimed_at, postgresql_using="brin")
Index("ix_messages_customer", messages.c.store_id, messages.c.customer_id, messages.c.claimed_at)
Index("ix_messages_address", messages.c.store_id, messages.c.address, messages.c.claimed_at)
_under_way = text("state in ('claimed', 'sending')")
Index("ix_messages_under_way", messages.c.state, messages.c.claimed_at, postgresql_where=_under_way)

# Each answer of the gate, with what it knew: why a message was sent, put off or withheld. Append-only.
decisions = Table(
    "decisions",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("decision_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("step", Text, nullable=False),
    Column("plan_version", Integer),
    _time("due"),
    _time("decided_at"),
    Column("result", Text, nullable=False),
    Column("rule", Text),
    Column("because", Text, nullable=False),
    _time("until", nullable=True),
    Column("inputs", JSONB, nullable=False),
    PrimaryKeyConstraint("store_id", "decision_id"),
)
Index("ix_decisions_run", decisions.c.store_id, decisions.c.run_id, decisions.c.decided_at)
Index("ix_decisions_age", decisions.c.decided_at, postgresql_using="brin")

# What operators did, in the store's own words; append-only, which a trigger enforces (docs/keys.md).
audit = Table(
    "audit",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("audit_id", Uuid, nullable=False),
    _time("at"),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    # what it was done to: a run, a journey, a key
    Column("subject", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("store_id", "audit_id"),
)
Index("ix_audit_subject", audit.c.store_id, audit.c.subject, audit.c.at)
Index("ix_audit_at", audit.c.store_id, audit.c.at.desc(), audit.c.audit_id.desc())

pauses = Table(
    "pauses",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("pause_id", Uuid, nullable=False),
    Column("journey", Text, nullable=False),
    _time("since"),
    _time("until", nullable=True),
    Column("policy", Text, nullable=False, server_default="shift"),
    Column("over_s", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("store_id", "pause_id"),
    CheckConstraint("policy in ('shift', 'drop-overdue', 'spread')", name="policy"),
)
Index("ix_pauses_journey", pauses.c.store_id, pauses.c.journey, pauses.c.since)
Index("uq_pauses_open", pauses.c.store_id, pauses.c.journey, unique=True, postgresql_where=text("until is null"))

# Events that a store's follow-ups count or wait for, and only those.
happenings = Table(
    "happenings",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    _time("at"),
    PrimaryKeyConstraint("store_id", "event_id"),
)
Index("ix_happenings_customer", happenings.c.store_id, happenings.c.customer_id, happenings.c.name, happenings.c.at)

# What encrypts the payloads in Temporal, wrapped by a master key. A destroyed key leaves its row, so that none follows.
data_keys = Table(
    "data_keys",
    metadata,
    Column("store_id", Text, nullable=False),
    # a customer; or -, for what a store has beside them
    Column("owner", Text, nullable=False),
    Column("wrapped", LargeBinary),
    # which master key wrapped it
    Column("master", Text),
    _time("created_at"),
    _time("destroyed_at", nullable=True),
    PrimaryKeyConstraint("store_id", "owner"),
)

# How far the import of a file of customers is, so that an interrupted one goes on (adapters/postgres/imports.py).
imports = Table(
    "imports",
    metadata,
    Column("store_id", Text, nullable=False),
    # of the file's content; its name may be somebody's
    Column("fingerprint", Text, nullable=False),
    _time("as_of"),
    Column("line", Integer, nullable=False),
    Column("new", Integer, nullable=False),
    Column("known", Integer, nullable=False),
    Column("told", Integer, nullable=False),
    Column("bad", Integer, nullable=False),
    _time("begun_at"),
    _time("finished_at", nullable=True),
    PrimaryKeyConstraint("store_id", "fingerprint"),
)

# Who was erased, as salted hashes of their identities; what happened before that is not taken in any more.
tombstones = Table(
    "tombstones",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("digest", Text, nullable=False),
    _time("erased_at"),
    PrimaryKeyConstraint("store_id", "digest"),
)
