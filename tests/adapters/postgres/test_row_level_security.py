"""G7 under every query: what Postgres itself lets the application see, table by table, whatever is added."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import CheckConstraint, Table, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import stores as tenants
from adapters.postgres import tenancy
from adapters.postgres.engine import create_engine
from adapters.postgres.keys import KeyStore
from adapters.postgres.migrations import upgrade
from adapters.postgres.tables import metadata, stores
from adapters.postgres.tenancy import ACROSS, APP, across_stores, as_store
from adapters.settings import Settings
from domain.access import WRITE_KEY
from domain.errors import ConfigurationError
from domain.message import StoreCard
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START

NO_TENANTS = {"alembic_version"}
ACROSS_READS: dict[str, set[str]] = {
    "stores": set(stores.c.keys()),
    "keys": set(metadata.tables["keys"].c.keys()),
    "events": set(metadata.tables["events"].c.keys()),
    "messages": {"store_id", "message_id", "state", "claimed_at", "sending_at"},
    "runs": {"journey", "ended_at"},
    "code_sources": {"store_id", "tried_at"},
}
"""All that is ever read without a store: to verify a key, to walk the stores, to route, to find a link's message,
to count for Prometheus what waits, and to find whose pools of codes are to be looked after."""
ONLY_GROW = {"audit", "consents"}
"""They refuse to be changed, and only an erasure or retention deletes from them."""
SWITCHES = text("select set_config('journeys.erasure', 'on', true), set_config('journeys.retention', 'on', true)")


def a_row(table: Table, store_id: str) -> dict[str, Any]:
    """Make up a row that the table takes."""
    checks = [str(one.sqltext) for one in table.constraints if isinstance(one, CheckConstraint)]
    allowed = dict(found.groups() for check in checks if (found := re.match(r"(\w+) in \('([^']+)'", check)))
    made: dict[type, Any] = {str: "x", int: 1, bool: True, object: {}, bytes: b"x", type(START): START}
    row: dict[str, Any] = {}
    for column in table.columns:
        if not column.nullable and column.server_default is None:
            kind = column.type.python_type
            row[column.name] = allowed.get(column.name) or (uuid4() if kind.__name__ == "UUID" else made[kind])
    return row | {"store_id": store_id}


@pytest.fixture
async def full(engine: AsyncEngine) -> AsyncEngine:
    """A database in which two stores have something of everything."""
    async with as_owner(engine) as connection:
        for store_id in ("mugs", "pots"):
            for table in metadata.sorted_tables:
                row = a_row(table, store_id)
                if table.name == "keys":
                    row["hash"] = store_id
                await connection.execute(insert(table).values(row))
    return engine


async def test_every_table_of_the_database_is_isolated_by_force(engine: AsyncEngine) -> None:
    """No table is without store_id, policy and force; a partition is reached through its table only."""
    query = text("""
        select c.relname as name, c.relrowsecurity as secured, c.relforcerowsecurity as forced, c.relispartition,
               exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'store_id' and a.attnotnull)
                   as tenant,
               has_any_column_privilege(:app, c.oid, 'select, insert, update')
                   or has_any_column_privilege(:across, c.oid, 'select, insert, update') as granted,
               (select array_agg(polname || ' to ' || array_to_string(polroles::regrole[], ',') || ' ' || polcmd::text
                                 order by polname)
                from pg_policy p where p.polrelid = c.oid) as policies,
               pg_get_userbyid(c.relowner) as owner
        from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
    """)
    async with as_owner(engine) as connection:
        found = (await connection.execute(query, {"app": APP, "across": ACROSS})).all()

    tables = {row.name: row for row in found if row.name not in NO_TENANTS and not row.relispartition}
    assert tables.keys() == metadata.tables.keys()
    for name, row in tables.items():
        assert (row.tenant, row.secured, row.forced) == (True, True, True), name
        more = [f"across_stores to {ACROSS} r"] if name in ACROSS_READS else []
        assert row.policies == [*more, f"own_store to {APP} *"], name
        assert row.owner not in {APP, ACROSS}, name
    assert not [row.name for row in found if row.relispartition and row.granted]
    assert not [row.name for row in found if row.name in NO_TENANTS and row.granted]


async def test_nobody_is_above_the_policies(engine: AsyncEngine) -> None:
    """What the application connects as cannot log in, bypasses nothing, owns nothing; every connection is it."""
    query = text(
        "select rolsuper or rolbypassrls or rolcanlogin or rolinherit is null from pg_roles where rolname = :r"
    )
    async with engine.connect() as connection:
        for role in (APP, ACROSS):
            assert await connection.scalar(query, {"r": role}) is False
        assert await connection.scalar(text("select current_user")) == APP
        assert await connection.scalar(text("select row_security_active('stores')"))
        for table in metadata.tables:  # policies do not bind it
            assert not await connection.scalar(text("select has_table_privilege(:t, 'truncate')"), {"t": table})


async def test_what_is_read_across_stores_is_this_and_nothing_is_written(full: AsyncEngine) -> None:
    """Whoever needs more has to say so here."""
    query = text("""
        select table_name, array_agg(column_name::text) from information_schema.column_privileges
        where grantee = :role and privilege_type = any(:kinds) group by table_name
    """)
    async with as_owner(full) as connection:
        for kinds, expected in ((["SELECT"], ACROSS_READS), (["INSERT", "UPDATE", "REFERENCES"], {})):
            rows = (await connection.execute(query, {"role": ACROSS, "kinds": kinds})).all()
            assert {name: set(columns) for name, columns in rows} == expected
    async with across_stores(full) as connection:
        assert set((await connection.execute(select(stores.c.store_id))).scalars()) == {"mugs", "pots"}
    assert await tenancy.every_store(full) == ["mugs", "pots"]


async def test_a_query_that_forgot_the_store_finds_only_its_own(full: AsyncEngine) -> None:
    """Read, write, change, delete, one table after the other, without a where: the other store is not there."""
    for table in reversed(metadata.sorted_tables):
        count = select(func.count()).select_from(table)
        whose = select(table.c.store_id)
        async with as_store(full, "pots") as connection:
            assert (await connection.execute(whose)).scalars().all() == ["pots"], table.name
            assert await connection.scalar(count.where(table.c.store_id == "mugs")) == 0, table.name
            for forbidden in (insert(table).values(a_row(table, "mugs")), update(table).values(store_id="mugs")):
                with pytest.raises(
                    (ProgrammingError, IntegrityError), match=r"row-level security|append-only|permission denied"
                ):
                    async with connection.begin_nested():
                        await connection.execute(forbidden)
            unchanged = [] if table.name in ONLY_GROW else [update(table).values(store_id=table.c.store_id)]
            await connection.execute(SWITCHES)
            for allowed in (*unchanged, delete(table)):
                assert (await connection.execute(allowed)).rowcount == 1, table.name
        async with full.connect() as connection:
            assert await connection.scalar(count) == 0, f"without a store there is nothing: {table.name}"
        async with as_owner(full) as connection:
            assert (await connection.execute(whose)).scalars().all() == ["mugs"], table.name


async def test_a_transaction_is_over_and_its_store_with_it(full: AsyncEngine) -> None:
    """The next user of a pooled connection starts with nothing, also after a look across stores or an error."""
    one = create_engine(str(full.url), pool_size=1)
    try:
        for opened in (as_store(one, "mugs"), across_stores(one)):
            async with opened as connection:
                assert await connection.scalar(select(func.count()).select_from(stores))
            async with one.connect() as connection:
                assert await connection.scalar(select(func.count()).select_from(stores)) == 0
                assert await connection.scalar(text("select current_user")) == APP
        with pytest.raises(ZeroDivisionError):
            async with as_store(one, "mugs"):
                raise ZeroDivisionError
        async with one.connect() as connection:
            assert await connection.scalar(select(func.count()).select_from(stores)) == 0
    finally:
        await one.dispose()


@contextmanager
def _logins(server: str) -> Iterator[tuple[str, str]]:
    """Two users without any right, and a database that the first one owns; returns their URLs."""
    parts, made = conninfo_to_dict(server), uuid4().hex[:8]
    owner, other, database = f"owner_{made}", f"other_{made}", f"owned_{made}"
    with psycopg.connect(server, autocommit=True) as connection:
        for name in (owner, other):
            connection.execute(f"create role {name} login password 'secret'")
        connection.execute(f"create database {database} owner {owner}")
        at = f"{parts.get('host')}:{parts.get('port', 5432)}/{database}"
        try:
            yield tuple(f"postgresql://{name}:secret@{at}" for name in (owner, other))  # type: ignore[misc]
        finally:
            connection.execute(f"drop database {database} with (force)")
            connection.execute(f"drop role {owner}, {other}")


async def test_a_user_without_the_roles_is_told_what_to_do_and_an_owner_sees_nothing(
    database_url: str, template: str
) -> None:
    """As on a managed Postgres: no superuser owns the tables, and the processes may have another user altogether."""
    mugs = {"name": "M", "url": "https://m.test", "currency": "EUR", "sender_email": "a@m.test", "sender_name": "M"}
    with _logins(database_url) as (owner, other), psycopg.connect(database_url, autocommit=True) as admin:
        with pytest.raises(ConfigurationError, match=f"create role {APP} nologin.*grant {APP}, {ACROSS} to owner_"):
            upgrade(owner)
        admin.execute(f"grant {APP}, {ACROSS} to {conninfo_to_dict(owner)['user']} with inherit false, set true")
        upgrade(owner)

        processes = create_engine(Settings(database_url=other).sqlalchemy_url)
        with pytest.raises(ConfigurationError, match=f"grant {APP}, {ACROSS}"):
            await tenancy.check(processes)
        admin.execute(f"grant {APP} to {conninfo_to_dict(other)['user']}")
        with pytest.raises(ConfigurationError, match=f"grant {APP}, {ACROSS}"):
            await tenancy.check(processes)
        admin.execute(f"grant {ACROSS} to {conninfo_to_dict(other)['user']}")
        await tenancy.check(processes)
        keys = KeyStore(processes, lambda: START)
        await tenants.create(processes, StoreCard(store_id="mugs", **mugs), START, by="test")
        assert (await keys.verify((await keys.create("mugs", WRITE_KEY, by="test")).secret)).store_id == "mugs"
        await processes.dispose()

        with psycopg.connect(owner) as connection:
            assert connection.execute("select count(*) from stores").fetchone() == (0,), "forced"
            connection.execute("set row_security = off")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):  # how a migration of data would fail
                connection.execute("select count(*) from stores")


async def test_a_database_that_is_down_is_not_misconfigured() -> None:
    """The API starts, and answers 503."""
    nobody = create_engine("postgresql+psycopg://postgres@127.0.0.1:1/nowhere")
    await tenancy.check(nobody)
    await nobody.dispose()
