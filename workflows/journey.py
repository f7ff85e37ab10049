"""The base of every journey: waits that an exit ends, steps that come due, and sends that may be put off.

It hides activity options, dedup keys, search attributes and the jump to the end. It does not hide Temporal:
a journey keeps its own `@workflow.defn`, `run` and signals. Signal handlers record and never await; `run` acts.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Generic

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import Condition, Delivery, Result, Slot
    from domain.plans import Step
    from domain.runs import Outcome
    from domain.schedule import next_step, waits_from
from workflows.operated import Operated, Wait
from workflows.passage import Exited, PlanT
from workflows.sending import deliver


class Journey(Operated[PlanT], Generic[PlanT]):
    """What all journeys share."""

    def __init__(self) -> None:
        super().__init__()
        self._done: set[str] = set()
        self._settled_at: datetime | None = None
        self._due: datetime | None = None

    async def steps_due(self) -> AsyncIterator[Step]:
        """Yield the steps that are not done, each when it is due; a plan replaced meanwhile counts at once."""
        while (step := next_step(self.entry.plan, self._done)) is not None:
            entry, replans = self.entry, self._replans
            due = waits_from(entry.plan, entry.since, entry.begun_at, self._settled_at) + step.delay
            if await self._wait_out(due, f"before {step.name}", lambda known=replans: self._replans > known):  # type: ignore[misc]
                continue
            self._due = due
            yield step
            self._done.add(step.name)

    async def wait(self, delay: timedelta, *, summary: str) -> None:
        """Wait; an exit ends the wait at once and leaves the block."""
        await self._wait_out(workflow.now() + delay, summary)

    async def wait_until(self, moment: datetime, *, summary: str) -> None:
        """Wait until a moment (aware); it may have passed."""
        await self._wait_out(moment, summary)

    async def wait_for(self, happened: Callable[[], bool], *, at_most: timedelta | None, summary: str) -> bool:
        """Wait for what a signal records; return whether it happened in time (None: however long it takes)."""
        return await self._waited(Wait(summary, skippable=False), happened, at_most)

    async def send(self, step: Step, *requires: Condition, again_if_stale: bool = False) -> Delivery:
        """Ask to send a step's message, again while it is put off, and say what became of it."""
        due = self._due or workflow.now()
        waited_from = self._settled_at or self.entry.begun_at
        while True:
            self._leave_if_exiting()
            entry, resumes = self.entry, self._resumes
            slot = Slot(
                store_id=entry.store_id, customer_id=entry.customer_id, run_id=entry.run_id, journey=entry.journey,
                step=step, gap=entry.plan.gap, due=due, waited_from=waited_from, requires=requires,
                product_id=entry.product_id, order_id=entry.order_id, last=step.name == entry.plan.steps[-1].name,
                again_if_stale=again_if_stale,
            )  # fmt: skip
            if (delivery := await deliver(slot, lambda: self._exiting)) is None:
                raise Exited
            self._timeline.happened(step.name, f"{delivery.result}: {delivery.because}")
            decided_at = delivery.at or workflow.now()
            if delivery.result is Result.EXITED:
                self.leave(delivery.outcome or Outcome.COMPLETED, because=delivery.because)
            elif delivery.result is Result.PAUSED:
                back = lambda known=resumes: self._resumes > known  # noqa: E731
                await self.wait_for(back, at_most=None, summary=f"{step.name} waits: {delivery.because}")
            elif delivery.until is not None:
                waited_from, due = decided_at, delivery.until
                await self.wait_until(due, summary=f"{step.name} waits: {delivery.because}")
            else:
                self._settled_at, self._due = decided_at, None
                self._done.add(step.name)
                return delivery

    async def _wait_out(self, moment: datetime, summary: str, unless: Callable[[], bool] = lambda: False) -> bool:
        return await self._waited(Wait(summary, skippable=True), unless, moment - workflow.now())

    async def _waited(self, wait: Wait, happened: Callable[[], bool], at_most: timedelta | None) -> bool:
        self._leave_if_exiting()
        if at_most is not None and at_most <= timedelta(0):
            return happened()
        self._wait = wait
        self._timeline.waiting(at_most, wait.summary)
        try:
            over = lambda: self._exiting or wait.over or happened()  # noqa: E731
            await workflow.wait_condition(over, timeout=at_most, timeout_summary=wait.summary)
        except TimeoutError:
            return False
        finally:
            self._wait = None
        self._leave_if_exiting()
        return happened()
