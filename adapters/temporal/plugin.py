"""One plugin configures client, worker and replayer identically: converter and strict sandbox."""

import dataclasses

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

PASSED_THROUGH = (
    "pydantic", "pydantic_core", "annotated_types", "domain", "activities", "workflows", "adapters.temporal.versioning",
)  # fmt: skip
"""Passing a module through is a promise that it is deterministic; ruff's banned-api keeps it (ADR 0006)."""


def _strict(runner: WorkflowRunner | None) -> WorkflowRunner:
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner or SandboxedWorkflowRunner()
    restrictions = dataclasses.replace(
        SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH),
        import_notification_policy=SandboxImportNotificationPolicy.WARN_ON_DYNAMIC_IMPORT
        | SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH,
    )
    return dataclasses.replace(runner, restrictions=restrictions)


def journeys_plugin() -> SimplePlugin:
    """Build the plugin."""
    return SimplePlugin("journeys", data_converter=pydantic_data_converter, workflow_runner=_strict)
