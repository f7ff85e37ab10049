"""Enrolment: from a fact and what is true now to what Temporal must do. Pure; the router carries it out."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from temporalio import workflow

from domain import ids
from domain.commands import Command, NewRun, ReleaseStock, RestartRun, SignalRun, StartRun
from domain.facts import EventHeard, Fact, OrderPlaced, StockArrived
from domain.plans import BackInStockPlan, Plan
from domain.runs import Entry, RunState
from domain.snapshot import PinnedPlan, Snapshot
from workflows import caption
from workflows.journey import Journey
from workflows.registry import JOURNEYS

# Made once: pydantic forgets a parametrised model that nobody holds, and builds it again for every run.
_ENTRY = Entry[Plan]


def commands(fact: Fact, state: Snapshot) -> list[Command]:
    """Decide which runs begin, begin again, or are told about a fact.

    Args:
        fact: Something new that has just been applied.
        state: What is true right after it.
    """
    if isinstance(fact, StockArrived):
        plan = state.plan("back-in-stock", BackInStockPlan)
        interval, ratio = plan.wave_interval, plan.wave_ratio
        return [ReleaseStock(product_id=fact.product_id, wave_interval=interval, wave_ratio=ratio)]
    return [
        command
        for journey in JOURNEYS
        for offer in journey.offered(state)
        for command in [*_told(journey, offer, fact, state), *_entered(journey, offer, fact, state)]
    ]


def _told(journey: type[Journey[Any]], offer: PinnedPlan, fact: Fact, state: Snapshot) -> list[Command]:
    """Tell the runs under way that the fact is about."""
    return [
        SignalRun(run_id=run.run_id, workflow_id=run.workflow_id, fact=fact, ends=journey.ends.get(type(fact)))
        for run in state.open_runs
        if run.journey == offer.journey and listens(journey, fact) and journey.concerns(fact, run, state)
    ]


def _entered(journey: type[Journey[Any]], offer: PinnedPlan, fact: Fact, state: Snapshot) -> list[Command]:
    """Begin a run, or begin it again, if the fact makes the customer enter."""
    plan = offer.plan
    enters = plan.enabled and type(fact) in journey.entered_by and journey.begins(fact, state, offer)
    if not enters or state.late(fact.at + plan.before_first, plan):
        return []
    under_way = state.open_run(offer.journey, _product(fact) if journey.one_per_product else None)
    if under_way is None:
        return [StartRun(run=_new_run(journey, fact, state, offer, None))]
    ends = journey.restarts(under_way, plan)
    if ends is None:
        return []
    return [RestartRun(run_id=under_way.run_id, ends=ends, run=_new_run(journey, fact, state, offer, under_way))]


def place(run: RunState) -> tuple[str, str | None]:
    """Return what a customer can have one run of: a journey, or a journey about a product."""
    return run.journey, run.product_id if run.journey in _ABOUT_PRODUCTS else None


def _product(fact: Fact) -> str | None:
    """Return the product that a fact is about; most are about none."""
    return getattr(fact, "product_id", None)


def matters(fact: Fact) -> bool:
    """Tell whether any journey cares about a fact, before anything is read for it."""
    return isinstance(fact, StockArrived) or any(
        type(fact) in journey.entered_by or listens(journey, fact) for journey in JOURNEYS
    )


def listens(journey: type[Journey[Any]], fact: Fact) -> bool:
    """Tell whether a journey has a signal for a kind of fact."""
    return getattr(fact, "kind", None) in _SIGNALS[journey.name]


_ABOUT_PRODUCTS = frozenset(journey.name for journey in JOURNEYS if journey.one_per_product)
# The SDK has no public way to ask a workflow class for its signals.
_SIGNALS = {journey.name: frozenset(workflow._Definition.must_from_class(journey).signals) for journey in JOURNEYS}


def _new_run(
    journey: type[Journey[Any]], fact: Fact, state: Snapshot, offer: PinnedPlan, under_way: RunState | None
) -> NewRun:
    if state.customer_id is None:
        raise ValueError("a run belongs to a customer")
    plan, product_id = offer.plan, _product(fact)
    order_id = fact.order_id if isinstance(fact, OrderPlaced | EventHeard) else None
    # A run that was joined from another identity keeps its workflow id; its next passage must follow it there.
    workflow_id = (
        under_way.workflow_id
        if under_way is not None
        else ids.workflow_id(
            state.store_id, offer.journey, state.customer_id, product_id if journey.one_per_product else None
        )
    )
    # An order begins once, by whatever event; any other event begins for itself.
    trigger = str(fact.event_id) if isinstance(fact, EventHeard) else state.trigger
    run_id = ids.run_id(workflow_id, fact.order_id if isinstance(fact, OrderPlaced) else trigger)
    entry = _ENTRY(
        store_id=state.store_id, journey=offer.journey, customer_id=state.customer_id, run_id=run_id,
        plan_version=offer.version, plan=plan, since=fact.at, begun_at=state.now, timezone=state.timezone,
        product_id=product_id, order_id=order_id, at_once=True,
    )  # fmt: skip
    delay = max(fact.at + journey.hold(fact, plan) - state.now, timedelta(0))
    return NewRun(
        run_id=run_id, workflow_id=workflow_id, workflow=journey.name, journey=offer.journey,
        customer_id=state.customer_id, since=fact.at, product_id=product_id, order_id=order_id,
        plan_version=offer.version, delay=delay,
        entry=entry.model_dump(mode="json") | {"plan": plan.model_dump(mode="json")},
        expires_at=state.now + plan.longest, trigger_event=UUID(trigger), began_by=fact.label,
        exits=plan.ending_events, urgency=plan.urgency,
        summary=caption.summary(offer.journey, plan, offer.version),
        details=caption.outlook(plan, state.now + delay if delay else None, state.timezone),
    )  # fmt: skip
