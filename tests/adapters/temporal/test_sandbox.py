"""The sandbox is entered for what a workflow does, and not for what is known of it outside."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import CommandType
from temporalio.converter import WorkflowSerializationContext
from temporalio.worker import WorkflowInstance
from temporalio.worker.workflow_sandbox import _runner

from adapters.temporal.sandbox import _Known
from rehearsal.histories import Histories

HISTORIES = Path(__file__).parents[2] / "workflows" / "histories"
RUN = cast("Any", SimpleNamespace(namespace="shops", workflow_id="mugs/welcome/1"))


class Inside:
    """An instance in its sandbox, that is asked what a payload is about."""

    def get_serialization_context(self, command_info: Any) -> WorkflowSerializationContext:
        return WorkflowSerializationContext(namespace="shops", workflow_id=f"other/{command_info.command_seq}")


def known() -> _Known:
    return _Known(cast("WorkflowInstance", Inside()), RUN)


async def test_a_journey_is_played_without_asking_its_sandbox_what_payloads_are_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else each payload costs several entries (docs/performance.md)."""

    def asked(*_: Any) -> None:
        raise AssertionError("the sandbox was entered")

    for question in ("get_serialization_context", "get_external_store_context"):
        monkeypatch.setattr(_runner._Instance, question, asked)

    assert await Histories(HISTORIES).replayed(HISTORIES / "cart-recovery" / "1.json") is None


@pytest.mark.parametrize("kind", [None, CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK])
def test_payloads_of_a_run_and_of_its_activities_are_about_the_run(kind: Any) -> None:
    """By which the codec knows whose key it needs (ADR 0024)."""
    command = None if kind is None else SimpleNamespace(command_type=kind, command_seq=1)

    assert known().get_serialization_context(command) == WorkflowSerializationContext("shops", "mugs/welcome/1")


@pytest.mark.parametrize("kind", [
    CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
    CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
    CommandType.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION,
])  # fmt: skip
def test_what_is_sent_to_another_workflow_is_about_that_one(kind: Any) -> None:
    """Nobody does that here yet; whoever begins to, gets the right key."""
    command = SimpleNamespace(command_type=kind, command_seq=7)

    assert known().get_serialization_context(command) == WorkflowSerializationContext("shops", "other/7")
