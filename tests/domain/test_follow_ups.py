"""Follow-ups as data: conditions that any event can be judged by, and mistakes that are named."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decoding.fields import Fields
from domain.decoding.subject import subject
from domain.errors import InvalidPlan
from domain.follow_ups import CountIs, NoneIs, PropertyIs
from domain.plans import FollowUpPlan, validated
from domain.vocabulary import ALIASES, CATALOGUE, known_as
from tests import follow_ups
from tests.domain.told import event

STEP = {"name": "only", "template": "related-services", "delay": "P1D", "topic": "promotional_emails"}
MINIMAL = {"event": "service_completed", "steps": [STEP]}

jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
numbers = st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9)
plain = numbers | st.booleans() | st.text(min_size=1, max_size=20)


def when(op, value=None, name="size"):
    return PropertyIs(name=name, op=op, value=value)


@given(st.sampled_from(["=", "!=", ">", "<", "in", "exists"]), numbers, jsons)
def test_a_condition_judges_any_json(op, value, said):
    """An event's properties are whatever a client sent; a condition never fails on them."""
    condition = when(op, [value] if op == "in" else None if op == "exists" else value)

    assert condition.holds(Fields({"size": said})) in (True, False)


@given(plain, jsons)
def test_not_equal_is_the_opposite_of_equal(value, said):
    """Also for what is missing or malformed: that equals nothing."""
    fields = Fields({"size": said})

    assert when("=", value).holds(fields) is not when("!=", value).holds(fields)


@given(numbers, numbers)
def test_numbers_compare_as_numbers_however_they_are_sent(said, limit):
    """`"18.99"` is the number; exactly one of <, = and > holds."""
    for sent in (said, repr(said)):
        holds = [op for op in ("<", "=", ">") if when(op, limit).holds(Fields({"size": sent}))]
        assert holds == ["<" if said < limit else ">" if said > limit else "="]


@given(st.lists(plain, min_size=1, max_size=4), jsons)
def test_in_is_any_equal(values, said):
    """A list is a choice."""
    fields = Fields({"size": said})

    assert when("in", values).holds(fields) == any(when("=", value).holds(fields) for value in values)


@pytest.mark.parametrize(
    ("op", "value", "properties", "holds"),
    [
        ("=", "Spa", {"size": " spa "}, True),
        ("=", "5", {"size": 5}, True),
        ("=", 1, {"size": True}, False),
        ("=", True, {"size": "yes"}, True),
        ("=", "x", {}, False),
        ("=", "", {}, False),
        ("!=", "x", {}, True),
        (">", 0, {"size": "many"}, False),
        ("exists", None, {"Size": 0}, True),
        ("exists", None, {"size": None}, False),
        ("exists", False, {"size": None}, True),
        ("exists", False, {"size": "x"}, False),
    ],
)
def test_a_property_compares_as_a_person_would(op, value, properties, holds):
    """Case and spaces make no difference; a text is not a number unless it reads like one."""
    assert when(op, value).holds(Fields(properties)) is holds


def test_a_property_may_stand_inside_an_object():
    """In any spelling, like every field."""
    assert when("=", "spa", "service.serviceCategory").holds(Fields({"Service": {"service_category": "spa"}}))


@given(st.integers(0, 1000), st.integers(0, 2000))
def test_more_than_does_not_count_the_number_itself(limit, times):
    """More than ten is eleven."""
    assert CountIs(event="page", more_than=limit, within=timedelta(days=1)).holds(times) == (times >= limit + 1)
    assert NoneIs(event="page").holds(times) == (times == 0)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "event"),
        ({"event": "!?"}, "event"),
        ({"event": "Product Restocked"}, "event"),
        ({"event": 7}, "event"),
        ({"event": "x", "when": "y"}, "when"),
        ({"event": "x", "steps": []}, "steps"),
        ({"event": "x", "steps": [{"name": "a", "template": "b"}]}, "steps.0.topic"),
        ({"event": "x", "steps": [STEP | {"delay": "soon"}]}, "steps.0.delay"),
        ({"event": "x", "exits": ["X"]}, "exits"),
        ({"event": "x", "exits": ["price dropped"]}, "exits.0"),
        ({"event": "x", "again": "P500D"}, "again"),
        ({"event": "x", "conditions": [{"kind": "python", "code": "1"}]}, "conditions.0"),
        ({"event": "x", "conditions": [{"kind": "none", "event": "X"}]}, "conditions"),
        ({"event": "x", "conditions": [{"kind": "count", "event": "x", "more_than": 1}]}, "conditions.0.count.within"),
        (
            {"event": "x", "conditions": [{"kind": "count", "event": "x", "more_than": -1, "within": "P1D"}]},
            "conditions.0.count.more_than",
        ),
        (
            {"event": "x", "conditions": [{"kind": "count", "event": "x", "more_than": 1, "within": "P91D"}]},
            "conditions.0.count.within",
        ),
        ({"event": "x", "conditions": [{"kind": "property", "name": "a", "op": "~"}]}, "conditions.0.property.op"),
        *(
            ({"event": "x", "conditions": [{"kind": "property", "name": "a", **wrong}]}, "conditions.0.property")
            for wrong in (
                {"op": "=", "value": ["a"]},
                {"op": "=", "value": None},
                {"op": ">", "value": "10"},
                {"op": ">", "value": True},
                {"op": "in", "value": "a"},
                {"op": "in", "value": []},
                {"op": "exists", "value": "yes"},
            )
        ),
    ],
)
def test_a_mistake_in_a_follow_up_is_named_by_its_field(settings, field):
    """With the rule it breaks, before anything is stored."""
    with pytest.raises(InvalidPlan) as problem:
        validated("follow-up/mine", {"steps": [STEP]} | settings)

    assert problem.value.field == field
    assert problem.value.message


@pytest.mark.parametrize("journey", ["follow-up", "follow-up/", "follow-up/Mine", "follow-up/a/b", "follow-up/a b"])
def test_a_follow_up_needs_a_plain_name(journey):
    """It becomes part of workflow ids."""
    with pytest.raises(InvalidPlan, match="follow-up/NAME"):
        validated(journey, MINIMAL)


@pytest.mark.parametrize("journey", follow_ups.EXAMPLES)
def test_a_documented_follow_up_survives_json(journey):
    """A run carries its plan for months as JSON, and the store's row holds it."""
    plan = validated(journey, follow_ups.EXAMPLES[journey])

    assert FollowUpPlan.model_validate_json(plan.model_dump_json()) == plan
    assert validated(journey, json.loads(json.dumps(plan.model_dump(mode="json")))) == plan


@pytest.mark.parametrize(
    ("settings", "exits"),
    [
        ({}, ("Order Completed",)),
        ({"event": "Purchase"}, ()),
        ({"exits": []}, ()),
        ({"exits": ["Purchase", "order_completed", "seen it"]}, ("Order Completed", "seenit")),
        ({"exits": [], "conditions": [{"kind": "none", "event": "seen it"}]}, ("seenit",)),
    ],
)
def test_a_purchase_ends_a_follow_up_unless_it_says_otherwise(settings, exits):
    """And what must not have happened before must not happen afterwards."""
    assert validated("follow-up/mine", MINIMAL | settings).ending_events == exits


@given(st.sampled_from([name for names in ALIASES.items() for name in (names[0], *names[1])]))
def test_every_known_spelling_is_one_event(name):
    """`booking_completed` and `Order Completed` are the same trigger."""
    assert known_as(name) in ALIASES
    assert known_as(name.upper().replace(" ", "_")) == known_as(name)


@pytest.mark.parametrize("name", ["page", "Page Viewed", "page_view", "page_viewed"])
def test_page_calls_and_page_events_are_one(name):
    """Clients report page views as either."""
    assert known_as(name) == "page"


def test_the_catalogue_has_no_customer_to_follow_up_on():
    """Each of its events is refused."""
    for name in CATALOGUE:
        with pytest.raises(InvalidPlan, match="belongs to no customer"):
            validated("follow-up/mine", MINIMAL | {"event": name})


@pytest.mark.parametrize(
    ("properties", "product", "order"),
    [
        ({"service_id": "massage", "booking_id": 17}, "massage", "17"),
        ({"service": {"id": "massage"}, "order": {"id": "o-1"}}, "massage", "o-1"),
        ({"items": [{"product_id": "mug"}, {"product_id": "cup"}]}, "mug", None),
        ({"id": "evt-1", "name": "nothing to sell"}, None, None),
        ({"service": "massage", "items": ["not an object"]}, "not an object", None),
        ({}, None, None),
    ],
)
def test_what_an_unknown_event_is_about_is_read_strictly(properties, product, order):
    """A bare `id` may be anything."""
    told = subject(event("Massage Booked", properties=properties))

    assert (told.product_id, told.order_id) == (product, order)


@given(jsons)
def test_any_payload_has_a_subject_or_none(payload):
    """Whatever a client sends, routing goes on."""
    told = subject(event("Massage Booked", properties=payload))

    assert told.product_id != ""
    assert told.order_id != ""
