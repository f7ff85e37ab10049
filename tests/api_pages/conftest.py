"""One mail that was sent, and a browser in front of the real routes, the real event store and a real database."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.engine import create_engine
from adapters.postgres.ingest import EventStore
from adapters.postgres.keys import KeyStore
from adapters.settings import Settings
from adapters.temporal.client import connect
from adapters.temporal.operator import RunOperator
from api import confirmation, pages, preferences
from api.services import Services
from domain.ports import Clock
from tests.api_pages.sent_mail import Mail, seed

NOBODY_LISTENS = "postgresql+psycopg://postgres@127.0.0.1:9/none"


@pytest.fixture
async def mail(engine: AsyncEngine) -> Mail:
    return await seed(engine)


@pytest.fixture
async def services(settings: Settings, engine: AsyncEngine, mail: Mail, clock: Clock) -> AsyncIterator[Services]:
    store = EventStore(engine)
    operator = RunOperator(engine, connect, clock)
    yield Services(settings, engine, store, KeyStore(engine, clock), mail.signer, clock, operator)
    await store.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer once an open or a click is recorded, also on a machine that is busy for seconds; it is read next."""
    monkeypatch.setattr(pages, "_PATIENCE", 60)


Browser = Callable[[Services], AsyncClient]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Open browsers in front of the routes; they follow no redirect and keep no cookie."""
    opened: list[AsyncClient] = []

    def browse(services: Services) -> AsyncClient:
        app = FastAPI()
        app.include_router(pages.router)
        app.include_router(preferences.router)
        app.include_router(confirmation.router)
        app.state.services = services
        opened.append(AsyncClient(transport=ASGITransport(app), base_url="https://mail.example"))
        return opened[-1]

    yield browse
    for client in opened:
        await client.aclose()


@pytest.fixture
def client(browser: Browser, services: Services) -> AsyncClient:
    return browser(services)


@pytest.fixture
async def deaf(services: Services) -> AsyncIterator[Services]:
    """The same services with a database that can still be read while nothing can be written."""
    engine = create_engine(NOBODY_LISTENS)
    yield replace(services, events=EventStore(engine))
    await engine.dispose()


@pytest.fixture
async def down(deaf: Services) -> AsyncIterator[Services]:
    """The same services without any database."""
    engine = create_engine(NOBODY_LISTENS)
    yield replace(deaf, engine=engine)
    await engine.dispose()


@pytest.fixture(params=["deaf", "down"])
def outage(request: pytest.FixtureRequest, deaf: Services, down: Services) -> Services:
    """Either of the two."""
    return deaf if request.param == "deaf" else down
