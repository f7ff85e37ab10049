"""The plan of back in stock."""

from datetime import timedelta

from pydantic import Field

from domain.facts import Topic
from domain.plans.plan import Plan, Step, Wait, step


class BackInStockPlan(Plan):
    """An alert when the product is back, and one follow-up while it still is.

    Attributes:
        patience: How long a customer waits for the restock.
        wave_ratio: Customers told per unit in stock and wave.
        wave_interval: Pause between two waves; stock is read again before each.
    """

    by_time = False

    gap: Wait = timedelta(minutes=15)
    patience: Wait = timedelta(days=180)
    wave_ratio: float = Field(default=3.0, gt=0, le=1_000)
    wave_interval: Wait = timedelta(minutes=10)
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=2,
        default=(
            step("alert", "back-in-stock", 0, Topic.BACK_IN_STOCK),
            step("follow-up", "back-in-stock-follow-up", 1, Topic.BACK_IN_STOCK),
        ),
    )

    @property
    def before_first(self) -> timedelta:
        return self.patience
