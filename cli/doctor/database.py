"""Postgres: reachable, new enough, migrated, ours to write to, on time, and with somebody who routes."""

from collections.abc import Sequence
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import psycopg
from alembic.script import ScriptDirectory

from adapters.postgres import migrations
from adapters.postgres.queue import CHANNEL
from adapters.postgres.tables import metadata
from adapters.postgres.tenancy import ACROSS, APP
from cli.doctor.finding import Finding, ok, problem, warning
from domain.ports import Clock

_OLDEST, _OLDEST_CARED_FOR = 13, 15
"""gen_random_uuid() came with 13; older than 15 gets no security fixes any more (postgresql.org/support/versioning)."""
_SKEW, _MUCH_SKEW = timedelta(seconds=1), timedelta(seconds=30)
_LONG_WAIT = timedelta(minutes=5)
_NAME = "postgres"
_NTP = "let both machines keep time by NTP: timedatectl set-ntp true"


async def check_database(url: str, clock: Clock) -> list[Finding]:
    """Check the database.

    Args:
        url: As psycopg takes it.
        clock: What our processes take for the time.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(url, connect_timeout=5, autocommit=True)
    except psycopg.OperationalError as error:
        fix = "see whether it is up, whether DATABASE_URL is right, and whether a firewall is in between"
        return [problem(_NAME, f"cannot be reached: {' '.join(str(error).split())}", fix)]
    async with connection:
        found = [await _version(connection), *await _clock(connection, clock)]
        for check in (_tables, _rights, partial(_routing, clock=clock)):
            # Each asks only what the one before has found to be possible.
            if not any(finding.level == "problem" for finding in found):
                found += await check(connection)
        return found


async def _version(connection: psycopg.AsyncConnection) -> Finding:
    major = connection.info.server_version // 10_000
    if major < _OLDEST:
        return problem(_NAME, f"version {major} is too old", f"use Postgres {_OLDEST_CARED_FOR} or newer")
    if major < _OLDEST_CARED_FOR:
        said = f"version {major} gets no security fixes any more"
        return warning(_NAME, said, f"use Postgres {_OLDEST_CARED_FOR} or newer")
    return ok(_NAME, f"version {major}")


async def _clock(connection: psycopg.AsyncConnection, clock: Clock) -> list[Finding]:
    before = clock()
    (theirs,) = await _one(connection, "select clock_timestamp()")
    skew = abs(theirs.astimezone(UTC) - (before + (clock() - before) / 2))
    seconds = f"{skew.total_seconds():.1f} s"
    if skew > _MUCH_SKEW:
        return [problem("clock", f"this machine and Postgres differ by {seconds}: events get wrong times", _NTP)]
    if skew > _SKEW:
        return [warning("clock", f"this machine and Postgres differ by {seconds}", _NTP)]
    return [ok("clock", f"this machine and Postgres agree within {_SKEW.total_seconds():g} s")]


async def _tables(connection: psycopg.AsyncConnection) -> list[Finding]:
    newest = ScriptDirectory.from_config(migrations.config("postgresql://")).get_current_head()
    (known,) = await _one(connection, "select to_regclass('alembic_version')::text")
    try:
        here = (await _one(connection, "select max(version_num) from alembic_version"))[0] if known else None
    except psycopg.errors.InsufficientPrivilege:
        return [_may_not(connection.info.user, ["alembic_version"])]
    if here is None:
        return [problem("migrations", "the database has no tables of ours", "journeys migrate")]
    if here != newest:
        said = f"the tables are of revision {here}, this release wants {newest}"
        return [problem("migrations", said, "journeys migrate; if the database is newer, install that release here")]
    return [ok("migrations", f"revision {here} is the newest")]


async def _rights(connection: psycopg.AsyncConnection) -> list[Finding]:
    """See whether the roles that isolate stores can be taken, and may do their work (adapters/postgres/tenancy.py)."""
    for role in (APP, ACROSS):
        try:
            await connection.execute(f"set role {role}")
            await connection.execute("reset role")
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
            fix = f"journeys migrate; or have somebody who may: grant {APP}, {ACROSS} to {connection.info.user}"
            return [problem("rights", f"{connection.info.user} may not take the role {role}", fix)]
    names = [table.name for table in metadata.sorted_tables]
    query = (  # some may only be added to
        "select name from unnest(%(names)s::text[]) as t (name) where not has_table_privilege(%(role)s, name, 'select')"
        " or not has_table_privilege(%(role)s, name, 'insert')"
    )
    answer = await connection.execute(query, {"names": names, "role": APP})
    missing = [row[0] for row in await answer.fetchall()]
    return [_may_not(APP, missing) if missing else ok("rights", f"{APP} may use every table")]


def _may_not(user: str, tables: Sequence[str]) -> Finding:
    fix = f"as the owner: grant select, insert, update, delete on all tables in schema public to {user}"
    return problem("rights", f"{user} may not read and write {', '.join(tables[:3])}", fix)


async def _routing(connection: psycopg.AsyncConnection, clock: Clock) -> list[Finding]:
    listening = "select count(*) from pg_stat_activity where datname = current_database() and query = %s"
    (routers,) = await _one(connection, listening, [f"listen {CHANNEL}"])
    await connection.execute(f"set role {ACROSS}")
    (oldest, parked) = await _one(
        connection,
        "select (select min(received_at) from events where state in ('pending', 'applied')), "
        "(select count(*) from events where state = 'parked')",
    )
    waited = timedelta() if oldest is None else clock() - oldest.astimezone(UTC)
    found = []
    if not routers:
        found.append(problem("router", "none listens for events, so they wait", "start one: journeys router"))
    elif waited > _LONG_WAIT:
        said = f"events wait, the oldest for {waited.total_seconds() / 60:.0f} minutes"
        found.append(problem("router", said, "read the router's log; docs/operating.md#events-wait"))
    else:
        found.append(ok("router", "listens for events, and none waits long"))
    if parked:
        fix = "journeys events parked --store STORE says why; journeys events retry puts them back"
        found.append(warning("events", f"{parked} were given up after their retries", fix))
    return found


async def _one(connection: psycopg.AsyncConnection, query: Any, arguments: Sequence[Any] = ()) -> tuple[Any, ...]:
    row = await (await connection.execute(query, arguments)).fetchone()
    if row is None:
        raise LookupError("a query that always answers did not")
    return row
