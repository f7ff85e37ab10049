"""The plan of welcome."""

from datetime import timedelta

from pydantic import Field

from domain.facts import Topic
from domain.plans.plan import Plan, Step, Wait, step


class WelcomePlan(Plan):
    """Three mails for someone new: now, two days later, two days after that."""

    gap: Wait = timedelta(hours=4)
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=20,
        default=(
            step("welcome-1", "welcome", 0, Topic.NEWSLETTER),
            step("welcome-2", "welcome-best-sellers", 2, Topic.NEWSLETTER),
            step("welcome-3", "welcome-stories", 2, Topic.NEWSLETTER),
        ),
    )
