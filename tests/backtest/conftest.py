"""A replay in the test's own process: a time-skipping server for each, and a database emptied before each."""

import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.tables import metadata
from cli.backtest.layout import Layout
from cli.backtest.recording import calls
from cli.backtest.replay import Replay
from cli.backtest.report import Tally, tally
from cli.backtest.script import Script, played, written
from cli.backtest.terms import first_slot_only, needs
from domain.plans import validated
from rehearsal.server import time_skipping_server
from testing.inspection import as_owner
from tests.backtest.independent import Seen

DATA = Path(__file__).parents[3] / "shared" / "data"

Rehearse = Callable[..., Awaitable[Tally]]

_SWITCHES = "select set_config('journeys.erasure', 'on', true), set_config('journeys.retention', 'on', true)"
_EMPTY = "; ".join([_SWITCHES, *(f"delete from {table.name}" for table in reversed(metadata.sorted_tables))])  # noqa: S608


def recorded(name: str) -> Path:
    """Return a recording of a real shop, or skip the test where there is none."""
    if not (DATA / name).exists():
        pytest.skip(f"the recordings are not here: {DATA / name}")
    return DATA / name


def read(path: Path, *mappings: str, journey: str = "cart-recovery", consent: bool | None = None) -> Script:
    """Read a recording as the command does."""
    found = calls(path, Layout.told(mappings), needs(journey))
    return written(found, consent=consent, skip_bad=False)


@cache
def read_once(path: Path, journey: str = "cart-recovery") -> Script:
    """Read a recording that several tests replay, and that takes seconds to read."""
    return read(path, journey=journey)


def rows(events: Iterable[Seen], path: Path) -> Path:
    """Write events down as CSV."""
    lines = (f"{event.at.isoformat()},{event.user},{event.kind},," for event in events)
    path.write_text("\n".join(["ts,user,kind,item,value,order_id", *(f"{line}" for line in lines)]) + "\n")
    return path


def only(script: Script, customers: set[str]) -> Script:
    """Leave out all other customers; the data still begins and ends when it does."""
    entries = [entry for entry in script.entries if script.labels[entry.customer] in customers]
    return dataclasses.replace(script, entries=entries)


@pytest.fixture
async def rehearse(engine: AsyncEngine) -> Rehearse:
    """Play a script through a journey and return what happened."""

    async def play(
        script: Script, journey: str, settings: dict[str, Any] | None = None, *, triggers_only: bool = False
    ) -> Tally:
        async with as_owner(engine) as connection:
            await connection.execute(text(_EMPTY))
        plan = validated(journey, settings or {})
        plan = first_slot_only(journey, plan) if triggers_only else plan
        todo = [played(entry.line_of_json()) for entry in script.entries]
        if not todo or script.last is None:
            return Tally()
        # A server of its own: a run that is still open with the data would hold the next replay's clock.
        async with time_skipping_server() as env:
            replay = Replay(engine, env, todo, script.last)
            await replay.play(journey, plan)
        return await tally(engine, plan, replay.agenda.customers, replay.shift, replay.actions)

    return play


def iso(duration: timedelta) -> str:
    """Write a duration as plans do."""
    return f"PT{int(duration.total_seconds())}S"


def at(text: str) -> datetime:
    """Read a time of a test."""
    return datetime.fromisoformat(text)
