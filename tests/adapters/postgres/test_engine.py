"""The pool asks connections that have lain idle whether they are alive, and no others."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from adapters.postgres.engine import create_engine
from adapters.settings import Settings
from cli.stack.local import migrated
from cli.stack.postgres import LocalPostgres


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    """A Postgres of our own, for it is killed."""
    with LocalPostgres.temporary() as server:
        migrated(server.url)
        yield server


@pytest.fixture
async def pool(server: LocalPostgres) -> AsyncIterator[AsyncEngine]:
    """To it, every connection has rested."""
    engine = create_engine(Settings(database_url=server.url).sqlalchemy_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def trusting(server: LocalPostgres) -> AsyncIterator[AsyncEngine]:
    """To it, every connection was in use a moment ago."""
    engine = create_engine(Settings(database_url=server.url).sqlalchemy_url, trusted_s=3_600)
    yield engine
    await engine.dispose()


async def test_a_database_that_was_restarted_is_found_again_by_itself(server: LocalPostgres, pool: AsyncEngine) -> None:
    """None of the connections that died while they lay idle is handed to anybody."""
    before = await several(pool)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)

    after = await several(pool)
    assert len(before) == len(after) == 3
    assert idle(pool) == 3


async def test_a_connection_that_dies_just_after_use_fails_once_and_takes_the_others_along(
    server: LocalPostgres, trusting: AsyncEngine
) -> None:
    """Whoever has it is told, as by any statement that a restart interrupts; the next one has a living one."""
    await several(trusting)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)

    with pytest.raises(OperationalError):
        await several(trusting, 1)
    assert len(await several(trusting)) == 3


async def test_only_a_connection_that_has_rested_is_asked(
    pool: AsyncEngine, trusting: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a new one nor one that has just been used; one that has rested is, each time."""
    asked: list[object] = []
    for one in (pool, trusting):
        ping = one.dialect.do_ping
        monkeypatch.setattr(one.dialect, "do_ping", lambda c, ping=ping: asked.append(c) or ping(c))
    await several(trusting)
    await several(trusting)
    assert asked == []

    await several(pool)
    assert asked == []
    await several(pool)
    assert len(asked) == 3


async def several(pool: AsyncEngine, count: int = 3) -> set[int]:
    """Use some connections at the same time; returns the servers' processes behind them."""
    connections = [await pool.connect() for _ in range(count)]
    try:
        return {(await connection.scalar(text("select pg_backend_pid()"))) for connection in connections}
    finally:
        for connection in connections:
            await connection.close()


def idle(pool: AsyncEngine) -> int:
    assert isinstance(pool.pool, QueuePool)
    return pool.pool.checkedin()
