"""The spine: everything the first five journeys need.

Revision: 0001, after None.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "carts",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("cart", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("store_id", "customer_id", name=op.f("pk_carts")),
    )
    op.create_table(
        "consents",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("store_id", "consent_id", name=op.f("pk_consents")),
    )
    op.create_index("ix_consents_customer", "consents", ["store_id", "customer_id", "channel"], unique=False)
    op.create_table(
        "customers",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("traits", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("told_at", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("merged_into", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("store_id", "customer_id", name=op.f("pk_customers")),
    )
    op.create_index("ix_customers_email", "customers", ["store_id", "email"], unique=False)
    op.create_table(
        "events",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("anonymous_id", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("commands", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("state in ('pending', 'applied', 'routed', 'parked')", name=op.f("ck_events_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("store_id", "message_id", name=op.f("uq_events_store_id_message_id")),
    )
    op.create_index(
        "ix_events_open",
        "events",
        ["shard", "id"],
        unique=False,
        postgresql_where=sa.text("state in ('pending', 'applied')"),
    )
    op.create_index(
        "ix_events_parked", "events", ["store_id", "id"], unique=False, postgresql_where=sa.text("state = 'parked'")
    )
    op.create_index(
        "ix_events_unapplied_anonymous_id",
        "events",
        ["store_id", "anonymous_id"],
        unique=False,
        postgresql_where=sa.text("state in ('pending', 'parked')"),
    )
    op.create_index(
        "ix_events_unapplied_customer_id",
        "events",
        ["store_id", "customer_id"],
        unique=False,
        postgresql_where=sa.text("state in ('pending', 'parked')"),
    )
    op.create_index(
        "ix_events_unapplied_email",
        "events",
        ["store_id", "email"],
        unique=False,
        postgresql_where=sa.text("state in ('pending', 'parked')"),
    )
    op.create_index(
        "ix_events_unapplied_user_id",
        "events",
        ["store_id", "user_id"],
        unique=False,
        postgresql_where=sa.text("state in ('pending', 'parked')"),
    )
    op.create_table(
        "identities",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind in ('user', 'anonymous', 'email')", name=op.f("ck_identities_kind")),
        sa.PrimaryKeyConstraint("store_id", "kind", "value", name=op.f("pk_identities")),
    )
    op.create_index("ix_identities_customer", "identities", ["store_id", "customer_id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), server_default="email", nullable=False),
        sa.Column("transactional", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("discount_code", sa.Text(), nullable=True),
        sa.Column("urls", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sending_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clicked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("converted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("order_value_minor", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("store_id", "message_id", name=op.f("pk_messages")),
        sa.UniqueConstraint("store_id", "run_id", "step", name=op.f("uq_messages_store_id_run_id_step")),
    )
    op.create_index("ix_messages_customer", "messages", ["store_id", "customer_id", "claimed_at"], unique=False)
    op.create_index("ix_messages_id", "messages", ["message_id"], unique=False)
    op.create_table(
        "orders",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("total_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("coupon", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status in ('placed', 'refunded', 'cancelled')", name=op.f("ck_orders_status")),
        sa.PrimaryKeyConstraint("store_id", "order_id", name=op.f("pk_orders")),
    )
    op.create_index("ix_orders_customer", "orders", ["store_id", "customer_id", "placed_at"], unique=False)
    op.create_table(
        "plans",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("store_id", "journey", "version", name=op.f("pk_plans")),
    )
    op.create_table(
        "products",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("image_url", sa.Text(), nullable=True),
        sa.Column("price_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("stock", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("told_at", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("sold", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("store_id", "product_id", name=op.f("pk_products")),
    )
    op.create_index(
        "ix_products_best_sellers", "products", ["store_id", "category", sa.literal_column("sold DESC")], unique=False
    )
    op.create_table(
        "runs",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="running", nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("store_id", "run_id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_customer", "runs", ["store_id", "customer_id", "journey"], unique=False)
    op.create_index(
        "ix_runs_product",
        "runs",
        ["store_id", "product_id"],
        unique=False,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_table(
        "stores",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("sender_email", sa.Text(), nullable=False),
        sa.Column("sender_name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("store_id", name=op.f("pk_stores")),
    )
    op.create_table(
        "suppressions",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "reason in ('unsubscribed', 'bounced', 'complained', 'manual')", name=op.f("ck_suppressions_reason")
        ),
        sa.PrimaryKeyConstraint("store_id", "channel", "address", "reason", name=op.f("pk_suppressions")),
    )
    op.create_table(
        "views",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("view_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("price_minor", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.Integer(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("store_id", "view_id", name=op.f("pk_views")),
    )
    op.create_index(
        "ix_views_customer", "views", ["store_id", "customer_id", sa.literal_column("at DESC")], unique=False
    )
    op.create_table(
        "waitlist",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("chosen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("store_id", "product_id", "customer_id", name=op.f("pk_waitlist")),
    )
    op.create_index("ix_waitlist_queue", "waitlist", ["store_id", "product_id", "asked_at"], unique=False)
    op.create_table(
        "watchlist",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("target_price_minor", sa.BigInteger(), nullable=True),
        sa.Column("price_when_watched_minor", sa.BigInteger(), nullable=True),
        sa.Column("notify_on_price_drop", sa.Boolean(), nullable=False),
        sa.Column("notify_on_restock", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("store_id", "customer_id", "product_id", name=op.f("pk_watchlist")),
    )
    op.create_table(
        "keys",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('write', 'admin')", name=op.f("ck_keys_kind")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.store_id"], name=op.f("fk_keys_store_id")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_keys_hash")),
    )


def downgrade() -> None:
    op.drop_table("keys")
    op.drop_table("watchlist")
    op.drop_index("ix_waitlist_queue", table_name="waitlist")
    op.drop_table("waitlist")
    op.drop_index("ix_views_customer", table_name="views")
    op.drop_table("views")
    op.drop_table("suppressions")
    op.drop_table("stores")
    op.drop_index("ix_runs_product", table_name="runs", postgresql_where=sa.text("ended_at is null"))
    op.drop_index("ix_runs_customer", table_name="runs")
    op.drop_table("runs")
    op.drop_index("ix_products_best_sellers", table_name="products")
    op.drop_table("products")
    op.drop_table("plans")
    op.drop_index("ix_orders_customer", table_name="orders")
    op.drop_table("orders")
    op.drop_index("ix_messages_id", table_name="messages")
    op.drop_index("ix_messages_customer", table_name="messages")
    op.drop_table("messages")
    op.drop_index("ix_identities_customer", table_name="identities")
    op.drop_table("identities")
    op.drop_index(
        "ix_events_unapplied_user_id", table_name="events", postgresql_where=sa.text("state in ('pending', 'parked')")
    )
    op.drop_index(
        "ix_events_unapplied_email", table_name="events", postgresql_where=sa.text("state in ('pending', 'parked')")
    )
    op.drop_index(
        "ix_events_unapplied_customer_id",
        table_name="events",
        postgresql_where=sa.text("state in ('pending', 'parked')"),
    )
    op.drop_index(
        "ix_events_unapplied_anonymous_id",
        table_name="events",
        postgresql_where=sa.text("state in ('pending', 'parked')"),
    )
    op.drop_index("ix_events_parked", table_name="events", postgresql_where=sa.text("state = 'parked'"))
    op.drop_index("ix_events_open", table_name="events", postgresql_where=sa.text("state in ('pending', 'applied')"))
    op.drop_table("events")
    op.drop_index("ix_customers_email", table_name="customers")
    op.drop_table("customers")
    op.drop_index("ix_consents_customer", table_name="consents")
    op.drop_table("consents")
    op.drop_table("carts")
