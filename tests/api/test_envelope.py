"""The envelope against events nobody thought of."""

import json
import math
from datetime import UTC, datetime

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from adapters.postgres.ingest import EventStore
from api.envelope import TYPES, Arrival, address, understood
from domain.errors import InvalidEvent
from testing.inspection import as_owner

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
ARRIVAL = Arrival(store_id="mugs", received_at=NOON)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.from_regex(r"[\x00\ud800a]{1,3}"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ids = st.none() | st.text(max_size=8) | st.integers() | anything
events = st.fixed_dictionaries(
    {"type": st.sampled_from([*TYPES, "other"]) | anything},
    optional={
        "event": st.sampled_from(["Product Viewed", "Product Updated", ""]) | anything,
        "name": anything,
        "userId": ids,
        "anonymousId": ids,
        "previousId": ids,
        "messageId": ids,
        "timestamp": st.datetimes().map(datetime.isoformat) | anything,
        "originalTimestamp": st.datetimes().map(datetime.isoformat) | anything,
        "sentAt": st.datetimes().map(datetime.isoformat) | anything,
        "properties": st.dictionaries(st.sampled_from(["email", "customer"]), anything) | anything,
        "traits": st.fixed_dictionaries({"email": st.emails() | anything}) | anything,
        "context": st.dictionaries(st.sampled_from(["traits", "ip"]), anything) | anything,
        "integrations": anything,
    },
)


@given(events)
def test_every_event_is_understood_or_refused_by_name(raw):
    """Whatever a client sends is an event or an InvalidEvent that names a field; never another error."""
    event = problem = None
    try:
        event = understood(raw, ARRIVAL)
    except InvalidEvent as refused:
        problem = refused
    if event is None:
        assert problem
        assert problem.field
        assert json.dumps([problem.field, problem.message], ensure_ascii=False).encode()
        return
    assert event.at <= NOON
    assert 0 < len(event.message_id) <= 100
    assert {**event.payload} == {key: value for key, value in raw.items() if key != "writeKey"}


def keepable(value: object, depth: int = 1) -> bool:
    """Tell by a look at every part whether Postgres can keep a value, and JSON can say it."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, dict):
        return depth <= 32 and all(keepable(name) and keepable(part, depth + 1) for name, part in value.items())
    if isinstance(value, list):
        return depth <= 32 and all(keepable(part, depth + 1) for part in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or abs(value) < 10**300


@given(anything | st.integers(min_value=10**299, max_value=10**301), st.integers(min_value=0, max_value=34))
def test_an_event_is_refused_exactly_if_a_part_of_it_cannot_be_kept(part, depth):
    """The check looks at an event's JSON first, and must not miss anything there."""
    properties = {"part": part}
    for _ in range(depth):
        properties = {"inner": properties}
    raw = {"type": "track", "event": "Seen", "userId": "u1", "properties": properties}
    if keepable(properties):
        assert understood(raw, ARRIVAL).payload == raw
    else:
        with pytest.raises(InvalidEvent):
            understood(raw, ARRIVAL)


def test_a_number_without_an_end_is_found_wherever_it_stands():
    """The check looks at one place in three hundred; one more letter before the number moves it on by one."""
    for before in range(600):
        part = {"note": "x" * before, "number": 10**300, "rest": "y" * (600 - before)}
        with pytest.raises(InvalidEvent, match="300 digits"):
            understood({"type": "track", "event": "Seen", "userId": "u1", "properties": part}, ARRIVAL)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batch=st.lists(events, min_size=1, max_size=10))
async def test_whatever_is_understood_can_be_stored(engine, batch):
    """The envelope refuses everything that Postgres would refuse, so that no batch fails for one event."""
    good = []
    for raw in batch:
        try:
            good.append(understood(raw, ARRIVAL))
        except InvalidEvent:
            continue
    new = await EventStore(engine).accept(good)
    async with as_owner(engine) as connection:
        query = text("select id, payload from events where id = any(:ids)")
        rows = await connection.execute(query, {"ids": [event.id for event in good]})
        payloads = {row.id: row.payload for row in rows}

    assert new == len(payloads)
    for event in good:
        assert event.id not in payloads or _numbers(payloads[event.id]) == _numbers(event.payload)


def _numbers(payload):
    """Postgres keeps 1e190 as the digits that were written; JSON makes no difference between the two."""
    return json.loads(json.dumps(payload), parse_int=float)


@given(st.emails())
def test_an_address_is_an_identity_whatever_its_case(email):
    """Case and blanks around an address make no second person."""
    assert address(f" {email.upper()} ") == address(email.lower())


@given(
    st.lists(st.sampled_from([*"aB1_-+.'é İ", "@", "n" * 63, "--", "\u0301"]), max_size=8).map("".join),
    st.sampled_from(
        ["@shop.example", "@Shop.Example", "@bücher.example", "@xn--bcher-kva.example", "@xn--a.example", "@ab--c.com",
         "@x-.com", "@-x.com", "@a..com", "@a.1", "@localhost", "@shop.test", "@" + "a" * 64 + ".com",
         "@" + "abcdefgh." * 26 + "com", "@" + "abcdefgh." * 21 + "com", "@", ""]
    ),
)  # fmt: skip
def test_an_address_is_judged_as_the_validator_judges_it(local, domain):
    """What is known of its domain already makes the answer quicker and never another."""
    text = f"{local}{domain}".strip()
    try:
        checked = validate_email(text, check_deliverability=False, test_environment=True).normalized.lower()
    except EmailNotValidError:
        checked = None
    assert address(text) == checked


def test_what_does_not_look_like_an_address_is_no_identity():
    """It stays in the payload, and the event needs another id."""
    for wrong in (
        None,
        7,
        "",
        "ann",
        "ann@",
        "@example.com",
        "a b@example.com",
        "ann@example",
        "x" * 400 + "@example.com",
    ):
        assert address(wrong) is None
