"""A scratch house: an embedded Postgres and a time-skipping server, gone afterwards, for commands that try journeys."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.engine import create_engine
from adapters.postgres.migrations import upgrade
from adapters.settings import Settings
from cli.stack.postgres import LocalPostgres
from rehearsal.server import time_skipping_server
from rehearsal.shop import TimeSkippingShop, opened

OpenShop = Callable[[], AbstractAsyncContextManager[TimeSkippingShop]]


@contextlib.asynccontextmanager
async def scratch_shops() -> AsyncIterator[OpenShop]:
    """Start the database, and yield what opens a shop on it."""
    with LocalPostgres.temporary() as postgres:
        upgrade(postgres.url)
        engine = create_engine(Settings(database_url=postgres.url).sqlalchemy_url)
        yield lambda: _shop(engine)
        await engine.dispose()


@contextlib.asynccontextmanager
async def _shop(engine: AsyncEngine) -> AsyncIterator[TimeSkippingShop]:
    # A server of its own: a run that another shop left behind would hold its clock for ever.
    async with time_skipping_server() as env, opened(env, engine) as shop:
        yield shop
