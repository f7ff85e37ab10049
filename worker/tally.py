"""What the router tells the metrics of a batch, once it is committed: a batch that is rolled back has not happened."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from adapters.metrics import APPLIED, APPLY_SECONDS, FEEDBACK, RUNS_BEGUN, RUNS_ENDED, journey_label
from adapters.postgres.queue import Queued
from domain.bounces import Kind
from domain.commands import Command, EndRun, RestartRun, SignalRun, StartRun
from domain.vocabulary import canonical

_FEEDBACK = {"Email Bounced", "Email Complained", "Email Delivered"}


def count(applied: Sequence[tuple[Queued, Sequence[Command]]], now: datetime) -> None:
    """Count events that were applied, and the runs that each begins and ends."""
    names: Counter[str] = Counter()
    for queued, commands in applied:
        name = (canonical(queued.name or "") or "other") if queued.type == "track" else queued.type
        names[name] += 1
        APPLY_SECONDS.observe(max((now - queued.received_at).total_seconds(), 0))
        if name in _FEEDBACK and queued.who.customer_id is not None:  # told by ourselves, not by a client
            kind = (queued.event.payload.get("properties") or {}).get("bounce")
            if kind in set(Kind):
                FEEDBACK.labels(str(kind)).inc()
        _count_runs(commands)
    for name, events in names.items():
        APPLIED.labels(name).inc(events)


def _count_runs(commands: Sequence[Command]) -> None:
    for command in commands:
        match command:
            case StartRun(run=run):
                RUNS_BEGUN.labels(journey_label(run.journey)).inc()
            case RestartRun(run=run, ends=outcome):
                RUNS_BEGUN.labels(journey_label(run.journey)).inc()
                RUNS_ENDED.labels(journey_label(run.journey), outcome.value).inc()
            case SignalRun(workflow_id=workflow_id, ends=outcome) if outcome is not None:
                RUNS_ENDED.labels(_journey_of(workflow_id), outcome.value).inc()
            case EndRun(workflow_id=workflow_id, outcome=outcome):
                RUNS_ENDED.labels(_journey_of(workflow_id), outcome.value).inc()


def _journey_of(workflow_id: str) -> str:
    return workflow_id.split("/")[1]
