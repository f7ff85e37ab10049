"""The caption of a run: what the Temporal UI shows of it from its start on. No personal data (G8)."""

from datetime import datetime, timedelta

from domain.facts import Topic
from domain.plans import Plan
from workflows.timeline import local

_CALLED = {
    Topic.ABANDONED_CART: "reminder",
    Topic.BROWSE_ABANDONMENT: "reminder",
    Topic.BACK_IN_STOCK: "alert",
    Topic.PRICE_DROP: "alert",
}


def summary(journey: str, plan: Plan, version: int) -> str:
    """Say in a line what a run is: `Cart recovery, 3 reminders, plan 4`."""
    title = journey.replace("-", " ").replace("/", ": ").capitalize()
    kinds = {_CALLED.get(step.topic, "message") for step in plan.steps}
    kind = kinds.pop() if len(kinds) == 1 else "message"
    count = len(plan.steps)
    return f"{title}, {count} {kind}{'' if count == 1 else 's'}, {f'plan {version}' if version else 'default plan'}"


def outlook(plan: Plan, first: datetime | None, zone: str) -> str:
    """Say in a few lines what a run is going to do, as Markdown.

    Args:
        plan: The plan that it begins with.
        first: When it does anything at all; None for at once.
        zone: The store's.
    """
    held = [] if first is None else [f"Nothing is done before {local(first, zone)}. Then:", ""]
    steps = [f"- **{step.name}** (`{step.template}`), {_after(step.delay)}" for step in plan.steps]
    return "\n".join([*held, *steps])


def span(time: timedelta) -> str:
    """Write a duration for people: `1 d 1 h`."""
    hours, seconds = divmod(time.seconds, 3600)
    parts = ((time.days, "d"), (hours, "h"), (seconds // 60, "min"), (seconds % 60, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _after(delay: timedelta) -> str:
    return f"after {span(delay)}" if delay else "at once"
