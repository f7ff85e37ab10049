"""The forecast of a plan's change: what the runs under way would do by it, and what they will do without."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import pauses
from adapters.postgres.progress import PlansOfRuns, Progress
from adapters.postgres.tables import messages, runs
from adapters.postgres.tenancy import as_store
from domain.operations import OnResume, Pause
from domain.plans import Plan
from domain.values import Value

Running = Literal["pin", "move", "retime"]
_SOON = timedelta(minutes=15)


class Side(Value):
    """What a journey's runs will do by one plan.

    Attributes:
        earliest, latest: When the first and the last of their next messages come due.
        at_once: How many of those are due within a quarter of an hour.
        busiest_hour: How many of those come due in the hour that has the most.
    """

    earliest: datetime | None = None
    latest: datetime | None = None
    at_once: int = 0
    busiest_hour: int = 0


class Day(Value):
    """How many runs will write next on a day (UTC)."""

    day: str
    before: int
    after: int


class Forecast(Value):
    """What a change of a plan would do to the runs under way. Every number is about their next message.

    Attributes:
        runs: Runs under way.
        touched: Of those, how many would get the new plan.
        changed: How many would write at another time.
        waiting: How many wait for an event, not for a time.
        ending: How many would end, because no step is left for them.
        paused_since: Nothing is sent before the journey is resumed, whatever the days say.
    """

    journey: str
    running: Running
    runs: int
    touched: int
    changed: int
    waiting: int
    ending: int
    paused_since: datetime | None
    before: Side
    after: Side
    days: tuple[Day, ...]


async def forecast(
    engine: AsyncEngine,
    store_id: str,
    journey: str,
    wanted: Plan,
    running: Running,
    now: datetime,
    spread: timedelta | None = None,
) -> Forecast:
    """Say what a plan would change, and change nothing."""
    async with as_store(engine, store_id) as connection:
        paused = await pauses.of_journey(connection, store_id, journey)
        paused_since = await pauses.open_since(connection, store_id, journey)
        had = PlansOfRuns(connection, store_id, journey)
        await had.read_all()
        spreads = () if not spread else (Pause(since=now, until=now, policy=OnResume.SPREAD, over=spread),)
        count: Counter[str] = Counter()
        before, after = _Times(now), _Times(now)
        async for run in await connection.stream(_with_messages(store_id, journey)):
            plan = await had.of(run)
            rows = [{**one, **_times(one)} for one in run.messages or ()]
            new = {"pin": plan, "move": wanted, "retime": plan.retimed(wanted)}[running]
            old_progress, new_progress = Progress(plan, rows), Progress(new, rows)
            was = old_progress.next_message(run, now, paused)
            will = new_progress.next_message(run, now, (*paused, *spreads))
            count.update(
                runs=1,
                touched=running != "pin",
                changed=was != will,
                waiting=new_progress.waits_for_event,
                ending=new_progress.over and not old_progress.over,
            )
            before.add(was)
            after.add(will)
    return Forecast(
        journey=journey, running=running, paused_since=paused_since, before=before.side(), after=after.side(),
        days=_days(before, after),
        **{name: count[name] for name in ("runs", "touched", "changed", "waiting", "ending")},
    )  # fmt: skip


class _Times:
    """Moments, counted by the hour, so that any number of runs takes the same room."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._at_once = 0
        self._earliest: datetime | None = None
        self._latest: datetime | None = None
        self.hours: Counter[datetime] = Counter()

    def add(self, moment: datetime | None) -> None:
        if moment is None:
            return
        self._at_once += moment <= self._now + _SOON
        self._earliest = min(self._earliest or moment, moment)
        self._latest = max(self._latest or moment, moment)
        self.hours[moment.replace(minute=0, second=0, microsecond=0)] += 1

    def side(self) -> Side:
        busiest = max(self.hours.values(), default=0)
        return Side(earliest=self._earliest, latest=self._latest, at_once=self._at_once, busiest_hour=busiest)


def _days(before: _Times, after: _Times) -> tuple[Day, ...]:
    counts: dict[str, list[int]] = {}
    for place, times in enumerate((before, after)):
        for hour, count in times.hours.items():
            counts.setdefault(f"{hour:%Y-%m-%d}", [0, 0])[place] += count
    return tuple(Day(day=day, before=count[0], after=count[1]) for day, count in sorted(counts.items()))


def _with_messages(store_id: str, journey: str) -> Any:
    row = func.jsonb_build_object(
        "step", messages.c.step, "state", messages.c.state, "claimed_at", messages.c.claimed_at,
        "retry_at", messages.c.retry_at,
    )  # fmt: skip
    mine = and_(messages.c.store_id == runs.c.store_id, messages.c.run_id == runs.c.run_id)
    theirs = select(func.jsonb_agg(row)).where(mine).correlate(runs).scalar_subquery()
    return select(runs, theirs.label("messages")).where(
        runs.c.store_id == store_id, runs.c.journey == journey, runs.c.ended_at.is_(None)
    )


def _times(message: dict[str, Any]) -> dict[str, datetime | None]:
    return {
        name: datetime.fromisoformat(message[name]) if message[name] else None for name in ("claimed_at", "retry_at")
    }
