"""What an operator may do to a run under way, as Updates: hurry it, take the customer out, give it another plan.

They are checked before they are accepted, and answered when they are done. One that comes with the run's very first
task is handled before `run`, so each handler waits until the run has begun. The ones about a single customer are
audited by an activity, so that it makes no difference whether they come from our API or from the Temporal UI.
"""

from datetime import timedelta
from typing import Any, Generic

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.note import NoteOperation
    from domain.errors import OperationRefused
    from domain.operations import Leave, Note, Replan, SkipWait
    from domain.plans import Plan
    from domain.runs import Outcome
from workflows.passage import Passage, PlanT

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


class Wait:
    """A wait that a run is in; one that waits for nothing but the time can be skipped."""

    def __init__(self, summary: str, *, skippable: bool) -> None:
        self.summary = summary
        self.skippable = skippable
        self.over = False


class Operated(Passage[PlanT], Generic[PlanT]):
    """A run that an operator can reach."""

    def __init__(self) -> None:
        super().__init__()
        self._wait: Wait | None = None
        self._replans = 0
        self._resumes = 0

    @workflow.update(description="End the wait the run is in; the gate still decides about the message.")
    async def skip_wait(self, command: SkipWait) -> str:
        """Return what was being waited for."""
        await workflow.wait_condition(lambda: self._begun)
        wait = self._waiting()
        await self._note(command.by, "skip_wait", wait.summary)
        wait.over = True
        return wait.summary

    @skip_wait.validator
    def _can_skip(self, command: SkipWait) -> None:
        self._must_be_open()
        if self._begun and not self._waiting().skippable:
            raise _refused(f"this wait is not for a time and cannot be skipped: {self._waiting().summary}")

    @workflow.update(name="leave", description="Take the customer out of this run; nothing more is sent by it.")
    async def leave_run(self, command: Leave) -> str:
        """Return the outcome."""
        await workflow.wait_condition(lambda: self._begun)
        await self._note(command.by, "leave", command.because)
        self.exit(Outcome.LEFT, because=command.because)
        return Outcome.LEFT.value

    @leave_run.validator
    def _can_leave(self, command: Leave) -> None:
        self._must_be_open()

    @workflow.update(description="Give the run another version of its store's plan.")
    async def replan(self, command: Replan) -> int:
        """Return the version that the run has now."""
        await workflow.wait_condition(lambda: self._begun)
        self._entry = self.entry.model_copy(update={"plan": self._new_plan(command), "plan_version": command.version})
        self._replans += 1
        self._timeline.happened(f"plan {command.version}", f"from now on ({command.mode})")
        return command.version

    @replan.validator
    def _can_replan(self, command: Replan) -> None:
        self._must_be_open()
        self._new_plan(command)

    @workflow.signal(description="The journey is no longer paused.")
    def resumed(self) -> None:
        self._resumes += 1

    def _new_plan(self, command: Replan) -> Plan:
        try:
            wanted = self.plan.model_validate(command.plan)
        except ValidationError as problem:
            first = problem.errors()[0]
            raise _refused(f"plan.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
        return self.entry.plan.retimed(wanted) if command.mode == "retime" and self._begun else wanted

    @property
    def _begun(self) -> bool:
        return self._entry is not None

    def _waiting(self) -> Wait:
        if self._wait is None:
            raise _refused("the run is not waiting")
        return self._wait

    def _must_be_open(self) -> None:
        if self._exit is not None:
            raise _refused(f"the run is over: {self._exit[0]}")

    async def _note(self, by: str, action: Any, detail: str) -> None:
        note = Note(store_id=self.entry.store_id, run_id=self.entry.run_id, by=by, action=action, detail=detail)
        await workflow.execute_activity_method(
            NoteOperation.note, note, summary=f"note: {action}", retry_policy=_RETRY,
            start_to_close_timeout=timedelta(seconds=30),
        )  # fmt: skip


def _refused(because: str) -> ApplicationError:
    # Any other exception of a handler would fail the workflow task, and with it the run's progress.
    return ApplicationError(because, type=OperationRefused.__name__, non_retryable=True)
