"""The snapshot that the enrolment rules see: a customer (or a product) right after a fact was applied."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import TypeVar
from uuid import UUID

from pydantic import Field

from domain.cart import Cart
from domain.plans import Plan
from domain.runs import RunState
from domain.values import UtcTime, Value

PlanT = TypeVar("PlanT", bound=Plan)


class PinnedPlan(Value):
    """A store's plan for a journey and its version (0: the default)."""

    journey: str
    version: int = 0
    plan: Plan


class Snapshot(Value):
    """What is true in a store for one customer.

    Attributes:
        timezone: The store's, IANA.
        trigger: Names the event being applied; part of the id of any run that it begins.
        orders: How many orders the customer has ever placed that stand.
        last_order_at: The newest of them.
        last_purchase_at: The newest order of all, also one that was given back.
        open_runs: Runs under way.
        begun: Journeys that the customer has ever entered.
        unconfirmed: The store asks for a confirmation before mail as such is wanted, and none has been given.
        last_sent: When each journey last sent this customer a message.
        plans: The store's plans by journey; a journey without one uses its default.
    """

    store_id: str
    now: UtcTime
    trigger: str
    timezone: str = "UTC"
    customer_id: UUID | None = None
    cart: Cart = Cart()
    orders: int = 0
    last_order_at: UtcTime | None = None
    last_purchase_at: UtcTime | None = None
    unconfirmed: bool = False
    open_runs: tuple[RunState, ...] = ()
    begun: frozenset[str] = frozenset()
    last_sent: dict[str, UtcTime] = Field(default_factory=dict)
    plans: dict[str, PinnedPlan] = Field(default_factory=dict)

    def pinned(self, journey: str, model: type[Plan]) -> PinnedPlan:
        """Return the version and the plan that a run beginning now takes."""
        return _pinned(self.plans, journey, model)

    def plan(self, journey: str, model: type[PlanT]) -> PlanT:
        """Return the plan that a run beginning now takes."""
        return offered(self.plans, journey, model)

    def open_run(self, journey: str, product_id: str | None = None) -> RunState | None:
        """Return the customer's run under way in a journey (about a product, if one is given), if there is one."""
        for run in self.open_runs:
            if run.journey == journey and product_id in (None, run.product_id):
                return run
        return None

    def rested(self, journey: str, pause: timedelta | None) -> bool:
        """Tell whether a journey last wrote to the customer so long ago (None: never let anybody in twice)."""
        if pause is None:
            return journey not in self.begun
        last = self.last_sent.get(journey)
        return last is None or last + pause <= self.now

    def late(self, at: datetime, plan: Plan) -> bool:
        """Tell whether an event reached us too late to start anything."""
        return self.now - at > plan.lateness


def offered(plans: Mapping[str, PinnedPlan], journey: str, model: type[PlanT]) -> PlanT:
    """Return the plan that a store's plans give a journey: its own, or the default."""
    plan = _pinned(plans, journey, model).plan
    if not isinstance(plan, model):
        raise TypeError(f"the plan of {journey} is a {type(plan).__name__}, not a {model.__name__}")
    return plan


def _pinned(plans: Mapping[str, PinnedPlan], journey: str, model: type[Plan]) -> PinnedPlan:
    return plans.get(journey) or _default(journey, model)


@cache
def _default(journey: str, model: type[Plan]) -> PinnedPlan:
    return PinnedPlan(journey=journey, plan=model.model_validate({}))
