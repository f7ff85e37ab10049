"""What an operator may do to a run under way, as Updates: hurry it, take the customer out, give it another plan.

They are accepted whatever they are, then checked: a rejected Update can wedge a run in its start delay (ADR 0018). So
there are no validators, handlers take any argument, and there is one for unknown names. An Update that comes with the
run's very first task is handled before `run`, so each handler waits until the run has begun. The ones about a single
customer are audited by an activity, so that it makes no difference whether they come from our API or the Temporal UI.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.note import NoteOperation
    from domain.delivery import Delivery, Rule
    from domain.errors import JourneysError, NotFound, OperationRefused
    from domain.facts import MarketingResumed
    from domain.operations import Leave, Note, Replan, SkipWait
    from domain.plans import Plan, Step
    from domain.runs import Outcome
from workflows.passage import Passage, PlanT

CommandT = TypeVar("CommandT", SkipWait, Leave, Replan)
_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


class Wait:
    """A wait that a run is in; one that waits for nothing but the time can be skipped.

    Args:
        summary: What is waited for, in words for a marketer.
        step: The step that comes after it; None: nothing more is sent.
        skippable: Whether it waits for nothing but the time.
    """

    def __init__(self, summary: str, step: Step | None, *, skippable: bool) -> None:
        self.summary = summary
        self.step = step
        self.skippable = skippable
        self.over = False


class Operated(Passage[PlanT], Generic[PlanT]):
    """A run that an operator can reach."""

    def __init__(self) -> None:
        super().__init__()
        self._wait: Wait | None = None
        self._replans = 0
        self._resumes = 0
        self._unpauses = 0

    @workflow.update(description="End the wait the run is in; the gate still decides about the message.")
    async def skip_wait(self, *given: Any) -> str:
        """Return what was being waited for."""
        command = await self._accepted(SkipWait, given)
        wait = self._wait
        if command.step is not None and (wait is None or wait.step is None or wait.step.name != command.step):
            raise _refused(f"the run does not wait for {command.step}; if it did, that is over")
        if wait is None:
            raise _refused("the run is not waiting; it is being decided or sent right now")
        if not wait.skippable:
            raise _refused(f"this wait is not for a time and cannot be skipped: {wait.summary}")
        # Before it is noted: a plan replaced meanwhile would begin another wait, and the skip would be lost.
        wait.over = True
        self._timeline.happened("wait skipped", f"by {command.by}")
        await self._note(command.by, "skip_wait", wait.summary)
        return wait.summary

    @workflow.update(name="leave", description="Take the customer out of this run; nothing more is sent by it.")
    async def leave_run(self, *given: Any) -> str:
        """Return the outcome, once nothing can be sent any more: one that came first stays."""
        command = await self._accepted(Leave, given)
        await self._note(command.by, "leave", command.because)
        self.exit(Outcome.LEFT, because=command.because)
        await workflow.wait_condition(lambda: self._left)
        return (self._exit or (Outcome.LEFT, ""))[0].value

    @workflow.update(description="Give the run another version of its store's plan.")
    async def replan(self, *given: Any) -> int:
        """Return the version that the run has now; an older one, or a repetition, changes nothing."""
        command = await self._accepted(Replan, given)
        if command.version <= self.entry.plan_version:
            return self.entry.plan_version
        self._entry = self.entry.model_copy(update={"plan": self._new_plan(command), "plan_version": command.version})
        self._replans += 1
        self._timeline.happened(f"plan {command.version}", f"from now on ({command.mode})")
        return command.version

    @workflow.update(dynamic=True)
    async def other_update(self, name: str, _given: Sequence[RawValue]) -> None:
        """Refuse what we do not know."""
        raise _refused(f"a journey has no update {name!r}")

    @workflow.signal(description="The journey is no longer paused.")
    def resumed(self) -> None:
        self._resumes += 1

    @workflow.signal(description="The customer no longer pauses marketing, or not for so long.")
    def marketing_resumed(self, _fact: MarketingResumed) -> None:
        self._unpauses += 1

    def _sooner(self, unpauses: int, delivery: Delivery) -> Callable[[], bool]:
        """Return what lets a message that was put off ask again before its time; `unpauses` is from before it asked."""
        return lambda: delivery.rule is Rule.MARKETING_PAUSED and self._unpauses > unpauses

    def _new_plan(self, command: Replan) -> Plan:
        try:
            wanted = self.plan.model_validate(command.plan)
        except ValidationError as problem:
            raise _refused(f"plan.{_first(problem)}") from None
        return self.entry.plan.retimed(wanted) if command.mode == "retime" else wanted

    async def _accepted(self, kind: type[CommandT], given: Sequence[Any]) -> CommandT:
        """Return the command once the run has begun, if it is one, and is about this run, and the run is not over."""
        await workflow.wait_condition(lambda: self._entry is not None)
        try:
            command = kind.model_validate(given[0] if len(given) == 1 else None)
        except ValidationError as problem:
            raise _refused(_first(problem)) from None
        if command.run_id not in {None, self.entry.run_id}:
            raise _refused("the workflow is about another run now", NotFound)
        if self._exiting and self._exit is not None:
            raise _refused(f"the run is over: {self._exit[0]}")
        return command

    async def _note(self, by: str, action: Literal["skip_wait", "leave"], detail: str) -> None:
        note = Note(store_id=self.entry.store_id, run_id=self.entry.run_id, by=by, action=action, detail=detail)
        await workflow.execute_activity_method(
            NoteOperation.note, note, summary=f"note: {action}", retry_policy=_RETRY,
            start_to_close_timeout=timedelta(seconds=30),
        )  # fmt: skip


def _first(problem: ValidationError) -> str:
    first = problem.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}".removeprefix(": ")


def _refused(because: str, why: type[JourneysError] = OperationRefused) -> ApplicationError:
    # Any other exception of a handler would fail the workflow task, and with it the run's progress.
    return ApplicationError(because, type=why.__name__, non_retryable=True)
