"""Looking at a database from outside: what is stored, whichever store it is of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@asynccontextmanager
async def as_owner(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Begin a transaction of the login itself, which no policy binds, and commit it.

    For what a test stores and looks up beside the code that it tests; that is bound by `adapters.postgres.tenancy`.
    """
    async with engine.begin() as connection:
        await connection.exec_driver_sql("set local role none")
        yield connection
