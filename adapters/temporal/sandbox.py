"""The strict sandbox that workflows run in, which is not entered for what is known outside of it.

The SDK asks an instance, for each payload that comes or goes and several times, what it is about, and a sandboxed one
compiles and runs a line of code inside for the answer. That took a third of what a journey's own tasks cost
(docs/adr/0039-what-is-known-outside.md).
"""

import dataclasses
from typing import Any

from temporalio.api.enums.v1 import CommandType
from temporalio.converter import SerializationContext, StorageDriverStoreContext, WorkflowSerializationContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info

_ABOUT_OTHERS = frozenset({
    CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
    CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
    CommandType.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION,
})  # fmt: skip
"""Commands whose payloads are about something else than the run that gives them; only inside is known what."""


@dataclasses.dataclass(frozen=True)
class Sandbox(SandboxedWorkflowRunner):
    """Runs each workflow in a sandbox of its own."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create the instance that handles a run's tasks."""
        return _Known(super().create_instance(det), det.info)


class _Known(WorkflowInstance):
    """An instance in a sandbox, and what is known of its run outside."""

    def __init__(self, inside: WorkflowInstance, info: Info) -> None:
        self._inside = inside
        self._run = WorkflowSerializationContext(namespace=info.namespace, workflow_id=info.workflow_id)

    def activate(self, act: Any) -> Any:
        """Handle a task, inside."""
        return self._inside.activate(act)

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        """Say what a payload is about. Of an activity's, our codec asks no more than whose workflow it is of."""
        if command_info is not None and command_info.command_type in _ABOUT_OTHERS:
            return self._inside.get_serialization_context(command_info)
        return self._run

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:  # noqa: ARG002
        """Name no place to store payloads: all of them stay with Temporal."""
        return StorageDriverStoreContext(target=None)

    def get_info(self) -> Info:
        """Describe the run."""
        return self._inside.get_info()

    def get_thread_id(self) -> int | None:
        """Return the thread that a task is running on."""
        return self._inside.get_thread_id()
