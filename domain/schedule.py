"""The schedule: when a run's next step is due. One rule for the run, and for whoever predicts what it will do."""

from collections.abc import Collection
from datetime import datetime

from domain.plans import Plan, Step


def next_step(plan: Plan, done: Collection[str]) -> Step | None:
    """Return the first step of a plan after the last one that is done, by name; a new plan adds none to the past."""
    behind = max((place for place, step in enumerate(plan.steps) if step.name in done), default=-1)
    return next(iter(plan.steps[behind + 1 :]), None)


def waits_from(plan: Plan, since: datetime, begun_at: datetime, settled_at: datetime | None) -> datetime:
    """Return the moment that a step's delay is counted from.

    Args:
        plan: The plan that the run has now.
        since: When the event happened that began the run.
        begun_at: When the router decided so; an event that came late shortens no delay.
        settled_at: When the last step was decided; None before the first.
    """
    return max(begun_at, since + plan.before_first) if settled_at is None else settled_at


def next_due(
    plan: Plan, done: Collection[str], since: datetime, begun_at: datetime, settled_at: datetime | None
) -> tuple[Step, datetime] | None:
    """Say which step comes next and when it is due; None when all are done."""
    step = next_step(plan, done)
    return None if step is None else (step, waits_from(plan, since, begun_at, settled_at) + step.delay)
