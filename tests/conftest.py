"""A real Postgres for every test that needs one: one server, one migrated database, emptied before each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from sqlalchemy import event as happens
from sqlalchemy.ext.asyncio import AsyncEngine

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; each is for one process, and so is all that needs the running stack."""
    rank = {folder: place for place, folder in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(TESTS).parts[0], len(rank)))
    for item in items:
        group = "house" if "house" in getattr(item, "fixturenames", ()) else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


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
    """List the statements that are executed in the block."""
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    happens.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        happens.remove(engine.sync_engine, "before_cursor_execute", note)


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
