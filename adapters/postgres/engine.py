"""The connection pool to Postgres."""

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from adapters.postgres import tenancy


def create_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """Create a pool of asynchronous psycopg connections; nothing is connected before the first use.

    A connection sees nothing by itself: what it is about is said by `adapters.postgres.tenancy`.

    Args:
        url: `postgresql+psycopg://…`, as in `Settings.sqlalchemy_url`.
        pool_size: Connections kept; half as many again may be opened under load.
    """
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size // 2,
        pool_timeout=5,
        pool_pre_ping=True,
        # Parameters are personal data, and errors end in logs.
        hide_parameters=True,
        # A database that is gone must be noticed within one request's patience, not after TCP's fifteen minutes.
        connect_args={
            "connect_timeout": 3,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": "-c timezone=UTC -c statement_timeout=30s",
        },
    )
    tenancy.take_role(engine)
    return engine
