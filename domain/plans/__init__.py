"""Plans: a journey's settings for one store. Every number a store can change stands here, typed and bounded.

Defaults are the table "Default plans" of the design; their sources are in docs/adr/0009-default-timings.md.
Durations are ISO 8601 in JSON (`"PT1H"`, `"P2D"`).
"""

from typing import Any

from pydantic import ValidationError

from domain.errors import InvalidPlan
from domain.plans.back_in_stock import BackInStockPlan
from domain.plans.cart_recovery import CartRecoveryPlan
from domain.plans.plan import SLACK, Plan, Step, Wait
from domain.plans.post_purchase import PostPurchasePlan
from domain.plans.welcome import WelcomePlan
from domain.plans.win_back import WinBackPlan

__all__ = [
    "PLANS",
    "SLACK",
    "BackInStockPlan",
    "CartRecoveryPlan",
    "Plan",
    "PostPurchasePlan",
    "Step",
    "Wait",
    "WelcomePlan",
    "WinBackPlan",
    "validated",
]

PLANS: dict[str, type[Plan]] = {
    "welcome": WelcomePlan,
    "cart-recovery": CartRecoveryPlan,
    "post-purchase": PostPurchasePlan,
    "win-back": WinBackPlan,
    "back-in-stock": BackInStockPlan,
}
"""Every journey by name and the plan it takes; tests hold it against the registry of workflows."""


def validated(journey: str, settings: dict[str, Any]) -> Plan:
    """Check a plan that a store wants to use; what it leaves out keeps its default.

    Args:
        journey: A name in `PLANS`.
        settings: The plan as JSON data.

    Raises:
        InvalidPlan: Names the field and the rule that it breaks.
    """
    model = PLANS.get(journey)
    if model is None:
        raise InvalidPlan("journey", f"there is no journey {journey!r}; there are {', '.join(PLANS)}")
    try:
        return model.model_validate(settings)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise InvalidPlan(".".join(str(part) for part in first["loc"]) or "plan", first["msg"]) from problem
