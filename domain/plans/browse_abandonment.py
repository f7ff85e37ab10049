"""The plan of browse abandonment."""

from datetime import timedelta

from pydantic import Field

from domain.facts import Topic
from domain.plans.plan import Plan, Step, Wait, step


class BrowseAbandonmentPlan(Plan):
    """Two mails to a customer who looked at the same product again and again, and put nothing into a cart.

    Attributes:
        views: So many looks at one product show interest.
        window: The looks lie within this time; those before the last order or touch of the cart do not count.
        quiet: Nothing is sent before the customer has not looked at the product for this long.
        cool_down: Nobody enters again before this has passed since the journey's last message.
    """

    gap: Wait = timedelta(hours=4)
    views: int = Field(default=3, ge=1, le=100)
    window: Wait = timedelta(days=7)
    quiet: Wait = timedelta(hours=2)
    cool_down: Wait = timedelta(days=14)
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=20,
        default=(
            step("browse-1", "browse-abandonment", 0, Topic.BROWSE_ABANDONMENT),
            step("browse-2", "browse-abandonment-2", 1, Topic.BROWSE_ABANDONMENT),
        ),
    )

    @property
    def before_first(self) -> timedelta:
        return self.quiet
