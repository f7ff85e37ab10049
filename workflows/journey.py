"""The base of every journey: exits that win over timers, sends that may be deferred, and a dated timeline.

It hides activity options, dedup keys, search attributes and the jump to the end. It does not hide Temporal:
a journey keeps its own `@workflow.defn`, `run` and signals. Handlers record and never await; `run` acts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair

with workflow.unsafe.imports_passed_through():
    from domain.commands import EndRun, JoinRun, RestartRun
    from domain.delivery import Condition, Delivery, Result, Slot
    from domain.facts import Fact
    from domain.plans import Step
    from domain.runs import Entry, Outcome
from workflows.rules import Rules
from workflows.sending import deliver
from workflows.timeline import Timeline

CUSTOMER_ID = SearchAttributeKey.for_keyword("CustomerId")
JOURNEY_OUTCOME = SearchAttributeKey.for_keyword("JourneyOutcome")


class _Exited(Exception):  # noqa: N818 - a jump, not a fault; it never leaves `until_exit`
    """The run has ended: leave the block."""


class Journey(Rules):
    """What all journeys share."""

    def __init__(self) -> None:
        self._entry: Entry[Any] | None = None
        self._exit: tuple[Outcome, str] | None = None
        self._next: RestartRun | None = None
        self._timeline = Timeline()
        self.outcome = Outcome.RUNNING

    @contextmanager
    def until_exit(self, entry: Entry[Any]) -> Iterator[None]:
        """Run a passage: the block ends by itself at an exit, and its outcome becomes searchable."""
        self._entry = entry
        self._timeline.happened("began", f"with plan {entry.plan_version}")
        try:
            yield
            self.exit(Outcome.COMPLETED, because="all steps done")
        except _Exited:
            pass
        self.outcome, because = self._exit or (Outcome.COMPLETED, "")
        self._timeline.happened(self.outcome, because)
        # Nobody searches for a passage that ended before it said anything; its successor is the one to find.
        if self.outcome is not Outcome.RESTARTED:
            workflow.upsert_search_attributes([JOURNEY_OUTCOME.value_set(self.outcome.value)])
        if self._successor is not None:
            running = SearchAttributePair(JOURNEY_OUTCOME, Outcome.RUNNING.value)
            attributes = workflow.info().typed_search_attributes.updated(running)
            workflow.continue_as_new(self._successor.run.entry, search_attributes=attributes)

    async def wait(self, delay: timedelta, *, summary: str) -> None:
        """Wait; an exit ends the wait at once and leaves the block."""
        await self.wait_for(lambda: False, at_most=delay, summary=summary)

    async def wait_until(self, moment: datetime, *, summary: str) -> None:
        """Wait until a moment (aware); it may have passed."""
        await self.wait(moment - workflow.now(), summary=summary)

    async def wait_for(self, happened: Callable[[], bool], *, at_most: timedelta, summary: str) -> bool:
        """Wait for what a signal records; return whether it happened in time."""
        self._leave_if_exiting()
        if at_most <= timedelta(0):
            return happened()
        self._timeline.waiting(at_most, summary)
        try:
            await workflow.wait_condition(lambda: self._exiting or happened(), timeout=at_most, timeout_summary=summary)
        except TimeoutError:
            return False
        self._leave_if_exiting()
        return True

    async def send(self, step: Step, *requires: Condition, again_if_stale: bool = False) -> Delivery:
        """Ask to send a step's message, again while it is deferred, and say what became of it."""
        if (entry := self._entry) is None:
            raise RuntimeError("a journey sends inside `with self.until_exit(entry)`")
        slot = Slot(
            store_id=entry.store_id, customer_id=entry.customer_id, run_id=entry.run_id, journey=self.name, step=step,
            gap=entry.plan.gap, requires=requires, product_id=entry.product_id, order_id=entry.order_id,
            last=step.name == entry.plan.steps[-1].name, again_if_stale=again_if_stale,
        )  # fmt: skip
        while True:
            self._leave_if_exiting()
            if (delivery := await deliver(slot, lambda: self._exiting)) is None:
                raise _Exited
            self._timeline.happened(step.name, f"{delivery.result}: {delivery.because}")
            if delivery.result is Result.EXITED:
                self.leave(delivery.outcome or Outcome.COMPLETED, because=delivery.because)
            if delivery.until is None:
                return delivery
            await self.wait_until(delivery.until, summary=f"{step.name} waits: {delivery.because}")

    def exit(self, outcome: Outcome, *, because: str) -> None:
        """Record that the run is over; the first reason counts."""
        self._exit = self._exit or (outcome, because)

    def end(self, fact: Fact) -> None:
        """Exit by a fact, as `ends` says."""
        self.exit(self.ends[type(fact)], because=fact.label)

    def leave(self, outcome: Outcome, *, because: str) -> None:
        """Exit from inside `run`: the block ends here."""
        self.exit(outcome, because=because)
        raise _Exited

    @workflow.signal(description="The customer enters again: this passage ends and the next one begins.")
    def restarted(self, command: RestartRun) -> None:
        self._next = command

    @workflow.signal(description="The customer is now known under another id.")
    def joined(self, command: JoinRun) -> None:
        workflow.upsert_search_attributes([CUSTOMER_ID.value_set(str(command.customer_id))])

    @workflow.signal(description="The run is over for a reason outside the journey.")
    def ended(self, command: EndRun) -> None:
        self.exit(command.outcome, because="ended by the router")

    @property
    def _successor(self) -> RestartRun | None:
        """The next passage, unless it is this very one: a start and its signal arrive together."""
        mine = self._next is None or self._entry is None or self._next.run.run_id == self._entry.run_id
        return None if mine else self._next

    @property
    def _exiting(self) -> bool:
        if self._successor is not None:
            self.exit(self._successor.ends, because="entered again")
        return self._exit is not None

    def _leave_if_exiting(self) -> None:
        if self._exiting:
            raise _Exited
