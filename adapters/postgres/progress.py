"""How far a run has come, by its rows, and when it will write next: by the rules that the run itself goes by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import plans
from adapters.postgres.tables import runs
from domain.delivery import Result
from domain.operations import Pause
from domain.pauses import after_pauses
from domain.plans import Plan, validated
from domain.schedule import next_due, next_step

_ASKS_AGAIN = {Result.DEFERRED, Result.PAUSED}
_UNDER_WAY = {"claimed", "sending"}


class PlansOfRuns:
    """The plans of a journey's runs, each version read once."""

    def __init__(self, connection: AsyncConnection, store_id: str, journey: str) -> None:
        self._connection = connection
        self._store_id = store_id
        self._journey = journey
        self._versions: dict[int, Plan] = {}

    async def read_all(self) -> None:
        """Read every version that a run under way has."""
        mine = (runs.c.store_id == self._store_id) & (runs.c.journey == self._journey) & runs.c.ended_at.is_(None)
        for number in (await self._connection.execute(select(runs.c.plan_version).where(mine).distinct())).scalars():
            await self._read(number)

    async def of(self, run: Any) -> Plan:
        """Return the plan that a run has now (its row: `plan`, `plan_version`)."""
        if run.plan is not None:
            return validated(self._journey, run.plan)
        return await self._read(run.plan_version)

    async def _read(self, number: int) -> Plan:
        if number not in self._versions:
            self._versions[number] = await plans.version(self._connection, self._store_id, self._journey, number)
        return self._versions[number]


class Progress:
    """How far a run has come, by the rows of its messages, and what its plan says follows.

    Attributes:
        done: The steps that are decided.
        settled_at: When the last of them was.
        sending: A message is being sent at this moment.
        over: No step is left.
        waits_for_event: What comes next is not a matter of time.
        asks_again: When a step that was put off will ask again.
    """

    def __init__(self, plan: Plan, rows: Sequence[Any]) -> None:
        # An alert that came too late for the stock waits for the next restock.
        waits = {plan.steps[0].name} if not plan.by_time else set()
        unsettled = _ASKS_AGAIN | _UNDER_WAY
        done = [
            row
            for row in rows
            if row["state"] not in unsettled and not (row["state"] == Result.STALE and row["step"] in waits)
        ]
        pending = {row["step"]: row for row in rows if row["state"] in _ASKS_AGAIN}
        self.plan = plan
        self.done = {row["step"] for row in done}
        self.settled_at = max((row["claimed_at"] for row in done), default=None)
        self.sending = any(row["state"] in _UNDER_WAY for row in rows)
        sending = {row["step"] for row in rows if row["state"] in _UNDER_WAY}
        step = next_step(plan, self.done | sending)
        asking = None if step is None else pending.get(step.name)
        self.over = step is None
        self.waits_for_event = step is not None and step.name in waits and asking is None
        self.asks_again: datetime | None = asking["retry_at"] if asking is not None else None

    def next_message(self, run: Any, now: datetime, paused: Sequence[Pause]) -> datetime | None:
        """Return when the run will ask to send next: not before now; None if time does not say."""
        if self.over or self.sending or self.waits_for_event:
            return None
        if self.asks_again is not None:
            return max(self.asks_again, now)
        done, settled_at = set(self.done), self.settled_at
        while (ahead := next_due(self.plan, done, run.since, run.begun_at, settled_at)) is not None:
            step, due = ahead
            turn = after_pauses(run.run_id, due, settled_at or run.begun_at, paused)
            if not turn.dropped:
                return max(turn.due, now)
            done, settled_at = done | {step.name}, turn.due
        return None
