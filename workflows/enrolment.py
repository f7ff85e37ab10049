"""Enrolment: from a fact and what is true now to what Temporal must do. Pure; the router carries it out."""

from datetime import datetime, timedelta

from temporalio import workflow

from domain import ids
from domain.commands import Command, NewRun, ReleaseStock, RestartRun, SignalRun, StartRun
from domain.facts import CartChanged, Fact, OrderPlaced, StockArrived, StockRequested
from domain.plans import BackInStockPlan, Plan
from domain.runs import Entry, RunState
from domain.snapshot import Snapshot
from workflows.journey import Journey
from workflows.registry import JOURNEYS


def commands(fact: Fact, state: Snapshot) -> list[Command]:
    """Decide which runs begin, begin again, or are told about a fact.

    Args:
        fact: Something new that has just been applied.
        state: What is true right after it.
    """
    if isinstance(fact, StockArrived):
        _, plan = state.plan("back-in-stock", BackInStockPlan)
        interval, ratio = plan.wave_interval, plan.wave_ratio
        return [ReleaseStock(product_id=fact.product_id, wave_interval=interval, wave_ratio=ratio)]
    return [command for journey in JOURNEYS for command in _of(journey, fact, state)]


def _of(journey: type[Journey], fact: Fact, state: Snapshot) -> list[Command]:
    version, plan = state.plan(journey.name, journey.plan)
    told: list[Command] = [
        SignalRun(run_id=run.run_id, workflow_id=run.workflow_id, fact=fact, ends=journey.ends.get(type(fact)))
        for run in state.open_runs
        if run.journey == journey.name and listens(journey, fact) and journey.concerns(fact, run, state)
    ]
    enters = plan.enabled and type(fact) in journey.entered_by and journey.begins(fact, state)
    if not enters or state.late(fact.at + plan.before_first, plan):
        return told
    product_id = fact.product_id if isinstance(fact, StockRequested) else None
    under_way = state.open_run(journey.name, product_id)
    if under_way is None:
        return [*told, StartRun(run=_new_run(journey, fact, state, version, plan, None))]
    ends = journey.restarts(under_way, plan)
    if ends is None:
        return told
    new = _new_run(journey, fact, state, version, plan, under_way)
    return [*told, RestartRun(run_id=under_way.run_id, ends=ends, run=new)]


def matters(fact: Fact) -> bool:
    """Tell whether any journey cares about a fact, before anything is read for it."""
    return isinstance(fact, StockArrived) or any(
        type(fact) in journey.entered_by or listens(journey, fact) for journey in JOURNEYS
    )


def listens(journey: type[Journey], fact: Fact) -> bool:
    """Tell whether a journey has a signal for a kind of fact."""
    return getattr(fact, "kind", None) in _SIGNALS[journey.name]


# The SDK has no public way to ask a workflow class for its signals.
_SIGNALS = {journey.name: frozenset(workflow._Definition.must_from_class(journey).signals) for journey in JOURNEYS}


def _new_run(
    journey: type[Journey], fact: Fact, state: Snapshot, version: int, plan: Plan, under_way: RunState | None
) -> NewRun:
    if state.customer_id is None:
        raise ValueError("a run belongs to a customer")
    product_id = fact.product_id if isinstance(fact, StockRequested) else None
    order_id = fact.order_id if isinstance(fact, OrderPlaced) else None
    # A run that was joined from another identity keeps its workflow id; its next passage must follow it there.
    workflow_id = (
        under_way.workflow_id
        if under_way is not None
        else ids.workflow_id(state.store_id, journey.name, state.customer_id, product_id)
    )
    run_id = ids.run_id(workflow_id, order_id or state.trigger)
    entry = Entry[Plan](
        store_id=state.store_id, customer_id=state.customer_id, run_id=run_id, plan_version=version, plan=plan,
        since=fact.at, product_id=product_id, order_id=order_id,
    )  # fmt: skip
    delay = _quiet(fact, plan, state.now)
    name = journey.name.replace("-", " ").capitalize()
    return NewRun(
        run_id=run_id, workflow_id=workflow_id, journey=journey.name, customer_id=state.customer_id, since=fact.at,
        product_id=product_id, order_id=order_id, plan_version=version, delay=delay,
        entry=entry.model_dump(mode="json") | {"plan": plan.model_dump(mode="json")},
        expires_at=state.now + plan.longest,
        summary=f"{name}, {len(plan.steps)} messages, plan {version}",
        details=_outlook(plan, state.now + delay, delay),
    )  # fmt: skip


def _quiet(fact: Fact, plan: Plan, now: datetime) -> timedelta:
    """How long Temporal holds the first task back: only a cart has to be quiet before anything is worth doing."""
    if not isinstance(fact, CartChanged):
        return timedelta(0)
    return max(fact.at + plan.before_first - now, timedelta(0))


def _outlook(plan: Plan, first: datetime, delay: timedelta) -> str:
    quiet = f"Waiting until {first:%Y-%m-%d %H:%M:%S} UTC for the cart to be quiet, then:\n\n" if delay else ""
    return quiet + "\n".join(f"- {step.name}: `{step.template}`, after {step.delay}" for step in plan.steps)
