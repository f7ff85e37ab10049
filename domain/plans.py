"""Plans: a journey's settings for one store. Every number a store can change stands here, typed and bounded.

Defaults are the table "Default plans" of the design; their sources are in docs/adr/0009-default-timings.md.
Durations are ISO 8601 in JSON (`"PT1H"`, `"P2D"`).
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from domain.errors import InvalidPlan
from domain.facts import Topic
from domain.values import Value

Wait = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=400))]
SLACK = timedelta(days=7)
"""How much longer than its waits a run may take (deferred sends, a provider that is down)."""


class Step(Value):
    """One message slot of a journey.

    Attributes:
        name: Unique in the journey; part of the dedup key, so renaming a step is a new message.
        template: Folder under `templates/`.
        delay: Wait after the previous slot (the first: after the journey's own entry wait).
        transactional: The store declares this message transactional: it needs no consent, has no
            unsubscribe link and is not counted as marketing.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    template: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")
    delay: Wait = timedelta(0)
    topic: Topic = Topic.MARKETING
    transactional: bool = False
    discount_code: str | None = Field(default=None, max_length=40)


class Plan(Value):
    """What every journey's plan has.

    Attributes:
        enabled: False: nobody new enters; runs under way go on.
        gap: At least this long after a marketing message of *another* journey; a message that comes
            sooner waits. The spacing inside the journey is what `steps` says.
        lateness: An entry event that reaches us later than this starts nothing (imports of old data).
    """

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    steps: tuple[Step, ...] = Field(min_length=1, max_length=20)
    gap: Wait = timedelta(0)
    lateness: Wait = timedelta(days=7)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("step names must be different from each other")
        return self

    @property
    def before_first(self) -> timedelta:
        """How long the journey itself waits before its first slot."""
        return timedelta(0)

    @property
    def longest(self) -> timedelta:
        """How long a run can be under way; after that its row counts as closed."""
        return self.before_first + sum((step.delay for step in self.steps), timedelta(0)) + SLACK


def _step(name: str, template: str, days: float, topic: Topic, **more: Any) -> Step:
    return Step(name=name, template=template, delay=timedelta(days=days), topic=topic, **more)


class WelcomePlan(Plan):
    """Three mails for someone new: now, two days later, two days after that."""

    gap: Wait = timedelta(hours=4)
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=20,
        default=(
            _step("welcome-1", "welcome", 0, Topic.NEWSLETTER),
            _step("welcome-2", "welcome-best-sellers", 2, Topic.NEWSLETTER),
            _step("welcome-3", "welcome-stories", 2, Topic.NEWSLETTER),
        ),
    )


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
            _step("reminder-1", "cart-reminder", 0, Topic.ABANDONED_CART),
            _step("reminder-2", "cart-reminder-2", 23 / 24, Topic.ABANDONED_CART),
            _step("reminder-3", "cart-reminder-discount", 25 / 24, Topic.ABANDONED_CART, discount_code="CART10"),
        ),
    )

    @property
    def before_first(self) -> timedelta:
        return self.quiet


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
            _step("thank-you", "order-thank-you", 0, Topic.MARKETING, transactional=True),
            _step("how-to", "order-how-to", 3, Topic.MARKETING),
            _step("related", "order-related", 4, Topic.RECOMMENDATIONS),
            _step("review", "order-review", 7, Topic.MARKETING),
        ),
    )


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
            _step("win-back-1", "win-back", 0, Topic.PROMOTIONS),
            _step("win-back-2", "win-back-news", 7, Topic.PROMOTIONS),
            _step("win-back-3", "win-back-discount", 7, Topic.PROMOTIONS, discount_code="COMEBACK15"),
        ),
    )

    @property
    def before_first(self) -> timedelta:
        return self.silence


class BackInStockPlan(Plan):
    """An alert when the product is back, and one follow-up while it still is.

    Attributes:
        patience: How long a customer waits for the restock.
        wave_ratio: Customers told per unit in stock and wave.
        wave_interval: Pause between two waves; stock is read again before each.
    """

    patience: Wait = timedelta(days=180)
    wave_ratio: float = Field(default=3.0, gt=0, le=1_000)
    wave_interval: Wait = timedelta(minutes=10)
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=2,
        default=(
            _step("alert", "back-in-stock", 0, Topic.BACK_IN_STOCK),
            _step("follow-up", "back-in-stock-follow-up", 1, Topic.BACK_IN_STOCK),
        ),
    )

    @property
    def before_first(self) -> timedelta:
        return self.patience


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
