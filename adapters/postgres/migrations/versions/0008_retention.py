"""Events by weeks, their dedup keys beside them, and how long a store keeps what.

Revision: 0008, after 0007.

Nothing is copied but the dedup keys: a table with events becomes the first partition as it is. The API of the version
before stores nothing from this commit on (503, and clients send again), so start the new one right after it.
"""

from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from adapters.postgres import partitions
from adapters.postgres.migrations.isolation import every_row, isolate, read_across
from adapters.postgres.tenancy import ACROSS, APP
from domain import ids

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_OVERLAP = timedelta(days=1)
"""An event whose id is so much older than the newest may have been committed after it."""
_INDEXES = {
    "ix_events_open": (["shard", "id"], "state in ('pending', 'applied')"),
    "ix_events_parked": (["store_id", "id"], "state = 'parked'"),
    **{
        f"ix_events_unapplied_{column}": (["store_id", column], "state in ('pending', 'parked')")
        for column in ("user_id", "anonymous_id", "email", "customer_id")
    },
}
# The first ids of two weeks: the millisecond, and then zeros (RFC 9562 §5.7).
_MAKE_WEEK = """
    create function events_make_week(monday date) returns void OPTIONS as $$
    declare
        name text := 'events_' || to_char(monday, 'YYYYMMDD');
        first uuid := (lpad(to_hex(extract(epoch from monday)::bigint * 1000), 12, '0') || repeat('0', 20))::uuid;
        next uuid := (lpad(to_hex(extract(epoch from monday + 7)::bigint * 1000), 12, '0') || repeat('0', 20))::uuid;
    begin
        if extract(isodow from monday) <> 1 then
            raise exception 'a week begins on a Monday' using errcode = 'invalid_parameter_value';
        end if;
        if to_regclass(name) is not null then
            return;
        end if;
        lock table events_default in access exclusive mode;
        -- Made apart and attached, since `partition of` would lock all of `events`.
        execute format('create table %I (like events including defaults including constraints including indexes)',
                       name);
        execute format('with moved as (delete from events_default where id >= %L and id < %L returning *)
                        insert into %I select * from moved', first, next, name);
        execute format('alter table events attach partition %I for values from (%L) to (%L)', name, first, next);
    end $$
"""
_DROP = """
    create function events_drop(name text) returns boolean OPTIONS as $$
    declare
        unfinished boolean;
    begin
        if not exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid
                        where i.inhparent = 'events'::regclass and c.relname = name
                          and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT') then
            raise exception '% is no week of events', name using errcode = 'invalid_parameter_value';
        end if;
        execute format('select exists (select from %1$I where state in (''pending'', ''applied''))
                            or exists (select from %1$I where state = ''parked'')', name) into unfinished;
        if unfinished then
            return false;
        end if;
        execute format('drop table %I', name);
        return true;
    end $$
"""


def upgrade() -> None:
    op.execute("set local statement_timeout = 0")
    op.create_table(
        "retention_policies",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("store_id", name="pk_retention_policies"),
    )
    for table, column in (
        ("views", "at"),
        ("messages", "claimed_at"),
        ("decisions", "decided_at"),
        ("runs", "ended_at"),
    ):
        op.create_index(f"ix_{table}_age", table, [column], postgresql_using="brin")
    isolate("retention_policies")
    _dedup_keys()
    with every_row("events"):
        _weeks()
    isolate("events")
    read_across("events")
    isolate("dedup_keys")


def _dedup_keys() -> None:
    op.create_table(
        "dedup_keys",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("store_id", "message_id", name="pk_dedup_keys"),
    )
    # Most of it while events still come in; the rest once nobody can add to the table. Whoever reads across stores
    # may do so without changing the table, which would lock it.
    op.execute(f"grant insert on dedup_keys to {ACROSS}")
    op.execute(f"set local role {ACROSS}; set local row_security = on")
    op.execute("insert into dedup_keys select store_id, message_id, id from events")
    op.execute("set local role none; set local row_security = off")
    op.execute(f"revoke insert on dedup_keys from {ACROSS}")
    newest = _newest("select event_id from dedup_keys order by event_id desc limit 1")
    op.execute("lock table events in access exclusive mode")
    rest = sa.text("""
        insert into dedup_keys select store_id, message_id, id from events where id >= :since on conflict do nothing
    """)
    with every_row("events"):
        op.get_bind().execute(rest, {"since": newest and ids.first_made_at(ids.made_at(newest) - _OVERLAP)})


def _weeks() -> None:
    newest = _newest("select id from events order by id desc limit 1")
    now: datetime = op.get_bind().scalar(sa.text("select clock_timestamp()"))
    # A clock that was far ahead made ids that no week of now can hold.
    until = partitions.monday_after(now if newest is None else min(max(ids.made_at(newest), now), now + _OVERLAP))
    op.execute("alter table events rename to events_before")
    for name in ("pk_events", *_INDEXES):
        op.execute(f"alter index {name} rename to {name}_before")
    op.execute("alter table events_before drop constraint uq_events_store_id_message_id")
    op.execute(
        "create table events (like events_before including defaults including constraints) partition by range (id)"
    )
    op.create_primary_key("pk_events", "events", ["id"])
    for name, (columns, where) in _INDEXES.items():
        op.create_index(name, "events", columns, postgresql_where=sa.text(where))
    op.execute("create table events_default partition of events default")
    # Its rows are reached through the new table only, and by that one's policies.
    for policy in ("own_store", "across_stores"):
        op.execute(f"drop policy {policy} on events_before")
    op.execute("alter table events_before no force row level security")
    op.execute("alter table events_before disable row level security")
    op.execute(f"revoke all on events_before from {APP}, {ACROSS}")
    _functions()
    if newest is None:
        op.execute("drop table events_before")
        until = partitions.monday_of(now)
    else:
        bound = ids.first_made_at(until)
        op.execute(f"""
            with ahead as (delete from events_before where id >= '{bound}' returning *)
            insert into events select * from ahead
        """)  # noqa: S608 - a bound of ours
        # Checked before it is a partition, so that nothing is read again when it becomes one.
        op.execute(f"alter table events_before add constraint ck_events_until check (id < '{bound}')")
        op.execute(f"alter table events attach partition events_before for values from (minvalue) to ('{bound}')")
    for monday in partitions.weeks(until, now):
        op.execute(sa.text("select events_make_week(:monday)").bindparams(monday=monday.date()))


def _functions() -> None:
    """Let whoever works on the tables without owning them make and drop weeks of events, and nothing else."""
    schema = op.get_bind().scalar(sa.text("select quote_ident(current_schema())"))
    # Waiting for a lock holds everybody up who comes later; whoever is told "not now" asks again.
    options = f"language plpgsql security definer set search_path = {schema}, pg_temp set lock_timeout = '2s'"
    op.execute(_MAKE_WEEK.replace("OPTIONS", options))
    op.execute(_DROP.replace("OPTIONS", options))
    for function in ("events_make_week(date)", "events_drop(text)"):
        op.execute(f"revoke all on function {function} from public")
        op.execute(f"grant execute on function {function} to {APP}")


def _newest(query: str) -> UUID | None:
    found: UUID | None = op.get_bind().scalar(sa.text(query))
    return found
