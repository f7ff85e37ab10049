"""The plan of price drop."""

from datetime import timedelta

from pydantic import Field

from domain.facts import Topic
from domain.plans.plan import Plan, Step, Wait, step


class PriceDropPlan(Plan):
    """One alert when a watched product costs less than the customer saw.

    Attributes:
        percent: How far the price must fall for a customer who named neither a target price nor a percentage.
    """

    gap: Wait = timedelta(hours=1)
    percent: int = Field(default=5, ge=1, le=99)
    steps: tuple[Step, ...] = Field(
        min_length=1, max_length=20, default=(step("alert", "price-drop", 0, Topic.PRICE_DROP),)
    )
