"""The plan of cart recovery."""

from datetime import timedelta

from pydantic import Field

from domain.facts import Topic
from domain.plans.plan import Plan, Step, Wait, step


class CartRecoveryPlan(Plan):
    """Up to three reminders for a cart that has been quiet.

    Attributes:
        quiet: No change for this long makes a cart abandoned.
        cool_down: Nobody enters again before this has passed since the journey's last message.
    """

    quiet: Wait = timedelta(hours=1)
    cool_down: Wait = timedelta(days=7)
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=20,
        default=(
            step("reminder-1", "cart-reminder", 0, Topic.ABANDONED_CART),
            step("reminder-2", "cart-reminder-2", 23 / 24, Topic.ABANDONED_CART),
            step("reminder-3", "cart-reminder-discount", 25 / 24, Topic.ABANDONED_CART, discount_code="CART10"),
        ),
    )

    @property
    def before_first(self) -> timedelta:
        return self.quiet
