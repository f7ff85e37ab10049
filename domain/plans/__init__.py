"""Plans: a journey's settings for one store. Every number a store can change stands here, typed and bounded.

Defaults are the table "Default plans" of the design; their sources are in docs/adr/0009-default-timings.md.
Durations are ISO 8601 in JSON (`"PT1H"`, `"P2D"`).
"""

from typing import Any

from pydantic import ValidationError

from domain.errors import InvalidPlan
from domain.plans.back_in_stock import BackInStockPlan
from domain.plans.browse_abandonment import BrowseAbandonmentPlan
from domain.plans.cart_recovery import CartRecoveryPlan
from domain.plans.double_opt_in import DoubleOptInPlan
from domain.plans.follow_up import PREFIX, FollowUpPlan, FollowUpStep, is_follow_up
from domain.plans.plan import SLACK, Plan, Step, StepName, Wait
from domain.plans.post_purchase import PostPurchasePlan
from domain.plans.price_drop import PriceDropPlan
from domain.plans.welcome import WelcomePlan
from domain.plans.win_back import WinBackPlan

__all__ = [
    "PLANS",
    "PREFIX",
    "SLACK",
    "BackInStockPlan",
    "BrowseAbandonmentPlan",
    "CartRecoveryPlan",
    "DoubleOptInPlan",
    "FollowUpPlan",
    "FollowUpStep",
    "Plan",
    "PostPurchasePlan",
    "PriceDropPlan",
    "Step",
    "StepName",
    "Wait",
    "WelcomePlan",
    "WinBackPlan",
    "is_follow_up",
    "validated",
]

PLANS: dict[str, type[Plan]] = {
    "welcome": WelcomePlan,
    "cart-recovery": CartRecoveryPlan,
    "post-purchase": PostPurchasePlan,
    "win-back": WinBackPlan,
    "back-in-stock": BackInStockPlan,
    "browse-abandonment": BrowseAbandonmentPlan,
    "price-drop": PriceDropPlan,
    "double-opt-in": DoubleOptInPlan,
}
"""Every journey by name and the plan it takes; tests hold it against the registry of workflows.

A store's own follow-ups come on top: `follow-up/NAME`, each with a `FollowUpPlan`.
"""


def validated(journey: str, settings: dict[str, Any]) -> Plan:
    """Check a plan that a store wants to use; what it leaves out keeps its default.

    Args:
        journey: A name in `PLANS`, or `follow-up/NAME` with a name of the store's choice.
        settings: The plan as JSON data.

    Raises:
        InvalidPlan: Names the field and the rule that it breaks.
    """
    model = FollowUpPlan if is_follow_up(journey) else PLANS.get(journey)
    if model is None:
        known = f"{', '.join(PLANS)}, and {PREFIX}NAME (lower case, digits and hyphens) for a store's own"
        raise InvalidPlan("journey", f"there is no journey {journey!r}; there are {known}")
    try:
        return model.model_validate(settings)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise InvalidPlan(".".join(str(part) for part in first["loc"]) or "plan", first["msg"]) from problem
