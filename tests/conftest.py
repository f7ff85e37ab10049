"""A real Postgres for every test that needs one: one server, one migrated database, emptied before each test."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.worker import _workflow

from adapters.postgres import stores
from adapters.postgres.keys import KeyStore
from domain.access import ADMIN_KEY, WRITE_KEY
from domain.message import StoreCard

TESTS = Path(__file__).parent
# Properties are judged by what they find, not by how fast a busy machine finds it.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, max_examples=60, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


_LONGEST_FIRST = ("functional", "chaos", "proofs", "cli", "docs", "workflows", "backtest", "worker", "adapters")
"""Folders whose files take long: begun last, one of them would keep one process busy and leave the others idle."""
_OWN_STACK = ("tests/functional/test_deploys.py", "tests/functional/test_forgotten.py")
"""Functional tests that start what they need by themselves; the others share the running stack."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    rank = {folder: place for place, folder in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(TESTS).parts[0], len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file to one process, and to one all that needs the running stack: what they share is made once.

    Not by marks of `xdist_group`: xdist 3.8 writes the group into an attribute that pytest 9.2 reads no more, and then
    deals out test by test without a word.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByWhatIsShared(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "the stack" if file.startswith("tests/functional/") and file not in _OWN_STACK else file

    return ByWhatIsShared(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests on the loop that the processes run on; mail servers and databases are talked to through it."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session", autouse=True)
def patience_with_workflows() -> Iterator[None]:
    """Give a task of a workflow a minute, where Temporal's worker calls two seconds a deadlock and interrupts it.

    On a busy machine it takes as long to get a processor, and to collect the garbage of a process that runs tests. The
    interruption is an exception that comes from nowhere, and a test has failed of one in a callback of Hypothesis.
    """
    init = _workflow._WorkflowWorker.__init__

    def patient(worker: Any, *args: Any, **kwargs: Any) -> None:
        init(worker, *args, **kwargs)
        assert worker._deadlock_timeout_seconds == 2  # else this mends nothing any more
        worker._deadlock_timeout_seconds = 60

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_workflow._WorkflowWorker, "__init__", patient)
        yield


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


@contextmanager
def statements(engine: AsyncEngine) -> Iterator[list[str]]:
    """List the statements that are executed in the block, by whichever way they go to the driver."""
    said: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def noted(cursor: psycopg.AsyncCursor[Any], query: Any, *args: Any, **how: Any) -> Any:
        if cursor.connection.info.dbname == engine.url.database:
            said.append(query)
        return await execute(cursor, query, *args, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncCursor, "execute", noted)
        yield said


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
    await stores.create(engine, card, clock(), by="test")
    write, admin = [await keys.create("mugs", grant, by="test") for grant in (WRITE_KEY, ADMIN_KEY)]
    return Shop(store_id="mugs", write_key=write.secret, admin_key=admin.secret)
