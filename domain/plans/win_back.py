"""The plan of win-back."""

from datetime import timedelta

from pydantic import Field

from domain.facts import Topic
from domain.plans.plan import Plan, Step, Wait, step


class WinBackPlan(Plan):
    """Three mails to a customer who has been silent; the last one with a discount.

    Attributes:
        silence: No order for this long makes a customer lapsed.
    """

    gap: Wait = timedelta(hours=4)
    silence: Wait = timedelta(days=90)
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=20,
        default=(
            step("win-back-1", "win-back", 0, Topic.PROMOTIONS),
            step("win-back-2", "win-back-news", 7, Topic.PROMOTIONS),
            step("win-back-3", "win-back-discount", 7, Topic.PROMOTIONS, discount_code="COMEBACK15"),
        ),
    )

    @property
    def before_first(self) -> timedelta:
        return self.silence
