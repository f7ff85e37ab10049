"""A real Postgres for every test that needs one: one server, one migrated database, emptied before each test."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import hypothesis
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.engine import create_engine
from adapters.postgres.migrations import upgrade
from adapters.postgres.stores import KeyStore
from adapters.postgres.tables import metadata
from adapters.settings import Settings
from cli.stack.postgres import LocalPostgres
from domain.message import StoreCard

# Properties are judged by what they find, not by how fast a busy machine finds it.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, max_examples=60, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

_CUT_OFF = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
"""


class SteppedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> datetime:
        """Let time pass."""
        self.now += by
        return self.now


@dataclass(frozen=True)
class Shop:
    """A store of a test and its keys."""

    store_id: str
    write_key: str
    admin_key: str


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """The server: the one in DATABASE_URL_TEST (its role may create databases), else an embedded one."""
    given = os.environ.get("DATABASE_URL_TEST")
    if given:
        yield given
        return
    with LocalPostgres.temporary() as server:
        yield server.url


@pytest.fixture(scope="session")
def template(database_url: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    name = f"template_{uuid4().hex}"
    _execute(database_url, f"create database {name}")
    upgrade(_url(database_url, name))
    yield name
    _execute(database_url, f"drop database {name} with (force)")


@pytest.fixture
def fresh_database(database_url: str, template: str) -> Iterator[str]:
    """The URL of a database of the test's own, for tests that change tables or stop the server's work."""
    with _copy(database_url, template) as url:
        yield url


@pytest.fixture(scope="session")
def shared_database(database_url: str, template: str) -> Iterator[str]:
    """The URL of the database that the tests of this process use one after the other."""
    with _copy(database_url, template) as url:
        yield url


@pytest.fixture
def database(shared_database: str) -> str:
    """The URL of a migrated, empty database; whatever an earlier test left connected is cut off."""
    tables = "; ".join(f"delete from {table.name}" for table in reversed(metadata.sorted_tables))  # noqa: S608
    _execute(shared_database, f"{_CUT_OFF}; {tables}")
    return shared_database


@pytest.fixture
def settings(database: str) -> Settings:
    """Settings that point at the fresh database."""
    return Settings(database_url=database, secret_keys="a-secret-for-tests-only", public_url="http://shop.test")


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """A connection pool to the fresh database."""
    engine = create_engine(settings.sqlalchemy_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def clock() -> SteppedClock:
    """A clock that stands at noon of 15 January 2026 until the test moves it."""
    return SteppedClock(datetime(2026, 1, 15, 12, tzinfo=UTC))


@pytest.fixture
async def store(engine: AsyncEngine, clock: SteppedClock) -> Shop:
    """A store with a write key and an admin key."""
    keys = KeyStore(engine, clock)
    card = StoreCard(
        store_id="mugs",
        name="Mugs & More",
        url="https://mugs.test",
        currency="EUR",
        sender_email="hello@mugs.test",
        sender_name="Mugs & More",
        address="1 Kiln Lane, Stoke",
    )
    await keys.create_store(card)
    write, admin = await keys.create_key("mugs", "write"), await keys.create_key("mugs", "admin")
    return Shop(store_id="mugs", write_key=write.secret, admin_key=admin.secret)


@contextmanager
def _copy(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    _execute(server, f"create database {name} template {template}")
    yield _url(server, name)
    _execute(server, f"drop database {name} with (force)")


def _url(server: str, database: str) -> str:
    parts = conninfo_to_dict(server)
    login = f"{parts.get('user', 'postgres')}:{parts.get('password', '')}@{parts.get('host')}:{parts.get('port', 5432)}"
    return f"postgresql://{login}/{database}"


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
