"""What a run waits for: each wait says so, shows in the timeline, and ends with an exit, which wins over all else."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.plans import Step
    from domain.schedule import next_step
from workflows.operated import Operated, Wait
from workflows.passage import PlanT
from workflows.timeline import grouped


class Waiting(Operated[PlanT], Generic[PlanT]):
    """A run that waits."""

    def __init__(self) -> None:
        super().__init__()
        self._step: Step | None = None
        self._done: set[str] = set()
        self._acted = False

    @property
    def _next_step(self) -> Step | None:
        """The step that the run asks for next, or is asking for."""
        return self._step or next_step(self.entry.plan, self._done)

    async def wait(self, delay: timedelta, *, summary: str) -> None:
        """Wait; an exit ends the wait at once and leaves the block."""
        await self._wait_out(workflow.now() + delay, summary)

    async def wait_until(self, moment: datetime, *, summary: str) -> None:
        """Wait until a moment (aware); it may have passed."""
        await self._wait_out(moment, summary)

    async def wait_for(
        self, happened: Callable[[], bool], *, at_most: timedelta | Callable[[], timedelta] | None, summary: str
    ) -> bool:
        """Wait for what a signal records; return whether it happened in time (None: however long it takes).

        A patience that the plan sets is a callable: it is asked again when the plan is replaced.
        """
        while True:
            patience = at_most() if callable(at_most) else at_most
            replanned = lambda known=self._replans: callable(at_most) and self._replans > known  # noqa: E731
            either = lambda stop=replanned: happened() or stop()  # noqa: E731
            if not await self._waited(Wait(summary, self._next_step, skippable=False), either, patience):
                return False
            if happened():
                return True

    async def _wait_out(self, moment: datetime, summary: str, unless: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a moment, and return whether something else ended the wait."""
        return await self._waited(Wait(summary, self._next_step, skippable=True), unless, moment - workflow.now())

    async def _waited(self, wait: Wait, happened: Callable[[], bool], at_most: timedelta | None) -> bool:
        until = None if at_most is None else workflow.now() + at_most

        def over() -> bool:
            """Tell whether nothing is waited for: then the run may have asked already, in a task that was lost."""
            return wait.over or happened() or (until is not None and until <= workflow.now())

        self._leave_if_exiting(asking=over())
        if at_most is not None and at_most <= timedelta(0):
            return happened()
        self._wait, self._acted = wait, True
        self._timeline.waiting(at_most, wait.summary)
        try:
            ended = lambda: self._exiting or wait.over or happened()  # noqa: E731
            groups = grouped(self._step.name) if self._step else None
            await workflow.wait_condition(ended, timeout=at_most, timeout_summary=wait.summary, event_groups=groups)
        except TimeoutError:
            return False
        finally:
            self._wait = None
        said = happened()
        if wait.over and self.entry.at_once:
            # What an operator did is on record before what comes of it.
            await workflow.wait_condition(lambda: workflow.all_handlers_finished() or self._exiting)
        self._leave_if_exiting(asking=over())
        return said
