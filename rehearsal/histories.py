"""Histories: what every released version of a journey left in Temporal, and what its code does now (G6).

Runs wait for months, and code changes meanwhile. Each time a run wakes up, its history is replayed with the code of
the worker, which has to give the same commands again. So one history of each version is kept and replayed, and the
commands of the newest are kept as text, where a review sees them change.
"""

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from adapters.temporal.plugin import journeys_plugin
from domain.errors import OperationRefused
from rehearsal.scrub import scrubbed
from rehearsal.server import quiet_runtime
from workflows.registry import JOURNEYS, WORKFLOWS

_COMMENT = re.compile(r"\s*#.*")
_CAUSE = re.compile(r'message: "((?:[^"\\]|\\.)*)"')
_TOLD = "<-"
_COLUMN = 34


class Histories:
    """The kept histories: one folder for each journey, one numbered file for each version, and `commands.txt`.

    Args:
        folder: Where they are kept.
        workflows: The code that has to replay them.
    """

    def __init__(self, folder: Path, workflows: tuple[type, ...] = WORKFLOWS) -> None:
        self._folder = folder
        self._workflows = workflows
        self._runtime = quiet_runtime()

    def of(self, journey: str) -> list[Path]:
        """Return a journey's histories, oldest version first."""
        return sorted((self._folder / journey).glob("*.json"), key=_number)

    def baseline(self, journey: str) -> Path:
        """Return where the commands of a journey's passage are kept."""
        return self._folder / journey / "commands.txt"

    async def replayed(self, file: Path) -> str | None:
        """Replay a kept history; return what is wrong and what to do about it, None if nothing is."""
        problem = await self._problem(read(file))
        return None if problem is None else _told(file.parent.name, f"no longer replays {file.name}", problem)

    def compared(self, journey: str, history: WorkflowHistory) -> str | None:
        """Hold a new passage against the kept commands; return what is wrong and what to do about it."""
        file = self.baseline(journey)
        if not file.exists():
            return f"{journey} has no recorded history: journeys history record {journey}"
        kept, now = file.read_text("utf-8").splitlines(), _listing(journey, history).splitlines()
        if _bare(kept) == _bare(now):
            return None
        diff = "\n".join(difflib.unified_diff(_bare(kept), _bare(now), "recorded", "now", lineterm="", n=2))
        return _told(journey, "no longer does what its recorded passage says", diff)

    async def add(self, journey: str, history: WorkflowHistory, *, passage: bool, unreleased: bool = False) -> Path:
        """Keep a history as the newest version of a journey.

        Args:
            journey: Its name.
            history: Of this very code.
            passage: It is a passage, so its commands become the ones to compare with.
            unreleased: No run of the journey exists anywhere, so its older histories need not be kept.

        Raises:
            OperationRefused: An older history no longer replays, or this one does not.
        """
        text = scrubbed(history)
        if (problem := await self._problem(WorkflowHistory.from_json(journey, text))) is not None:
            raise OperationRefused(f"this history of {journey} does not replay with this code: {problem}")
        older = self.of(journey)
        for file in older:
            if unreleased:
                file.unlink()
            elif (told := await self.replayed(file)) is not None:
                raise OperationRefused(told)
        number = 1 if unreleased or not older else _number(older[-1]) + 1
        (self._folder / journey).mkdir(parents=True, exist_ok=True)
        (file := self._folder / journey / f"{number}.json").write_text(text, "utf-8")
        if passage:
            self.baseline(journey).write_text(_listing(journey, history), "utf-8")
        return file

    async def _problem(self, history: WorkflowHistory) -> str | None:
        replayer = Replayer(workflows=self._workflows, plugins=[journeys_plugin()], runtime=self._runtime)
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        return None if result.replay_failure is None else _innermost(str(result.replay_failure))


def read(file: Path) -> WorkflowHistory:
    """Read a kept history."""
    return WorkflowHistory.from_json(file.parent.name, file.read_text("utf-8"))


def _number(file: Path) -> int:
    return int(file.stem) if file.stem.isdecimal() else 0


def commands(history: WorkflowHistory) -> list[str]:
    """Return what a workflow told Temporal and was told (`<-`), in order, one line each."""
    lines = ((_line(event), _summary(event)) for event in history.events)
    return [f"{line:{_COLUMN}}# {what}" if what else line for line, what in lines if line]


def _listing(journey: str, history: WorkflowHistory) -> str:
    head = (
        f"# What {journey} tells Temporal ({_TOLD}: is told), written by `journeys history record {journey}`.",
        "# Runs under way replay these lines, so they must not change for them. What stands after a # may.",
    )
    return "\n".join([*head, *commands(history)]) + "\n"


def _bare(lines: list[str]) -> list[str]:
    return [bare for line in lines if (bare := _COMMENT.sub("", line))]


def _line(event: HistoryEvent) -> str:  # noqa: PLR0911 - one line for each kind of event
    match event.event_type:
        case EventType.EVENT_TYPE_TIMER_STARTED:
            return "start timer"
        case EventType.EVENT_TYPE_TIMER_CANCELED:
            return "cancel timer"
        case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            return f"activity {event.activity_task_scheduled_event_attributes.activity_type.name}"
        case EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
            return "cancel activity"
        case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
            attributes = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
            return f"search attributes {', '.join(sorted(attributes))}"
        case EventType.EVENT_TYPE_MARKER_RECORDED:
            return _marked(event.marker_recorded_event_attributes.details)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            return f"{_TOLD} signal {event.workflow_execution_signaled_event_attributes.signal_name}"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            request = event.workflow_execution_update_accepted_event_attributes.accepted_request
            return f"{_TOLD} update {request.input.name}"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
            return "answer update"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            return "continue as new"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            return "complete"
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            return "fail"
    return ""


def _marked(details: Mapping[str, Payloads]) -> str:
    """Read what the SDK noted: that a patch was met, or what became of a local activity."""
    if "patch-data" in details:
        return f"patched {json.loads(details['patch-data'].payloads[0].data)['id']}"
    return f"local activity {json.loads(details['data'].payloads[0].data)['activity_type']}"


def _summary(event: HistoryEvent) -> str:
    summary = event.user_metadata.summary.data
    return str(json.loads(summary)) if summary else ""


def _innermost(failure: str) -> str:
    """Take the cause out of a failure that holds others, each with its stack trace; for people."""
    causes = _CAUSE.findall(failure)
    return causes[-1].replace("\\n", "\n").replace('\\"', '"') if causes else failure


def _told(journey: str, what: str, how: str) -> str:
    moves = any(known.name == journey and known.outlives_deploys for known in JOURNEYS)
    elsewhere = (
        "It outlives deploys: its runs move to every new build, so there is no other way."
        if moves
        else 'Or put it into a workflow of another name; pinned runs stay with their build ("journeys deploy drain").'
    )
    return f"""{journey} {what}.

{how}

The rule: a running journey must be able to replay its history. Runs that wait now were recorded with the old commands;
with this code their next task fails, and they send nothing more.

1. Put the change behind `if workflow.patched("what-changed"):`, and leave the old commands in the `else`.
   {elsewhere}
2. Record the new commands beside the old ones:  journeys history record {journey}

While no run of {journey} exists anywhere:  journeys history record {journey} --unreleased
"""
