"""Delivery: what a step asks for and what became of it."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.bounces import Kind as BounceKind
from domain.plans import Step
from domain.runs import Outcome
from domain.values import UtcTime, Value


class Result(StrEnum):
    """What became of a message. Everything but `deferred` and `paused` is final for its step."""

    SENT = "sent"
    DUPLICATE = "duplicate"
    EXITED = "exited"
    NO_CONSENT = "no_consent"
    SUPPRESSED = "suppressed"
    CAPPED = "capped"
    QUIET = "quiet"
    DROPPED = "dropped"
    STALE = "stale"
    UNREACHABLE = "unreachable"
    BOUNCED = "bounced"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DEFERRED = "deferred"
    PAUSED = "paused"


class Rule(StrEnum):
    """What decided about a message: the word that decision records, statistics and `why` share."""

    RUN_ENDED = "run_ended"
    JOURNEY_PAUSED = "journey_paused"
    CONDITION = "condition"
    NO_ADDRESS = "no_address"
    SUPPRESSED = "suppressed"
    UNSUBSCRIBED = "unsubscribed"
    NO_CONSENT = "no_consent"
    MARKETING_PAUSED = "marketing_paused"
    SPACING = "spacing"
    CAP = "cap"
    QUIET_HOURS = "quiet_hours"
    DISCOUNT = "discount"
    TRANSACTIONAL = "transactional"
    CONSENT = "consent"
    SETTLED_BEFORE = "settled_before"
    TEMPLATE = "template"
    PROVIDER = "provider"


class CartQuiet(Value):
    """The cart holds something and nobody has touched it for `quiet`."""

    kind: Literal["cart_quiet"] = "cart_quiet"
    quiet: timedelta


class InStock(Value):
    """The product can be bought now."""

    kind: Literal["in_stock"] = "in_stock"
    product_id: str


class OrderStands(Value):
    """The order has not been refunded or cancelled."""

    kind: Literal["order_stands"] = "order_stands"
    order_id: str


class Undecided(Value):
    """The customer has nothing in the cart, and has not looked at the product for `quiet`; it can be bought."""

    kind: Literal["undecided"] = "undecided"
    product_id: str
    quiet: timedelta


class PriceLow(Value):
    """The product can be bought for no more than the customer, who watches it, wants to hear of.

    Attributes:
        percent: How far it must fall for a customer who did not say.
    """

    kind: Literal["price_low"] = "price_low"
    product_id: str
    percent: int


class Unconfirmed(Value):
    """The customer has agreed to something that counts only once it is confirmed, and may still confirm it.

    Attributes:
        by: Until when.
        again: No address is asked twice within this time, whoever types it into a form.
    """

    kind: Literal["unconfirmed"] = "unconfirmed"
    by: UtcTime
    again: timedelta


Condition = Annotated[
    CartQuiet | InStock | OrderStands | Undecided | PriceLow | Unconfirmed, Field(discriminator="kind")
]


class Slot(Value):
    """A step of a run asking to send its message: the input of the `deliver` activity.

    Attributes:
        due: When the step came due by its plan, or when it was put off to; the business time that it is about.
        waited_from: When the wait began that ended then; a pause in between may push the message on.
        requires: What must be true at the moment of sending, on top of the rules for every message.
        plan_version: The version of the plan that the run has now.
        ask: How often the run has asked, this time included; an attempt that is repeated is the same ask.
        last: No step follows, so a final result closes the run.
        again_if_stale: The run will ask again if the message is stale now, so that does not close it.
    """

    store_id: str
    customer_id: UUID
    run_id: UUID
    journey: str
    step: Step
    gap: timedelta
    due: UtcTime
    waited_from: UtcTime
    plan_version: int | None = None
    ask: int = 1
    requires: tuple[Condition, ...] = ()
    product_id: str | None = None
    order_id: str | None = None
    last: bool = False
    again_if_stale: bool = False


class Delivery(Value):
    """What became of a slot: the result of the `deliver` activity.

    Attributes:
        at: When it was decided; the next step is counted from here. A step dropped for a pause counts from when it
            came due.
        rule: What decided.
        until: With `deferred`: when to ask again.
        because: The rule that decided, in a few words, without personal data.
        outcome: With `exited`: how the run ended.
        bounce: With `bounced`: what that means for the address.
    """

    result: Result
    rule: Rule | None = None
    because: str = ""
    at: UtcTime | None = None
    until: UtcTime | None = None
    outcome: Outcome | None = None
    bounce: BounceKind | None = None

    @property
    def final(self) -> bool:
        """Whether the slot asks no more."""
        return self.result not in {Result.DEFERRED, Result.PAUSED}
