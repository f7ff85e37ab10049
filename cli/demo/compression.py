"""Time compression: sixty days in under a minute, by scaling the demo store's plans, not by touching workflow code."""

from datetime import timedelta
from typing import Any, TypeVar

from domain.plans import PLANS, Plan
from domain.values import Value

DAY = timedelta(seconds=0.6)
"""How long a day of the shop takes in the demo."""
FLOOR = timedelta(seconds=1.5)
"""A wait that is not zero takes at least this long: an hour would be over before a busy machine notices."""
_REAL = frozenset({"lateness"})
"""How late an event may reach us is about networks, which the demo does not speed up."""

PlanT = TypeVar("PlanT", bound=Plan)


def compressed() -> dict[str, Plan]:
    """Return the demo store's plan for each journey: the default one, in the demo's time."""
    factor = DAY / timedelta(days=1)
    return {journey: scaled(plan.model_validate({}), factor, FLOOR) for journey, plan in PLANS.items()}


def scaled(plan: PlanT, factor: float, floor: timedelta) -> PlanT:
    """Multiply every duration of a plan, also those of its steps.

    Args:
        plan: Left as it is.
        factor: What each duration is multiplied by.
        floor: No duration but zero becomes shorter than this.
    """
    copy = _scaled(plan, factor, floor)
    return type(plan).model_validate(copy.model_dump())


def _scaled(value: Any, factor: float, floor: timedelta) -> Any:
    match value:
        case timedelta():
            return max(value * factor, floor) if value else value
        case tuple():
            return tuple(_scaled(item, factor, floor) for item in value)
        case Value():
            changed = {
                name: _scaled(getattr(value, name), factor, floor)
                for name in type(value).model_fields
                if name not in _REAL
            }
            return value.model_copy(update=changed)
        case _:
            return value
