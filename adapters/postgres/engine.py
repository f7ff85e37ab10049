"""The connection pool to Postgres."""

import time

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from adapters.postgres import tenancy

_RETURNED_AT = "journeys.returned_at"


def create_engine(url: str, *, pool_size: int = 10, trusted_s: float = 0.0, by_key: bool = False) -> AsyncEngine:
    """Create a pool of asynchronous psycopg connections; nothing is connected before the first use.

    A connection sees nothing by itself: what it is about is said by `adapters.postgres.tenancy`.

    Args:
        url: `postgresql+psycopg://…`, as in `Settings.sqlalchemy_url`.
        pool_size: Connections kept; half as many again may be opened under load.
        trusted_s: A connection that was in use so recently, in seconds, is not asked whether it is alive. One that died
            since fails once: for whoever repeats by himself what fails.
        by_key: All that is asked is looked up by some key. Postgres then reads no table from end to end where it has an
            index: it would choose that while a table is small, and keep to it while the table grows.
    """
    options = "-c timezone=UTC -c statement_timeout=30s"
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size // 2,
        pool_timeout=5,
        # Whoever comes gets the connection that was in use last: its statements are prepared, and its backend is warm.
        pool_use_lifo=True,
        # Parameters are personal data, and errors end in logs.
        hide_parameters=True,
        # A database that is gone must be noticed within one request's patience, not after TCP's fifteen minutes.
        connect_args={
            "connect_timeout": 3,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": f"{options} -c enable_seqscan=off" if by_key else options,
        },
    )
    tenancy.take_role(engine)
    _ping_the_rested(engine, trusted_s)
    return engine


def _ping_the_rested(engine: AsyncEngine, trusted_s: float) -> None:
    """Ask a connection that has lain idle whether it is alive; of a dead one's pool nothing is used any more.

    `pool_pre_ping` asks every time, which costs as much as a statement, and a delivery takes three connections.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def rest(_: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info[_RETURNED_AT] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def wake(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        returned_at = entry.info.get(_RETURNED_AT)  # a new connection has none
        if returned_at is None or time.monotonic() - returned_at < trusted_s:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as problem:
            raise InvalidatePoolError from problem
