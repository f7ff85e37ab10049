"""At once: statements that are sent together, so that Postgres is waited for once and not for each of them.

It executes them one after the other, and each sees what was committed before it began. SQLAlchemy waits for an answer
before it goes on, so they are handed to the driver; what is built of objects as SQLAlchemy would have said it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, LiteralString, cast

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy import ClauseElement
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.tenancy import ACT, ACTING_ACROSS, acting_as

Asked = tuple[ClauseElement | LiteralString, dict[str, Any] | None]
"""A statement and its parameters: what `built_once` makes, or SQL as psycopg takes it."""
BEGIN: Asked = ("begin", None)
COMMIT: Asked = ("commit", None)
"""What ends a transaction, with whatever is asked last in it; without it, it ends with its block."""
ACROSS_STORES: Asked = (ACT, ACTING_ACROSS)
"""What lets the rest of a transaction look across stores (`tenancy.across_stores`)."""
_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own are not typed


def unbegun(engine: AsyncEngine) -> AsyncEngine:
    """Return an engine whose transactions are begun by what is asked first in them, with `begun`."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def begun(store_id: str) -> tuple[Asked, ...]:
    """Return what begins a transaction that sees one store."""
    return BEGIN, acting(store_id)


def acting(store_id: str) -> Asked:
    """Return what lets the rest of a transaction see one store, and no longer the one before."""
    return ACT, acting_as(store_id)


async def asked_at_once(connection: AsyncConnection, *asked: Asked) -> list[Sequence[Any]]:
    """Ask several things of Postgres at once.

    Args:
        connection: Of an engine that is `unbegun`, or in the midst of a transaction.
        asked: What is asked, in order.

    Returns:
        The rows that each found; their columns are attributes.

    Raises:
        DBAPIError: As if SQLAlchemy had asked.
    """
    if not asked:
        return []
    async with _driver(connection) as driver:
        async with driver.pipeline():
            cursors = [
                await driver.cursor(row_factory=namedtuple_row).execute(*_as_sent(statement, values))
                for statement, values in asked
            ]
        return [await cursor.fetchall() if cursor.description else () for cursor in cursors]


@asynccontextmanager
async def as_store_at_once(engine: AsyncEngine, store_id: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Send a transaction that sees one store as a whole, and commit it; what it answers is there after the block."""
    async with engine.connect() as connection, sent_as_a_whole(connection) as driver:
        await driver.execute(ACT, acting_as(store_id))
        yield driver


@asynccontextmanager
async def sent_as_a_whole(connection: AsyncConnection) -> AsyncIterator[psycopg.AsyncConnection]:
    """Send the block's statements as one transaction.

    Where none was begun, all that is sent before an answer is asked for is one
    (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING).

    Raises:
        DBAPIError: As if SQLAlchemy had sent it.
    """
    async with _driver(connection) as driver:
        try:
            async with driver.pipeline():
                yield driver
        except IndexError as problem:  # one answer more than psycopg waits for: the commit at the end has failed
            raise psycopg.OperationalError("the transaction could not be committed") from problem


@asynccontextmanager
async def _driver(connection: AsyncConnection) -> AsyncIterator[psycopg.AsyncConnection]:
    driver = cast("psycopg.AsyncConnection", (await connection.get_raw_connection()).driver_connection)
    if not driver.autocommit and driver.info.transaction_status is TransactionStatus.IDLE:
        # It would begin a transaction by itself, which nobody would commit.
        raise psycopg.InterfaceError("what is sent at once needs a connection of an engine that is unbegun")
    try:
        yield driver
    except BaseException as problem:
        # The pool does not see what goes wrong here, so it is told of a connection that may be in the midst of it; the
        # driver itself cannot get on when it is the commit at the end that fails.
        amidst = driver.closed or driver.info.pipeline_status is not PipelineStatus.OFF
        if amidst or not isinstance(problem, psycopg.Error):
            await connection.invalidate(problem)
        if isinstance(problem, psycopg.Error):
            raise _as_sqlalchemy_says(problem, amidst) from problem
        raise


def _as_sqlalchemy_says(problem: psycopg.Error, invalidated: bool) -> BaseException:
    return cast(
        "BaseException", DBAPIError.instance(None, None, problem, psycopg.Error, connection_invalidated=invalidated)
    )


def _as_sent(statement: ClauseElement | LiteralString, values: dict[str, Any] | None) -> tuple[Any, Any]:
    if isinstance(statement, str):
        return statement, values
    values = values or {}
    words, constants = _compiled(statement, tuple(values))
    return words, constants | values


@cache
def _compiled(statement: ClauseElement, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    compiled = statement.compile(dialect=_DIALECT, column_keys=names)
    return compiled.string, dict(compiled.params)
