"""The report: what a journey did with a recording, read from the replay's own database and added up over its parts."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.tables import messages, runs
from adapters.postgres.tenancy import as_store
from cli.backtest.recording import STORE
from domain.delivery import Result
from domain.plans import Plan
from domain.runs import Outcome

PRICE_PER_MILLION = 50.0
"""US dollars for a million Temporal actions: Temporal Cloud's list price without a commitment (temporal.io/pricing)."""

_NOT_DUE = {Result.DEFERRED, Result.EXITED, Result.STALE, Result.DUPLICATE, Result.PAUSED, Result.DROPPED}
_SENT = {Result.SENT, Result.UNKNOWN}
_PER_CUSTOMERS = 1_000

Counts = dict[str, int]


class Tally(BaseModel):
    """What happened in one part, or in all of them.

    Attributes:
        runs: How many there were; `still_open` of them had not ended with the data.
        triggers: Runs whose first message came due: it was sent, or withheld for a reason that has nothing to do
            with its time.
        exits: Runs that ended, by outcome.
        messages_by_step: What was sent.
        messages_by_day: The same by day (UTC) and step.
        withheld: Messages that came due and were not sent, by what became of them.
        actions_by_kind: What Temporal bills.
        received: What each customer of the recording got: steps and days, in order.
    """

    runs: int = 0
    triggers: int = 0
    still_open: int = 0
    exits: Counts = Field(default_factory=dict)
    messages_by_step: Counts = Field(default_factory=dict)
    messages_by_day: dict[str, Counts] = Field(default_factory=dict)
    withheld: Counts = Field(default_factory=dict)
    actions_by_kind: Counts = Field(default_factory=dict)
    received: dict[int, list[tuple[str, str]]] = Field(default_factory=dict)

    def plus(self, other: "Tally") -> Self:
        """Add another part, whose customers are others."""
        days = self.messages_by_day.keys() | other.messages_by_day.keys()
        return type(self)(
            runs=self.runs + other.runs,
            triggers=self.triggers + other.triggers,
            still_open=self.still_open + other.still_open,
            exits=_sum(self.exits, other.exits),
            messages_by_step=_sum(self.messages_by_step, other.messages_by_step),
            messages_by_day={
                day: _sum(self.messages_by_day.get(day, {}), other.messages_by_day.get(day, {})) for day in sorted(days)
            },
            withheld=_sum(self.withheld, other.withheld),
            actions_by_kind=_sum(self.actions_by_kind, other.actions_by_kind),
            received={**self.received, **other.received},
        )


class Report(BaseModel):
    """The result of a backtest, as `--json` prints it.

    Attributes:
        plan_source: The file that the plan comes from, or which one of the store it is.
        complete: False if it was interrupted; then it tells what was known by then.
        events, customers: What the recording holds, whether the journey needs it or not.
        first, last: When the data begins and ends.
        skipped: Rows that could not be read and were left out.
        messages: How many were sent.
        customers_touched, customers_touched_twice: Who got at least one message, and at least two.
        actions: What Temporal bills; `cost_per_1000_customers` is in US dollars at `price_per_million_actions`.
    """

    journey: str
    plan: dict[str, object]
    plan_source: str = ""
    triggers_only: bool = False
    complete: bool = True
    events: int = 0
    customers: int = 0
    first: str | None = None
    last: str | None = None
    skipped: int = 0
    runs: int = 0
    triggers: int = 0
    messages: int = 0
    messages_by_step: Counts = Field(default_factory=dict)
    messages_by_day: dict[str, Counts] = Field(default_factory=dict)
    exits: Counts = Field(default_factory=dict)
    still_open: int = 0
    withheld: Counts = Field(default_factory=dict)
    customers_touched: int = 0
    customers_touched_twice: int = 0
    actions: int = 0
    actions_by_kind: Counts = Field(default_factory=dict)
    price_per_million_actions: float = PRICE_PER_MILLION
    cost_per_1000_customers: float = 0.0

    def with_tally(self, tally: Tally) -> Self:
        """Fill in what happened."""
        actions = sum(tally.actions_by_kind.values())
        cost = actions * self.price_per_million_actions / 1_000_000
        told = tally.model_dump(exclude={"received"})
        return self.model_copy(
            update={
                **told,
                "messages": sum(tally.messages_by_step.values()),
                "customers_touched": len(tally.received),
                "customers_touched_twice": sum(len(got) > 1 for got in tally.received.values()),
                "actions": actions,
                "cost_per_1000_customers": round(cost * _PER_CUSTOMERS / self.customers, 4) if self.customers else 0.0,
            }
        )


async def tally(
    engine: AsyncEngine, plan: Plan, customers: Mapping[UUID, int], shift: timedelta, actions: Mapping[str, int]
) -> Tally:
    """Read what happened from the tables of a replay.

    Args:
        engine: Its database.
        plan: The plan that was played.
        customers: Whose customer of the recording each of ours is.
        shift: By how much its times are later than those of the recording.
        actions: What Temporal bills.
    """
    by_outcome = select(runs.c.outcome, func.count()).where(runs.c.store_id == STORE).group_by(runs.c.outcome)
    asked = (
        select(messages.c.customer_id, messages.c.step, messages.c.state, messages.c.settled_at)
        .where(messages.c.store_id == STORE)
        .order_by(messages.c.settled_at, messages.c.step)
    )
    first = plan.steps[0].name
    exits: Counter[str] = Counter()
    by_step: Counter[str] = Counter({step.name: 0 for step in plan.steps})
    by_day: dict[str, Counter[str]] = {}
    withheld: Counter[str] = Counter()
    received: dict[int, list[tuple[str, str]]] = {}
    triggers = 0
    async with as_store(engine, STORE) as connection:
        for outcome, count in (await connection.execute(by_outcome)).all():
            exits[outcome] = count
        for row in (await connection.execute(asked)).all():
            triggers += row.step == first and row.state not in _NOT_DUE
            if row.state in _SENT:
                day = f"{row.settled_at - shift:%Y-%m-%d}"
                by_step[row.step] += 1
                by_day.setdefault(day, Counter())[row.step] += 1
                received.setdefault(customers[row.customer_id], []).append((row.step, day))
            elif row.state not in (Result.DEFERRED, Result.PAUSED):
                withheld[row.state] += 1
    still_open = exits.pop(Outcome.RUNNING, 0)
    return Tally(
        runs=exits.total() + still_open,
        triggers=triggers,
        still_open=still_open,
        exits=dict(exits),
        messages_by_step=dict(by_step),
        messages_by_day={day: dict(counts) for day, counts in sorted(by_day.items())},
        withheld=dict(withheld),
        actions_by_kind=dict(actions),
        received=received,
    )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> Counts:
    return {key: one.get(key, 0) + other.get(key, 0) for key in dict.fromkeys((*one, *other))}
