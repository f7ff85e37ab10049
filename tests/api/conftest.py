"""The API as its clients meet it: in process for speed, and behind a socket for the official clients."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.keys import KeyStore
from adapters.settings import Settings
from adapters.temporal.client import connect
from api.app import create_app, system_clock
from testing.inspection import as_owner

Stored = Callable[[], Awaitable[list[Any]]]


@pytest.fixture(scope="session")
def built(shared_database: str) -> FastAPI:
    """The application, put together once: its routes are compiled with the first request.

    It has no Temporal, also where somebody has one running at the usual address.
    """

    async def engine_answers() -> None:
        return

    settings = Settings(database_url=shared_database, secret_keys="a-secret-for-tests-only")
    nowhere = partial(connect, address="127.0.0.1:1", lazy=True)
    return create_app(settings, system_clock, engine_check=engine_answers, temporal=nowhere)


@pytest.fixture
async def app(built: FastAPI, clock, store) -> AsyncIterator[FastAPI]:
    """The running application with new parts, the clock of the test, and one store."""
    async with built.router.lifespan_context(built):
        services = built.state.services
        built.state.services = replace(services, clock=clock, keys=KeyStore(services.engine, clock))
        yield built


@pytest.fixture
async def anyone(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client


@pytest.fixture
async def client(app: FastAPI, store) -> AsyncIterator[httpx.AsyncClient]:
    """A client that shows the write key as Segment's clients do."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    auth = httpx.BasicAuth(store.write_key, "")
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", auth=auth) as client:
        yield client


@pytest.fixture
def stored(engine: AsyncEngine) -> Stored:
    """Read the stored events in order of arrival."""

    async def read() -> list[Any]:
        async with as_owner(engine) as connection:
            return list((await connection.execute(text("select * from events order by id"))).all())

    return read
