"""The registry, the plans, the templates and the signals belong together; a journey that forgets one is caught here."""

from pathlib import Path

import pytest
from temporalio import workflow

import templates
from domain.facts import Fact
from domain.plans import PLANS, FollowUpPlan, Plan
from workflows.enrolment import listens, matters
from workflows.journey import Journey
from workflows.registry import JOURNEYS

FACTS = {kind.model_fields["kind"].default: kind for kind in Fact.__subclasses__()}


def test_every_plan_has_its_journey() -> None:
    """PLANS (what a store can set) and JOURNEYS (what runs) are the same list, but for what has no default."""
    assert {journey.name: journey.plan for journey in JOURNEYS} == PLANS | {"follow-up": FollowUpPlan}


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.name)
def test_a_journey_is_at_most_sixty_lines_and_named_like_its_workflow(journey: type[Journey]) -> None:
    """An engineer reads a journey in one look."""
    source = Path(journey.__module__.replace(".", "/") + ".py")
    definition = workflow._Definition.must_from_class(journey)

    assert len((Path(__file__).parents[2] / source).read_text().splitlines()) <= 60
    assert definition.name == journey.name


@pytest.mark.parametrize("module", ["journey", "waits", "operated", "passage", "sending"])
def test_the_base_is_at_most_150_lines_a_module(module: str) -> None:
    """What every journey shares stays small."""
    base = Path(__file__).parents[2] / "workflows" / f"{module}.py"

    assert len(base.read_text().splitlines()) <= 150


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.name)
def test_every_exit_has_a_signal_and_every_signal_is_a_fact(journey: type[Journey]) -> None:
    """The router signals by the kind of the fact; a name that matches nothing would never arrive."""
    signals = set(workflow._Definition.must_from_class(journey).signals) - {"restarted", "joined", "ended", "resumed"}
    exits = {fact.model_fields["kind"].default for fact in journey.ends}

    assert exits <= signals
    assert signals <= set(FACTS)


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.name)
def test_every_signal_says_what_it_means(journey: type[Journey]) -> None:
    """The Temporal UI shows the description."""
    signals = workflow._Definition.must_from_class(journey).signals.values()

    assert all(signal.description for signal in signals)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_default_step_has_its_template(plan: type[Plan]) -> None:
    """A plan that names no folder would fail at the first customer."""
    root = Path(templates.__path__[0])
    missing = [step.template for step in plan.model_validate({}).steps if not (root / step.template).is_dir()]

    assert missing == []


def test_only_facts_that_a_journey_cares_about_cost_a_look() -> None:
    """Events no journey cares about never touch Temporal."""
    cared_for = {kind for kind, model in FACTS.items() if matters(model.model_construct(kind=kind))}

    assert cared_for == {
        "signed_up", "newsletter_subscribed", "cart_changed", "cart_emptied", "order_placed", "order_refunded",
        "order_cancelled", "stock_requested", "stock_arrived", "stock_released", "product_withdrawn", "event_heard",
        "interest_shown", "price_dropped", "price_rose", "consent_pending", "consent_confirmed", "consent_withdrawn",
        "marketing_resumed",
    }  # fmt: skip
    view = FACTS["product_viewed"].model_construct(kind="product_viewed")
    assert not any(listens(journey, view) for journey in JOURNEYS)
