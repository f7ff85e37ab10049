"""The agenda: what is still to come for each customer, recorded calls on one side and steps of runs on the other.

Exactness rests on this page and not on the server's clock. A step that is due before a customer's next call is
settled before that call is played, and a step that the server wakes too early waits here until everything that came
before it has been played. Where both fall on the same instant, the journey says which comes first. What is due after
the end of the data is never settled: it is what is still open.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from cli.backtest.script import NOBODY
from domain.commands import Command, EndRun, NewRun, ReleaseStock, RestartRun, SignalRun, StartRun
from domain.delivery import Delivery, Result, Slot
from domain.errors import JourneysError
from domain.plans import BackInStockPlan, Plan
from domain.runs import Outcome
from domain.schedule import next_due
from workflows.registry import JOURNEYS

_EVENTS_FIRST = {journey.name: journey.events_first for journey in JOURNEYS}


@dataclass
class Passage:
    """A run that is under way, and when its next step is due."""

    customer: int
    workflow_id: str
    events_first: bool
    plan: Plan
    since: datetime
    begun_at: datetime
    due: datetime | None = None
    done: set[str] = field(default_factory=set)

    def comes_before(self, at: datetime) -> bool:
        """Tell whether the next step is to be settled before something that happens at `at`."""
        return self.due is not None and (self.due < at or (self.due == at and not self.events_first))


class Agenda:
    """What is to come.

    Attributes:
        changed: Set whenever something was settled, began, ended or has to wait.
        waiting: Customers whose step waits for their own calls.
        customers: Whose customer of the recording each of ours is.
        failure: Why nothing can go on; None as long as it can.
    """

    def __init__(self, calls: Iterable[tuple[datetime, int]], end: datetime, plans: Mapping[str, Plan]) -> None:
        """Open the agenda.

        Args:
            calls: When each customer's calls happen, in order.
            end: When the data ends.
            plans: The plan of each journey that customers can enter.
        """
        self._calls: dict[int, deque[datetime]] = {}
        for at, customer in calls:
            self._calls.setdefault(customer, deque()).append(at)
        self._end = end
        self._plans = plans
        self._passages: dict[UUID, Passage] = {}
        self._of: dict[int, set[UUID]] = {}
        self._closing: Counter[str] = Counter()
        self._beginning: Counter[str] = Counter()
        self._waves: dict[str, datetime] = {}
        self.changed = asyncio.Event()
        self.waiting: Counter[int] = Counter()
        self.customers: dict[UUID, int] = {}
        self.failure: str | None = None
        self._queued: dict[UUID, str] = {}
        self._settled = asyncio.Condition()

    # What is asked before a call is played

    def free(self, customer: int, at: datetime) -> bool:
        """Tell whether everything that comes before a call has been settled."""
        if any(wave <= at for wave in self._waves.values()):
            return False
        if customer == NOBODY:
            return not any(passage.comes_before(at) for passage in self._passages.values())
        return not any(self._passages[run].comes_before(at) for run in self._of.get(customer, ()))

    def close_behind(self, customer: int, at: datetime, within: timedelta) -> bool:
        """Tell whether a step of a customer is due shortly after a call, or at the same instant, and comes second."""
        passages = (self._passages[run] for run in self._of.get(customer, ()))
        return any(p.due is not None and p.due - at <= within and not p.comes_before(at) for p in passages)

    def over(self) -> bool:
        """Tell whether all is settled that is due within the data."""
        waves = any(wave <= self._end for wave in self._waves.values())
        return not waves and not any(passage.comes_before(self._end) for passage in self._passages.values())

    def first_due(self, customer: int, after: datetime) -> datetime | None:
        """Return when a customer's next step is due, as far as that is known."""
        dues = (self._passages[run].due for run in self._of.get(customer, ()))
        return min((due for due in dues if due is not None and due >= after), default=None)

    def unsettled(self) -> str:
        """Describe what comes next, for whoever waits for it in vain."""
        due = [p for p in self._passages.values() if p.due is not None]
        first = min(due, key=lambda p: p.due or p.since, default=None)
        return "nothing is due" if first is None else f"{first.workflow_id} is due at {first.due:%Y-%m-%d %H:%M:%S}"

    # What happens

    def heard(self, command: Command, customer: int, at: datetime) -> None:
        """Note what the router decided at a time, before it is carried out."""
        match command:
            case StartRun(run=run):
                self._begin(run, customer)
            case RestartRun(run_id=run_id, run=run):
                self._close(run_id)
                self._begin(run, customer)
            case SignalRun(run_id=run_id, ends=Outcome()) | EndRun(run_id=run_id):
                self._close(run_id)
            case ReleaseStock(product_id=product_id):
                # A release under way reads the stock again when its pause is over.
                self._waves.setdefault(product_id, at)
        self._tell()

    def told(self, workflow_id: str, at: datetime) -> None:
        """Note that a run was told that it is its turn."""
        for passage in self._passages.values():
            if passage.workflow_id == workflow_id:
                passage.due = at
        self._tell()

    def wave_over(self, product_id: str, next_at: datetime | None) -> None:
        """Note that a wave was released, and when the next one comes."""
        self._waves.pop(product_id, None)
        if next_at is not None:
            self._waves[product_id] = next_at
        self._tell()

    def ended(self, workflow_id: str) -> None:
        """Note that a passage has ended in Temporal, whether we expected it or not."""
        if self._closing.get(workflow_id, 0) > 1:
            self._closing[workflow_id] -= 1
        elif self._closing.pop(workflow_id, 0) == 0:
            for run_id in [run for run, passage in self._passages.items() if passage.workflow_id == workflow_id]:
                self._drop(run_id)
        self._tell()

    @property
    def wave_interval(self) -> timedelta:
        """How long after a wave the next one comes."""
        plan = self._plans.get("back-in-stock")
        return plan.wave_interval if isinstance(plan, BackInStockPlan) else BackInStockPlan().wave_interval

    def began(self, workflow_id: str) -> None:
        """Note that a passage has begun in Temporal."""
        if self._beginning.get(workflow_id, 0) > 1:
            self._beginning[workflow_id] -= 1
        else:
            self._beginning.pop(workflow_id, None)
        self._tell()

    def busy(self, workflow_id: str) -> bool:
        """Tell whether a passage of this workflow has begun, ended or asked for us, but not yet in Temporal."""
        return any(workflow_id in runs for runs in (self._closing, self._beginning, self._queued.values()))

    async def played(self, customers: Collection[int]) -> None:
        """Note that the next call of each of these has been played."""
        for customer in customers:
            self._calls[customer].popleft()
        await self._release()

    def may_go(self, slot: Slot) -> bool:
        """Tell whether everything has been played that comes before a step."""
        passage = self._passages.get(slot.run_id)
        if passage is None:
            return True  # its run has ended, as the gate will say
        comes = [self._end, *(at for c in (passage.customer, NOBODY) if (at := self._next(c)) is not None)]
        # The end is an instant too: a step that must come after whatever happens then comes after the data.
        return all(slot.due < at or (slot.due == at and not passage.events_first) for at in comes)

    def queued(self, slot: Slot) -> None:
        """Note that a step whose turn has not come is going to ask again, in the queue."""
        self._queued[slot.run_id] = self._passages[slot.run_id].workflow_id

    def under_way(self, slot: Slot) -> bool:
        """Tell whether the passage of a step has not ended."""
        return slot.run_id in self._passages

    async def turn(self, slot: Slot) -> None:
        """Wait until everything has been played that comes before a step; for ever, if that is after the data."""
        self._queued.pop(slot.run_id, None)
        async with self._settled:
            if self.may_go(slot):
                return
            customer = self._passages[slot.run_id].customer
            self.waiting[customer] += 1
            self._tell()
            try:
                await self._settled.wait_for(lambda: self.may_go(slot))
            finally:
                self.waiting[customer] -= 1

    async def settled(self, slot: Slot, delivery: Delivery) -> None:
        """Note what became of a step."""
        passage = self._passages.get(slot.run_id)
        if passage is None:
            return
        if delivery.result is Result.EXITED:
            self._close(slot.run_id)
        elif delivery.until is not None:
            passage.due = delivery.until
        elif slot.again_if_stale and delivery.result is Result.STALE:
            self._schedule(passage, None)
        else:
            passage.done.add(slot.step.name)
            self._schedule(passage, delivery.at)
            if passage.due is None:
                self._close(slot.run_id)
        await self._release()

    def fail(self, because: str) -> None:
        """Note that nothing can go on."""
        self.failure = self.failure or because
        self._tell()

    def check(self) -> None:
        """Make sure that all goes on.

        Raises:
            JourneysError: A journey is broken.
        """
        if self.failure is not None:
            raise JourneysError(f"the journey cannot go on: {self.failure}")

    def _begin(self, run: NewRun, customer: int) -> None:
        passage = Passage(
            customer=customer,
            workflow_id=run.workflow_id,
            events_first=_EVENTS_FIRST.get(run.workflow, False),
            plan=self._plans[run.journey],
            since=run.since,
            begun_at=datetime.fromisoformat(run.entry["begun_at"]),
        )
        self._schedule(passage, None)
        if not run.delay:
            self._beginning[run.workflow_id] += 1
        self._passages[run.run_id] = passage
        self._of.setdefault(customer, set()).add(run.run_id)
        self.customers[run.customer_id] = customer

    @staticmethod
    def _schedule(passage: Passage, settled_at: datetime | None) -> None:
        due = next_due(passage.plan, passage.done, passage.since, passage.begun_at, settled_at)
        passage.due = None if due is None else due[1]

    def _close(self, run_id: UUID) -> None:
        if run_id in self._passages:
            self._closing[self._passages[run_id].workflow_id] += 1
            self._drop(run_id)

    def _drop(self, run_id: UUID) -> None:
        passage = self._passages.pop(run_id)
        self._of[passage.customer].discard(run_id)

    def _next(self, customer: int) -> datetime | None:
        calls = self._calls.get(customer)
        return calls[0] if calls else None

    async def _release(self) -> None:
        async with self._settled:
            self._settled.notify_all()
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
