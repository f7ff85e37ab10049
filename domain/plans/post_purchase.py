"""The plan of post-purchase."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from domain.facts import Topic
from domain.plans.plan import Plan, Step, Wait, step


class PostPurchasePlan(Plan):
    """Thanks at once, help after three days, related products after seven, a review request after fourteen.

    Attributes:
        next_order: What the next order does to a run under way: `restart` begins again for the new
            order, `ignore` leaves the run as it is.
    """

    gap: Wait = timedelta(hours=4)
    next_order: Literal["restart", "ignore"] = "restart"
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=20,
        default=(
            step("thank-you", "order-thank-you", 0, Topic.MARKETING, transactional=True),
            step("how-to", "order-how-to", 3, Topic.MARKETING),
            step("related", "order-related", 4, Topic.RECOMMENDATIONS),
            step("review", "order-review", 7, Topic.MARKETING),
        ),
    )
