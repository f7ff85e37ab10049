"""Billing: every action that Temporal would count (docs.temporal.io/cloud/actions), counted as it is ordered.

What a workflow orders is read from the completions of its tasks, which are the commands that the server gets; what
is started and signalled from outside is counted where it is called.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence

from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.workflow import _Definition

_BILLED = {
    "start_timer": "timers",
    "schedule_activity": "activities",
    "schedule_local_activity": "activities",
    "upsert_workflow_search_attributes": "search_attributes",
    "set_patch_marker": "markers",
    "continue_as_new_workflow_execution": "continued",
    "start_child_workflow_execution": "starts",
    "signal_external_workflow_execution": "signals",
}
_OVER = {"complete_workflow_execution", "continue_as_new_workflow_execution", "cancel_workflow_execution"}
_BROKEN = "fail_workflow_execution"

Told = Callable[[str], object]
"""Told that a passage of this workflow has begun, or ended."""
Broken = Callable[[str], object]
"""Told why a workflow cannot go on."""


class BillingRunner(WorkflowRunner):
    """Run workflows without the sandbox (their code has passed the tests that use it), and count what they order."""

    def __init__(self, actions: Counter[str], began: Told, ended: Told, broken: Broken) -> None:
        self._inner = UnsandboxedWorkflowRunner()
        self._actions = actions
        self._began, self._ended, self._broken = began, ended, broken

    def prepare_workflow(self, defn: _Definition) -> None:
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = self._inner.create_instance(det)
        activate = instance.activate

        def counted(act: WorkflowActivation) -> WorkflowActivationCompletion:
            completion = activate(act)
            # A replay orders nothing anew.
            if not act.is_replaying:
                starts = [job.initialize_workflow for job in act.jobs if job.HasField("initialize_workflow")]
                if starts and not _goes_on(starts[0].arguments):
                    self._began(det.info.workflow_id)
                self._count(det.info.workflow_id, completion)
            return completion

        instance.activate = counted  # type: ignore[method-assign]
        return instance

    def _count(self, workflow_id: str, completion: WorkflowActivationCompletion) -> None:
        if completion.HasField("failed"):
            self._broken(completion.failed.failure.message)
        for command in completion.successful.commands:
            kind = command.WhichOneof("variant") or ""
            if kind in _BILLED:
                self._actions[_BILLED[kind]] += 1
            if kind in _OVER and not _goes_on(command.continue_as_new_workflow_execution.arguments):
                self._ended(workflow_id)
            elif kind == _BROKEN:
                self._broken(command.fail_workflow_execution.failure.message)


def _goes_on(arguments: Sequence[Payload]) -> bool:
    """Tell whether a run goes on from a history that had become too long: its entry says where it stands."""
    entries = [json.loads(argument.data) for argument in arguments]
    return any(isinstance(entry, dict) and entry.get("put_off") for entry in entries)
