"""Decoding never fails, whatever a client sends, and what it returns can be stored."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from told import AT, event

from domain.decoding import catalogue, commerce, facts, people
from domain.events import Who
from domain.facts import AnyFact, Topic
from domain.money import MAX_MINOR
from domain.vocabulary import ALIASES, is_catalogue

FIELD_NAMES = sorted(
    {
        "traits", "context", "properties", "cart", "order", "product", "customer", "currency", "quantity",
        "price_minor", "total_minor", "target_price", "topics", "channel", "source", "ip", "page", "url", "ref",
        "coupon", "discount_codes", "message_id", "previousId", "duration", "in_stock", "archived", "name", "category",
        "images", "unsubscribed", "email_marketing_consent", "state", "timezone", "locale", *Topic, *catalogue.ROWS,
        *catalogue._IDS, *catalogue._PRICES, *catalogue._STOCK, *commerce._ORDER_IDS, *commerce._TOTALS, *people._KNOWN,
    }
)  # fmt: skip

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**400), max_value=10**400),
    st.floats(),
    st.text(st.characters(), max_size=40),
    st.sampled_from(
        ["1e999", "-0", "NaN", "1e-9999999999", "12.50", "a@b.c", "true", "\x00", "\ud800", "EUR", "KWD", "jpy",
         "x" * 300, "https://[", "//cdn.example/x.png", "https://shop.example/?ref=jn_" + "a" * 32, "9" * 4_000]
    ),
)  # fmt: skip
names = st.one_of(st.sampled_from(FIELD_NAMES), st.sampled_from(FIELD_NAMES).map(str.upper), st.text(max_size=8))
json_values = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=6)),
    max_leaves=25,
)
bodies = st.one_of(
    st.dictionaries(names, json_values, max_size=6),
    st.fixed_dictionaries({"properties": st.dictionaries(names, json_values, max_size=10)}),
    st.fixed_dictionaries({"traits": json_values, "context": json_values}),
)
types = st.sampled_from(["track", "track", "track", "identify", "page", "screen", "group", "alias"])
any_fact = TypeAdapter(list[AnyFact])


def told_as(body, name, **envelope):
    return event(name, **envelope)._replace(payload=body)


@settings(max_examples=250)
@given(st.sampled_from(sorted(ALIASES)), types, bodies, st.none() | st.text(max_size=30))
def test_any_json_gives_facts_that_can_be_stored(name, kind, body, address):
    """Never an exception; every fact survives JSON, fits its columns, and happened when the event did."""
    told = facts(told_as(body, name, kind=kind, who=Who(email=address)))

    text = any_fact.dump_json(told).decode()
    assert any_fact.validate_json(text) == told
    assert "\\u0000" not in text
    json.dumps(json.loads(text), allow_nan=False)
    for fact in told:
        assert fact.at == AT
        for field, value in fact:
            if field.endswith("_minor") and value is not None:
                assert 0 <= value <= MAX_MINOR
            if field.endswith("_id") and isinstance(value, str):
                assert 0 < len(value) <= 200


@given(st.text(max_size=30), bodies)
def test_an_unknown_name_means_nothing_whatever_it_carries(name, body):
    """Unknown names are stored and routed nowhere."""
    assert facts(told_as(body, f"zzz {name}")) == []


@given(st.sampled_from(sorted(name for name in ALIASES if is_catalogue(name))), bodies)
def test_the_catalogue_never_speaks_about_a_customer(name, body):
    """A catalogue event carries only facts that need no customer, even if an address is in it."""
    told = facts(told_as(body, name, who=Who(email="ann@example.org")))

    assert all(not fact.about_customer for fact in told)
