"""Scopes, rotation and limits of keys, the origins of a store, and an audit log that only grows.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from adapters.postgres.migrations.isolation import every_row
from adapters.postgres.tenancy import APP

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A defect, or a query typed by hand, is refused by the database itself. Whoever may set this can also drop the trigger;
# it keeps retention, which says so in its own transaction, apart from everything else.
_APPEND_ONLY = """
create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    if tg_op <> 'UPDATE' and current_setting('journeys.retention', true) = 'on' then
        return old;
    end if;
    raise exception 'audit is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_rows_stay before update or delete on audit
    for each row execute function audit_is_append_only();
create trigger audit_stays before truncate on audit
    for each statement execute function audit_is_append_only();
"""


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True))


def upgrade() -> None:
    _stores()
    _keys()
    _audit()


def _stores() -> None:
    op.add_column("stores", sa.Column("origins", postgresql.ARRAY(sa.Text())))
    op.add_column("stores", sa.Column("rate_limit", postgresql.JSONB(none_as_null=True)))


def _keys() -> None:
    op.add_column("keys", sa.Column("scopes", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.add_column("keys", sa.Column("name", sa.Text(), server_default="", nullable=False))
    op.add_column("keys", sa.Column("rate_limit", postgresql.JSONB(none_as_null=True)))
    op.add_column("keys", sa.Column("replaced_by", sa.Uuid()))
    for name in ("expires_at", "full_at", "last_used_at"):
        op.add_column("keys", _time(name))
    op.drop_constraint("ck_keys_kind", "keys")
    # An admin key goes on to open what it opened: everything.
    with every_row("keys"):
        op.execute("update keys set kind = 'api', scopes = '{read,write,admin}' where kind = 'admin'")
    op.create_check_constraint(op.f("ck_keys_kind"), "keys", "kind in ('write', 'api')")
    op.create_check_constraint(op.f("ck_keys_scopes"), "keys", "(kind = 'write') = (scopes = '{}')")


def _audit() -> None:
    op.create_index("ix_audit_at", "audit", ["store_id", sa.text("at desc"), sa.text("audit_id desc")])
    op.execute(_APPEND_ONLY)
    op.execute(f"revoke update on audit from {APP}")
