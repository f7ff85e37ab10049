"""A passage: how a run begins, and all the ways in which it ends. An exit wins over whatever the run waits for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair

with workflow.unsafe.imports_passed_through():
    from domain.commands import EndRun, JoinRun, RestartRun
    from domain.facts import Fact
    from domain.plans import Plan
    from domain.runs import Entry, Outcome
from workflows.rules import Rules
from workflows.timeline import Timeline

CUSTOMER_ID = SearchAttributeKey.for_keyword("CustomerId")
JOURNEY_OUTCOME = SearchAttributeKey.for_keyword("JourneyOutcome")
PlanT = TypeVar("PlanT", bound=Plan)


class Exited(Exception):  # noqa: N818 - a jump, not a fault; it never leaves `until_exit`
    """The run has ended: leave the block.

    Args:
        asking: It would have asked to send by now, so perhaps it has, and its worker died in the attempt.
    """

    def __init__(self, *, asking: bool = False) -> None:
        super().__init__()
        self.asking = asking


class Passage(Rules, Generic[PlanT]):
    """A customer's way through a journey, from its entry to its exit."""

    def __init__(self) -> None:
        self._entry: Entry[PlanT] | None = None
        self._exit: tuple[Outcome, str] | None = None
        self._next: RestartRun | None = None
        self._again = False
        self._left = False
        self._timeline = Timeline()
        self.outcome = Outcome.RUNNING

    @property
    def entry(self) -> Entry[PlanT]:
        """What the run began with, and the plan that it has now."""
        if self._entry is None:
            raise RuntimeError("a journey acts inside `async with self.until_exit(entry)`")
        return self._entry

    @asynccontextmanager
    async def until_exit(self, entry: Entry[PlanT]) -> AsyncIterator[None]:
        """Run a passage: the block ends by itself at an exit, and its outcome becomes searchable."""
        self._entry = entry
        self._timeline.zone = entry.timezone
        self._timeline.happened("began" if entry.put_off is None else "goes on", f"with plan {entry.plan_version}")
        try:
            yield
            self.exit(Outcome.COMPLETED, because="all steps done")
        except Exited as jump:
            if jump.asking:
                await self._settle_lost()
        self._left = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.outcome, because = self._exit or (Outcome.COMPLETED, "")
        self._timeline.happened(self.outcome, because)
        # Nobody searches for a passage that ended before it said anything; its successor is the one to find.
        if self.outcome is not Outcome.RESTARTED:
            workflow.upsert_search_attributes([JOURNEY_OUTCOME.value_set(self.outcome.value)])
        if self._successor is not None:
            running = SearchAttributePair(JOURNEY_OUTCOME, Outcome.RUNNING.value)
            attributes = workflow.info().typed_search_attributes.updated(running)
            # A customer who begins again and again would otherwise stay with the build of the first passage for ever.
            newest = workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
            workflow.continue_as_new(
                self._successor.run.entry, search_attributes=attributes, initial_versioning_behavior=newest
            )

    def exit(self, outcome: Outcome, *, because: str) -> None:
        """Record that the run is over; the first reason counts."""
        self._exit = self._exit or (outcome, because)

    def end(self, fact: Fact) -> None:
        """Exit by a fact, as `ends` says."""
        self.exit(self.ends[type(fact)], because=fact.label)

    def leave(self, outcome: Outcome, *, because: str) -> None:
        """Exit from inside `run`: the block ends here."""
        self.exit(outcome, because=because)
        raise Exited

    async def _settle_lost(self) -> None:
        """Settle what an attempt may have left that the run does not know of."""

    @workflow.signal(description="The customer enters again: this passage ends and the next one begins.")
    def restarted(self, command: RestartRun) -> None:
        self._next = command
        self._again = self._exit is not None and self._exit[0] is not Outcome.COMPLETED

    @workflow.signal(description="The customer is now known under another id.")
    def joined(self, command: JoinRun) -> None:
        workflow.upsert_search_attributes([CUSTOMER_ID.value_set(str(command.customer_id))])

    @workflow.signal(description="The run is over for a reason outside the journey.")
    def ended(self, command: EndRun) -> None:
        self.exit(command.outcome, because="ended by the router")

    @property
    def _successor(self) -> RestartRun | None:
        """The next passage, unless it is this very one: a start and its signal arrive together.

        The router repeats what it was doing when it died, in order: the start of the passage before this one, its end,
        and the start of this one. What comes first ends this passage, and what comes after that has to begin it again.
        """
        if self._next is None or self._entry is None:
            return None
        mine = self._next.run.run_id == self._entry.run_id
        return None if mine and not self._again else self._next

    @property
    def _exiting(self) -> bool:
        if self._successor is not None:
            self.exit(self._successor.ends, because="entered again")
        return self._exit is not None

    def _leave_if_exiting(self, *, asking: bool = False) -> None:
        if self._exiting:
            raise Exited(asking=asking)
