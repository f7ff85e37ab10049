"""The fixtures: a real Postgres, a server that skips time, and a shop on both.

Use them in a `conftest.py` by `pytest_plugins = ["testing.fixtures"]`; see docs/writing-a-journey.md.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from adapters.postgres.engine import create_engine
from adapters.postgres.migrations import upgrade
from adapters.postgres.tables import metadata
from adapters.settings import Settings
from cli.stack.postgres import LocalPostgres
from rehearsal.server import time_skipping_server
from rehearsal.shop import TimeSkippingShop, opened

# As in a command: what a shop logs goes where logging sends it, not into a test's standard output.
structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())

_CUT_OFF = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
"""


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """The server: the one in DATABASE_URL_TEST (a superuser's), else an embedded one."""
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
    with copied(database_url, template) as url:
        yield url


@pytest.fixture(scope="session")
def shared_database(database_url: str, template: str) -> Iterator[str]:
    """The URL of the database that the tests of this process use one after the other."""
    with copied(database_url, template) as url:
        yield url


@pytest.fixture
def database(shared_database: str) -> str:
    """The URL of a migrated, empty database; whatever an earlier test left connected is cut off."""
    tables = "; ".join(f"delete from {table.name}" for table in reversed(metadata.sorted_tables))  # noqa: S608
    # What is append-only may be deleted by an erasure or by retention alone.
    switches = "select set_config('journeys.erasure', 'on', true), set_config('journeys.retention', 'on', true)"
    _execute(shared_database, f"{_CUT_OFF}; {switches}; {tables}")
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
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """The server that moves its clock instead of waiting; one for each test, whatever the one before left behind."""
    async with time_skipping_server() as env:
        yield env


@pytest.fixture
async def shop(time_skipping: WorkflowEnvironment, engine: AsyncEngine) -> AsyncIterator[TimeSkippingShop]:
    """A store whose customers live through months in milliseconds."""
    async with opened(time_skipping, engine) as shop:
        yield shop


@contextmanager
def copied(server: str, template: str) -> Iterator[str]:
    """Copy a database for as long as it is needed; yields its URL."""
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
