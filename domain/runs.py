"""Runs: one customer's passage through one journey, and how it can end."""

from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID

from domain.plans import Plan
from domain.values import UtcTime, Value

PlanT = TypeVar("PlanT", bound=Plan)


class Outcome(StrEnum):
    """How a run ended; also the search attribute `JourneyOutcome`."""

    RUNNING = "running"
    COMPLETED = "completed"
    CONVERTED = "converted"
    CART_EMPTIED = "cart_emptied"
    CART_FILLED = "cart_filled"
    REFUNDED = "refunded"
    RESTARTED = "restarted"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    PRICE_ROSE = "price_rose"
    CONFIRMED = "confirmed"
    MERGED = "merged"
    LEFT = "left"
    TERMINATED = "terminated"


class PutOff(Value):
    """Where a run stands whose step was put off so often that it goes on with an empty history.

    Attributes:
        due: When the step asks again.
        waited_from: When that wait began.
        done: The steps before it; the last of them was decided at `settled_at`.
        asks: How often the run has asked.
    """

    step: str
    due: UtcTime
    waited_from: UtcTime
    done: frozenset[str] = frozenset()
    settled_at: UtcTime | None = None
    asks: int


class Entry(Value, Generic[PlanT]):
    """What a journey is started with: ids only, and the plan that stays with the run (G6, G8).

    Attributes:
        journey: The journey as Postgres names it; a follow-up's has two parts.
        since: When the event happened that began the run.
        timezone: The store's, IANA; only what people read is told in it.
        begun_at: When the router decided that it begins; later than `since` if the event came late.
        put_off: What the run has done before, if it goes on here.
        at_once: Whether its messages are attempted within the workflow's own task first (`workflows.sending`).
    """

    store_id: str
    journey: str
    customer_id: UUID
    run_id: UUID
    plan_version: int
    plan: PlanT
    since: UtcTime
    begun_at: UtcTime
    timezone: str = "UTC"
    product_id: str | None = None
    order_id: str | None = None
    put_off: PutOff | None = None
    at_once: bool = False


class RunState(Value):
    """A run as Postgres knows it.

    Attributes:
        exits: Names of events that end it, where its plan says so and not its journey.
        sent: How many messages it has sent.
    """

    run_id: UUID
    workflow_id: str
    journey: str
    customer_id: UUID
    since: UtcTime
    product_id: str | None = None
    order_id: str | None = None
    exits: tuple[str, ...] = ()
    sent: int = 0
