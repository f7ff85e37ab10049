"""One plugin configures client, worker and replayer identically: converter, encryption and strict sandbox."""

import dataclasses

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from adapters.temporal.sandbox import Sandbox

PASSED_THROUGH = (
    "pydantic", "pydantic_core", "annotated_types", "domain", "activities", "workflows", "adapters.temporal.versioning",
)  # fmt: skip
"""Passing a module through is a promise that it is deterministic; ruff's banned-api keeps it (ADR 0006)."""


_CONVERTERS = tuple(PydanticPayloadConverter().converters.values())


class _Pydantic(CompositePayloadConverter):
    """The converter of Pydantic's values; all of them are made of the same parts.

    The SDK makes one for each run and for each of its tasks, and each would build a reader anew for each type it meets.
    The types of journeys are the same inside of every sandbox (`PASSED_THROUGH`).
    """

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


def _strict(runner: WorkflowRunner | None) -> WorkflowRunner:
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner or SandboxedWorkflowRunner()
    restrictions = dataclasses.replace(
        SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH),
        import_notification_policy=SandboxImportNotificationPolicy.WARN_ON_DYNAMIC_IMPORT
        | SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH,
    )
    return Sandbox(restrictions=restrictions, runner_class=runner.runner_class)


def _converter(codec: PayloadCodec | None) -> DataConverter:
    plain = DataConverter(payload_converter_class=_Pydantic)
    if codec is None:
        return plain
    # A failure's message and stack trace are no payloads; this makes them one, so that the codec gets them.
    return dataclasses.replace(
        plain, payload_codec=codec, failure_converter_class=DefaultFailureConverterWithEncodedAttributes
    )


def journeys_plugin(codec: PayloadCodec | None = None) -> SimplePlugin:
    """Build the plugin; with a codec, all that Temporal keeps passes through it."""
    return SimplePlugin("journeys", data_converter=_converter(codec), workflow_runner=_strict)
