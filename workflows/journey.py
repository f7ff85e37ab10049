"""The base of every journey: steps that come due, and sends that may be put off.

It hides activity options, dedup keys, search attributes and the jump to the end. It does not hide Temporal:
a journey keeps its own `@workflow.defn`, `run` and signals. Signal handlers record and never await; `run` acts.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import count
from typing import Generic

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import Condition, Delivery, Result, Slot
    from domain.plans import Step
    from domain.runs import Outcome, PutOff
    from domain.schedule import next_step, waits_from
from workflows.passage import Exited, PlanT
from workflows.sending import abandon, deliver
from workflows.waits import Waiting

_LONG_HISTORY = 2_000
"""After so many events a run whose step is put off goes on with an empty history; Temporal ends one of 51,200."""


class Journey(Waiting[PlanT], Generic[PlanT]):
    """What all journeys share."""

    def __init__(self) -> None:
        super().__init__()
        self._settled_at: datetime | None = None
        self._due: datetime | None = None
        self._waited_from: datetime | None = None
        self._asks = count(1)
        self._resumable = False

    async def steps_due(self) -> AsyncIterator[Step]:
        """Yield the steps that are not done, each when it is due; a plan replaced meanwhile counts at once."""
        self._resumable = not self._acted
        if (before := self.entry.put_off) is not None:
            self._done, self._settled_at, self._asks = set(before.done), before.settled_at, count(before.asks + 1)
        while (step := next_step(self.entry.plan, self._done)) is not None:
            entry, replans = self.entry, self._replans
            due = waits_from(entry.plan, entry.since, entry.begun_at, self._settled_at) + step.delay
            waited_from = self._settled_at or entry.begun_at
            if before is not None and before.step == step.name:
                due, waited_from = before.due, before.waited_from
            self._step = step
            if await self._wait_out(due, f"before {step.name}", lambda known=replans: self._replans > known):  # type: ignore[misc]
                if self.entry.plan.step(step.name) is None:
                    await self._settle_lost()
                continue
            self._due, self._waited_from = due, waited_from
            yield step
            self._done.add(step.name)

    async def send(self, step: Step, *requires: Condition, again_if_stale: bool = False) -> Delivery:
        """Ask to send a step's message, again while it is put off, and say what became of it."""
        due, self._step = self._due or workflow.now(), step
        # What no timer brought about came due just now, however long the run has waited for it.
        waited_from = self._waited_from if self._due and self._waited_from else due
        self._acted = True
        while True:
            self._leave_if_exiting(asking=True)
            entry, resumes, unpauses = self.entry, self._resumes, self._unpauses
            if (planned := entry.plan.step(step.name)) is None:
                await self._settle_lost()
                self._due = self._step = None
                return Delivery(result=Result.DROPPED, because="the plan has this step no more")
            self._step = step = planned
            slot = self._slot(step, due, waited_from, requires, again_if_stale)
            delivery = await deliver(slot, lambda: self._exiting, at_once=entry.at_once)
            if delivery is None:
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
                await self._go_on_anew(step, due, waited_from, slot.ask)
                await self._wait_out(due, f"{step.name} waits: {delivery.because}", self._sooner(unpauses, delivery))
            else:
                self._settled_at, self._due, self._step = decided_at, None, None
                if not (again_if_stale and delivery.result is Result.STALE):
                    self._done.add(step.name)
                return delivery

    def _slot(
        self, step: Step, due: datetime, waited_from: datetime, requires: tuple[Condition, ...], again_if_stale: bool
    ) -> Slot:
        entry = self.entry
        return Slot(
            store_id=entry.store_id, customer_id=entry.customer_id, run_id=entry.run_id, journey=entry.journey,
            step=step, gap=entry.plan.gap, due=due, waited_from=waited_from, requires=requires,
            product_id=entry.product_id, order_id=entry.order_id, last=entry.plan.ends_with(step.name),
            again_if_stale=again_if_stale, plan_version=entry.plan_version, ask=next(self._asks),
        )  # fmt: skip

    async def _settle_lost(self) -> None:
        """Settle a step that is not asked for any more: a worker that dies in a local attempt leaves no trace of it.

        The run's task is done anew, with all that has come meanwhile, as if there had been no attempt (G3).
        """
        if self.entry.at_once and (step := self._next_step) is not None:
            now = workflow.now()
            await abandon(self._slot(step, now, now, (), False), left=True)

    async def _go_on_anew(self, step: Step, due: datetime, waited_from: datetime, asks: int) -> None:
        """Leave a long history behind; only a `run` that had nothing to do before its steps can begin again."""
        if not self._resumable or workflow.info().get_current_history_length() < _LONG_HISTORY:
            return
        await workflow.wait_condition(lambda: workflow.all_handlers_finished() or self._exiting)
        self._leave_if_exiting()
        put_off = PutOff(
            step=step.name, due=due, waited_from=waited_from, done=frozenset(self._done),
            settled_at=self._settled_at, asks=asks,
        )  # fmt: skip
        workflow.continue_as_new(self.entry.model_copy(update={"put_off": put_off}))
