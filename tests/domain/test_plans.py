"""Plans: every number can be changed, nothing else, and a mistake is named."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.caps import PRIORITY
from domain.errors import InvalidPlan
from domain.facts import Topic
from domain.plans import PLANS, SLACK, BackInStockPlan, Step, WelcomePlan, validated

JOURNEYS = list(PLANS)
FREE = [journey for journey in JOURNEYS if journey != "double-opt-in"]
"""Those whose messages may be transactional or not."""

waits = st.integers(0, 400 * 86_400).map(lambda seconds: timedelta(seconds=seconds))
steps = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True),
            "template": st.sampled_from(["welcome", "cart-reminder-2"]),
            "delay": waits,
        },
        optional={"transactional": st.booleans(), "discount_code": st.none() | st.text(max_size=40)},
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda step: step["name"],
)
plans = st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "gap": waits, "lateness": waits, "steps": steps})


@given(st.sampled_from(FREE), plans)
def test_a_plan_survives_json(journey, chosen):
    """A run carries its plan for months as JSON, and the store's row holds it."""
    plan = validated(journey, chosen)

    assert type(plan).model_validate_json(plan.model_dump_json()) == plan
    assert validated(journey, json.loads(json.dumps(plan.model_dump(mode="json")))) == plan


@pytest.mark.parametrize(
    ("journey", "moments"),
    [
        ("welcome", [timedelta(0), timedelta(days=2), timedelta(days=4)]),
        ("cart-recovery", [timedelta(0), timedelta(hours=23), timedelta(hours=48)]),
        ("post-purchase", [timedelta(days=days) for days in (0, 3, 7, 14)]),
        ("win-back", [timedelta(days=days) for days in (0, 7, 14)]),
        ("back-in-stock", [timedelta(0), timedelta(hours=24)]),
        ("browse-abandonment", [timedelta(0), timedelta(days=1)]),
        ("price-drop", [timedelta(0)]),
        ("double-opt-in", [timedelta(0)]),
    ],
)
def test_the_default_plans_are_those_of_the_design(journey, moments):
    """When each message goes out, counted from the first, to the second."""
    delays = [step.delay for step in validated(journey, {}).steps]

    assert [sum(delays[: n + 1], timedelta(0)) for n in range(len(delays))] == moments


def test_the_entry_waits_are_those_of_the_design():
    """One hour of quiet for a cart and two for a product, 90 days of silence, 180 days of patience."""
    before = {journey: validated(journey, {}).before_first for journey in JOURNEYS}

    assert before == {
        "welcome": timedelta(0),
        "cart-recovery": timedelta(hours=1),
        "post-purchase": timedelta(0),
        "win-back": timedelta(days=90),
        "back-in-stock": timedelta(days=180),
        "browse-abandonment": timedelta(hours=2),
        "price-drop": timedelta(0),
        "double-opt-in": timedelta(0),
    }


@given(st.sampled_from(FREE), plans)
def test_a_run_has_time_for_all_its_waits(journey, chosen):
    """A run's row must not count as closed while it is still waiting."""
    plan = validated(journey, chosen)

    assert plan.longest == plan.before_first + sum((step.delay + step.deadline for step in plan.steps), SLACK)
    assert [plan.ends_with(step.name) for step in plan.steps] == [False] * (len(plan.steps) - 1) + [True]


def test_a_run_that_waits_for_an_answer_is_not_over_with_its_last_message():
    """Else its row would be closed, and nobody would tell it of the answer."""
    plan = validated("double-opt-in", {"patience": "P30D", "steps": [{"name": "ask", "template": "double-opt-in"}]})

    assert plan.longest >= timedelta(days=30) + SLACK
    assert not plan.ends_with("ask")


def test_double_opt_in_is_off_until_a_store_switches_it_on():
    """Consent that a store has is not put in question by an update of ours."""
    assert [journey for journey in JOURNEYS if not validated(journey, {}).enabled] == ["double-opt-in"]


@pytest.mark.parametrize(
    ("journey", "settings", "field"),
    [
        ("cart-recovery", {"quiet": "soon"}, "quiet"),
        ("cart-recovery", {"quiet": "-PT1H"}, "quiet"),
        ("cart-recovery", {"quiet": "P401D"}, "quiet"),
        ("cart-recovery", {"quite": "PT1H"}, "quite"),
        ("welcome", {"steps": []}, "steps"),
        ("welcome", {"steps": [{"name": "Welcome 1", "template": "welcome"}]}, "steps.0.name"),
        ("welcome", {"steps": [{"name": "a", "template": "../secrets"}]}, "steps.0.template"),
        ("welcome", {"steps": [{"name": "a", "template": "b", "dealy": "P1D"}]}, "steps.0.dealy"),
        ("welcome", {"steps": [{"name": "a", "template": "b", "topic": "spam"}]}, "steps.0.topic"),
        ("welcome", {"steps": [{"name": "a", "template": "b"}] * 2}, "plan"),
        ("post-purchase", {"next_order": "sometimes"}, "next_order"),
        ("back-in-stock", {"wave_ratio": 0}, "wave_ratio"),
        ("back-in-stock", {"wave_ratio": float("nan")}, "wave_ratio"),
        ("win-back", [], "plan"),
        ("double-opt-in", {"patience": "PT0S"}, "patience"),
        ("double-opt-in", {"steps": [{"name": "a", "template": "b", "transactional": False}]}, "steps.0.transactional"),
        ("birthday", {}, "journey"),
    ],
)
def test_a_mistake_in_a_plan_is_named_by_its_field(journey, settings, field):
    """Misspelt fields are refused too: a typo must not leave the default in force unnoticed."""
    with pytest.raises(InvalidPlan) as problem:
        validated(journey, settings)

    assert problem.value.field == field
    assert problem.value.message


@given(st.sampled_from(Topic), st.sampled_from(Topic), st.none() | st.integers(1, 5))
def test_how_urgent_a_message_is_goes_by_its_topic_and_a_run_by_its_most_urgent_step(first, second, priority):
    """A store that gives its newsletters priority 1 moves them ahead of its own mails, not of other stores'."""
    one = Step(name="a", template="a", topic=first, priority=priority)
    other = Step(name="b", template="b", topic=second)

    assert one.urgency == PRIORITY[first]
    assert WelcomePlan(steps=(one, other)).urgency == min(PRIORITY[first], PRIORITY[second])
    assert one.model_copy(update={"transactional": True}).urgency == PRIORITY[Topic.ABANDONED_CART]


def test_what_a_plan_leaves_out_keeps_its_default():
    """A store states only what it wants otherwise; durations are ISO 8601."""
    plan = validated("back-in-stock", {"patience": "P30D"})

    assert plan == BackInStockPlan(patience=timedelta(days=30))
    assert plan.model_dump(mode="json")["patience"] == "P30D"
