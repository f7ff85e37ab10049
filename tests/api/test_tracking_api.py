"""The tracking API as Segment's spec and its clients' habits have it."""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from adapters.postgres import stores
from domain.access import WRITE_KEY

TRACK = {"event": "Product Viewed", "userId": "u-1", "messageId": "m-1", "properties": {"product_id": "mug"}}


async def test_an_event_is_stored_before_it_is_answered(client, stored, store, clock):
    """`{"success": true}` follows the commit, and the row holds the event as received."""
    answer = await client.post("/v1/track", json=TRACK)

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    (event,) = await stored()
    assert (event.store_id, event.message_id, event.type, event.name) == ("mugs", "m-1", "track", "Product Viewed")
    assert (event.user_id, event.anonymous_id, event.state) == ("u-1", None, "pending")
    assert event.payload == {**TRACK, "type": "track"}
    assert event.at == event.received_at == clock()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *((f"/v1/{kind}", kind) for kind in ("track", "identify", "page", "screen", "group", "alias")),
        *((f"/v1/{kind[0]}", kind) for kind in ("track", "identify", "page", "screen", "group", "alias")),
        ("/v1/track/", "track"),
        ("/v1/p/", "page"),
    ],
)
async def test_every_call_has_a_long_and_a_short_path(client, stored, path, kind):
    """Browsers send `/v1/t`; a slash at the end makes no difference."""
    answer = await client.post(path, json={**TRACK, "previousId": "browser"})

    assert answer.status_code == 200
    assert [event.type for event in await stored()] == [kind]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/v1/batch/", "/v1/b/", "/v1/import/"])
async def test_a_batch_has_three_names(client, stored, path):
    """`/v1/import` is an older name of batch."""
    answer = await client.post(path, json={"batch": [{**TRACK, "type": "track"}]})

    assert answer.status_code == 200
    assert len(await stored()) == 1


async def test_the_content_type_is_ignored_and_gzip_is_seen_by_its_bytes(client, stored):
    """RudderStack's node client sends gzip as a form; browsers send text/plain; some forget the header."""
    bodies = [json.dumps({**TRACK, "messageId": f"m-{n}"}).encode() for n in range(5)]
    sent = [
        (bodies[0], {"content-type": "text/plain"}),
        (gzip.compress(bodies[1]), {"content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"}),
        (gzip.compress(bodies[2]), {"content-type": "application/json"}),
        (bodies[3], {"content-encoding": "gzip"}),
        (gzip.compress(bodies[4][:10]) + gzip.compress(bodies[4][10:]), {"content-encoding": "x-gzip"}),
    ]
    answers = [await client.post("/v1/track", content=body, headers=headers) for body, headers in sent]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert {event.message_id for event in await stored()} == {f"m-{n}" for n in range(5)}


@pytest.mark.parametrize("place", ["basic", "bearer", "body", "query", "wrong header, right body"])
async def test_the_write_key_may_stand_in_any_place(anyone, stored, store, place):
    """Clients put it into Basic, a bearer token, the body or the address."""
    key, body, options = store.write_key, dict(TRACK), {}
    if place == "basic":
        options["auth"] = (key, "")
    elif place == "bearer":
        options["headers"] = {"Authorization": f"Bearer {key}"}
    elif place == "query":
        options["params"] = {"writeKey": key}
    else:
        body["writeKey"] = key
    if place.startswith("wrong"):
        options["headers"] = {"Authorization": "Bearer a-token-of-the-shop"}
    answer = await anyone.post("/v1/track", json=body, **options)

    assert answer.status_code == 200
    (event,) = await stored()
    assert "writeKey" not in event.payload


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_without_a_valid_key_nothing_is_stored(anyone, stored, store, key):
    """No key and an unknown key are both 401, in our form."""
    answer = await anyone.post("/v1/track", json=TRACK, **({"auth": (key, "")} if key else {}))

    assert answer.status_code == 401
    assert answer.json()["success"] is False
    assert answer.json()["errors"][0]["field"] == "authorization"
    assert await stored() == []


async def test_a_malformed_authorization_header_is_401_not_a_defect(anyone):
    """Base64 that is none is a missing key."""
    answer = await anyone.post("/v1/track", json=TRACK, headers={"Authorization": "Basic %%%"})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (401, "authorization")


async def test_a_revoked_key_is_worth_nothing(anyone, app, store, stored):
    """Revoking works at once in the process that does it."""
    keys = app.state.services.keys
    new = await keys.create("mugs", WRITE_KEY, by="test")
    before = await anyone.post("/v1/track", json=TRACK, auth=(new.secret, ""))
    await keys.revoke("mugs", new.key_id, by="test")
    after = await anyone.post("/v1/track", json={**TRACK, "messageId": "m-2"}, auth=(new.secret, ""))

    assert (before.status_code, after.status_code) == (200, 401)
    assert len(await stored()) == 1


async def test_a_repeat_is_a_success_and_changes_nothing(client, stored):
    """The first event with a messageId counts, in one request, in a batch and later."""
    first = await client.post("/v1/batch", json={"batch": [{**TRACK, "type": "track"}, {**TRACK, "type": "page"}]})
    again = await client.post("/v1/track", json={**TRACK, "event": "Something Else"})

    assert (first.status_code, again.status_code) == (200, 200)
    assert [(event.message_id, event.type, event.name) for event in await stored()] == [
        ("m-1", "track", "Product Viewed")
    ]


async def test_the_same_message_id_in_two_stores_is_two_events(client, anyone, app, store, stored, clock):
    """A dedup key belongs to its store (G7)."""
    keys = app.state.services.keys
    card = {"store_id": "hats", "name": "Hats", "url": "https://hats.test", "currency": "USD"}
    from domain.message import StoreCard

    hats = StoreCard(**card, sender_email="a@hats.test", sender_name="Hats")
    await stores.create(app.state.services.engine, hats, clock(), by="test")
    other = await keys.create("hats", WRITE_KEY, by="test")
    await client.post("/v1/track", json=TRACK)
    await anyone.post("/v1/track", json=TRACK, auth=(other.secret, ""))

    assert sorted(event.store_id for event in await stored()) == ["hats", "mugs"]


@pytest.mark.parametrize(
    ("event", "common", "field"),
    [({"event": "\0"}, {"locale": "en"}, "event"), ({}, {"locale": "\0"}, "context.locale")],
    ids=["an event of its own", "what the batch says for all"],
)
async def test_what_cannot_be_stored_is_refused_with_a_context_for_all(client, stored, event, common, field):
    """It costs the events that have it, and not those that say something else in its place."""
    own = {**TRACK, "type": "track", "messageId": "own", "context": {"locale": "de"}}
    answer = await client.post(
        "/v1/batch", json={"batch": [{**TRACK, "type": "track", **event}, own], "context": common}
    )

    told = [(error["index"], error["field"], error["message"]) for error in answer.json()["errors"]]
    assert told == [(0, field, "must not contain the NUL character")]
    assert [event.message_id for event in await stored()] == ["own"]


async def test_bad_events_are_told_in_the_order_of_the_batch(client, stored):
    """Whichever rule they break, and however many good ones stand between them."""
    calls = [{**TRACK, "type": "track", "messageId": f"m-{n}"} for n in range(230)]
    broken = {3: {**TRACK, "type": "nonsense"}, 5: "no event", 120: {**TRACK, "type": "track", "event": "\0"}, 229: 7}
    for index, call in broken.items():
        calls[index] = call
    answer = await client.post("/v1/batch", json={"batch": calls})

    assert [(error["index"], error["field"]) for error in answer.json()["errors"]] == [
        (3, "type"), (5, "event"), (120, "event"), (229, "event"),
    ]  # fmt: skip
    assert {event.message_id for event in await stored()} == {f"m-{n}" for n in range(230) if n not in broken}


async def test_good_events_of_a_batch_survive_bad_ones(client, stored):
    """Each bad event is reported with its index, field and rule; the good ones are stored."""
    good = [{**TRACK, "type": "track", "messageId": f"good-{n}"} for n in range(3)]
    bad = [
        {"type": "track", "userId": "u-1"},
        {"type": "nonsense", "userId": "u-1"},
        "not an object",
        {"type": "track", "event": "X"},
        {"type": "track", "event": "X", "userId": "u", "properties": {"note": "a\0b"}},
        {"type": "track", "event": "X", "userId": "u", "properties": {"blob": "x" * 33_000}},
        {"type": "track", "event": "X", "userId": "u", "properties": {"price": float("nan")}},
    ]
    batch = [good[0], *bad[:3], good[1], *bad[3:], good[2]]
    answer = await client.post("/v1/batch", content=json.dumps({"batch": batch}))

    assert answer.status_code == 400
    body = answer.json()
    assert body["success"] is False
    found = [(error["index"], error["field"]) for error in body["errors"]]
    expected = ["event", "type", "event", "userId", "properties.note", "event", "properties.price"]
    assert found == list(zip([1, 2, 3, 5, 6, 7, 8], expected, strict=True))
    assert [event.message_id for event in await stored()] == ["good-0", "good-1", "good-2"]


async def test_a_rejection_carries_what_the_official_clients_read(client):
    """Both Python clients read `code` and `message`; without them rudder-sdk-python repeats a 400 for minutes."""
    answer = (await client.post("/v1/track", json={"userId": "u"})).json()

    assert answer["code"] == "invalid"
    assert answer["message"] == "event: is missing: a track call names what happened"


async def test_the_batch_speaks_for_its_events(client, stored, clock):
    """`context` and `integrations` of a batch are merged in, the event's own words win; `sentAt` applies to all."""
    clock.now = datetime(2026, 1, 15, 12, tzinfo=UTC)
    batch = {
        "batch": [
            {**TRACK, "type": "track", "context": {"locale": "de"}, "timestamp": "2026-01-15T11:00:00Z"},
            {**TRACK, "type": "page", "messageId": "m-2", "context": None},
        ],
        "context": {"locale": "en", "app": {"name": "shop"}},
        "integrations": {"All": True},
        "sentAt": "2026-01-15T12:30:00Z",
    }
    answer = await client.post("/v1/batch", json=batch)

    assert answer.status_code == 200
    first, second = await stored()
    assert first.payload["context"] == {"locale": "de", "app": {"name": "shop"}}
    assert second.payload["context"] == {"locale": "en", "app": {"name": "shop"}}
    assert first.payload["integrations"] == {"All": True}
    assert first.at == clock() - timedelta(minutes=90)


def _with(properties: bytes) -> bytes:
    return b'{"event": "X", "userId": "u", "properties": ' + properties + b"}"


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "body"),
    "cut off": (b"{", "body"),
    "null": (b"null", "body"),
    "a list": (b"[]", "body"),
    "a text": (b'"text"', "body"),
    "not UTF-8": (b"\xff\xfe\x00", "body"),
    "a bottomless list": (b"[" * 30_000, "body"),
    "not gzip": (b"\x1f\x8b garbage", "body"),
    "gzip cut off": (gzip.compress(b"{}" * 100)[:-9], "body"),
    "NaN": (_with(b'{"n": NaN}'), "properties.n"),
    "infinity in a list": (_with(b'{"n": [1, -Infinity]}'), "properties.n[1]"),
    "1e400": (_with(b'{"n": 1e400}'), "properties.n"),
    "5000 digits": (_with(b'{"n": ' + b"9" * 5_000 + b"}"), "properties.n"),
    "an id of 5000 digits": (b'{"event": "X", "userId": ' + b"9" * 5_000 + b"}", "userId"),
    "NUL in the name": (b'{"event": "X\\u0000", "userId": "u"}', "event"),
    "NUL in an id": (b'{"event": "X", "userId": "u\\u0000"}', "userId"),
    "NUL in a field's name": (b'{"event": "X", "userId": "u", "context": {"a\\u0000": 1}}', "a name in context"),
    "half a surrogate pair": (_with(b'{"s": "\\ud800"}'), "properties.s"),
    "half a pair in a name": (b'{"event": "X", "userId": "u", "\\udfff": {"\\ud800": 1}}', "a name in the event"),
    "nested 40 deep": (_with(b'{"a":' * 40 + b"1" + b"}" * 40), "properties" + ".a" * 32),
    "nested 900 deep": (_with(b'{"a":' * 900 + b"1" + b"}" * 900), "properties" + ".a" * 32),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_body_that_cannot_be_kept_is_refused_by_name(client, stored, case):
    """Malformed JSON, numbers beyond numbers, NUL, half surrogates and bottomless nesting: 400, never 500."""
    body, field = BROKEN[case]
    answer = await client.post("/v1/track", content=body)

    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert await stored() == []


@pytest.mark.parametrize("call", ["track", "batch"])
async def test_deep_nesting_in_a_batch_is_an_error_of_its_event(client, stored, call):
    """What the parser can read and nothing else can is refused before anything else looks at it."""
    deep = b'{"type": "track", "event": "X", "userId": "u", "properties": ' + b'{"a":' * 900 + b"1" + b"}" * 901
    answer = await client.post(f"/v1/{call}", content=deep if call == "track" else b'{"batch": [' + deep + b"]}")

    assert answer.status_code == 400
    assert "nested" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event": None}, "event"),
        ({"event": ""}, "event"),
        ({"event": 7}, "event"),
        ({"event": {"name": "X"}}, "event"),
        ({"properties": []}, "properties"),
        ({"properties": "x"}, "properties"),
        ({"traits": 1}, "traits"),
        ({"context": "x"}, "context"),
        ({"context": {"traits": []}}, "context.traits"),
        ({"integrations": [1]}, "integrations"),
        ({"userId": {"id": 1}}, "userId"),
        ({"userId": True}, "userId"),
        ({"userId": 1.5}, "userId"),
        ({"userId": "u" * 513}, "userId"),
        ({"anonymousId": []}, "anonymousId"),
        ({"userId": None}, "userId"),
        ({"userId": "", "anonymousId": "  "}, "userId"),
        ({"messageId": "m" * 101}, "messageId"),
        ({"messageId": {}}, "messageId"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": 1_700_000_000}, "timestamp"),
        ({"timestamp": "2026-02-30T00:00:00Z"}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
        ({"originalTimestamp": "x"}, "originalTimestamp"),
        ({"sentAt": "x"}, "sentAt"),
    ],
)
async def test_a_broken_rule_is_named_with_its_field(client, stored, change, field):
    """The caller can find and mend the fault from the answer alone."""
    answer = await client.post("/v1/track", json={**TRACK, **change})

    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await stored() == []


async def test_an_alias_names_two_identities(client, stored):
    """`previousId` (or the browser's anonymousId) and the new id."""
    bad = await client.post("/v1/alias", json={"userId": "u"})
    good = await client.post("/v1/alias", json={"userId": "u", "previousId": "browser"})

    assert (bad.status_code, bad.json()["errors"][0]["field"], good.status_code) == (400, "previousId", 200)


async def test_ids_may_be_numbers_null_or_an_email(client, stored):
    """Shops count their customers; the Python client sends null ids; an address identifies as well."""
    for number, who in enumerate(
        [
            {"userId": 42, "anonymousId": None},
            {"userId": None, "anonymousId": "browser"},
            {"traits": {"email": " Ann@Example.COM "}},
            {"context": {"traits": {"email": "bob@shop.test"}}},
            {"properties": {"customer": {"email": "cy@example.com"}}},
            {"properties": {"email": "not an address"}, "userId": "u-5"},
            {"event": "product_shared", "properties": {"email": "friend@example.com"}, "userId": "u-6"},
        ]
    ):
        answer = await client.post("/v1/track", json={"event": "X", "messageId": number, **who})
        assert answer.status_code == 200, answer.text

    found = [(event.message_id, event.user_id, event.anonymous_id, event.email) for event in await stored()]
    assert found == [
        ("0", "42", None, None),
        ("1", None, "browser", None),
        ("2", None, None, "ann@example.com"),
        ("3", None, None, "bob@shop.test"),
        ("4", None, None, "cy@example.com"),
        ("5", "u-5", None, None),
        ("6", "u-6", None, None),
    ]


@pytest.mark.parametrize("name", ["Product Updated", "product_updated", "back_in_stock", "Price Changed"])
async def test_a_catalogue_event_belongs_to_nobody(client, stored, name):
    """A shop's back office tells prices and stock without a customer."""
    answer = await client.post("/v1/track", json={"event": name, "properties": {"product_id": "mug", "stock": 3}})

    assert answer.status_code == 200
    assert len(await stored()) == 1


@pytest.mark.parametrize(
    ("times", "minutes"),
    [
        ({"timestamp": "2026-01-15T11:00:00Z"}, -60),
        ({"timestamp": "2026-01-15T11:00:00.123456789Z"}, -60 + 0.123456 / 60),
        ({"timestamp": "2026-01-15T12:00:00+01:00"}, -60),
        ({"timestamp": "2026-01-15T11:00:00"}, -60),
        ({"timestamp": "2026-01-15T13:00:00Z"}, 0),
        ({"timestamp": "9999-12-31T23:59:59Z"}, 0),
        ({"timestamp": None}, 0),
        ({"originalTimestamp": "2026-01-15T11:00:00Z"}, -60),
        ({"timestamp": "2026-01-15T09:00:00Z", "sentAt": "2026-01-15T09:30:00Z"}, -30),
        ({"originalTimestamp": "2031-01-15T09:00:00Z", "sentAt": "2031-01-15T09:10:00Z"}, -10),
        ({"timestamp": "2026-01-15T09:40:00Z", "sentAt": "2026-01-15T09:30:00Z"}, 0),
    ],
)
async def test_time_is_corrected_for_the_clients_clock_and_never_in_the_future(client, stored, clock, times, minutes):
    """When it was received, less what passed on the client's clock between the event and its sending."""
    answer = await client.post("/v1/track", json={**TRACK, **times})

    assert answer.status_code == 200
    (event,) = await stored()
    assert event.at == clock() + timedelta(minutes=minutes)


async def test_a_clock_beyond_all_correction_tells_nothing(client, stored, clock):
    """A correction that leads out of the calendar is dropped: it happened when it came in."""
    times = {"timestamp": "0002-01-01T00:00:00Z", "sentAt": "9998-01-01T00:00:00Z"}
    answer = await client.post("/v1/track", json={**TRACK, **times})

    assert answer.status_code == 200
    assert (await stored())[0].at == clock()


async def test_size_limits_are_segments(client, stored):
    """32 KB per event, 500 KB and 2500 events per batch, measured unpacked; a bomb is not unpacked."""
    room = (32 << 10) - len(json.dumps({**TRACK, "pad": ""}))
    fits = await client.post("/v1/track", content=json.dumps({**TRACK, "pad": "x" * room}))
    over = await client.post("/v1/track", content=json.dumps({**TRACK, "pad": "x" * (room + 1)}))
    bomb = await client.post(
        "/v1/track", content=gzip.compress(b" " * 50_000_000, 1), headers={"content-encoding": "gzip"}
    )
    batch = await client.post("/v1/batch", content=b'{"batch": [' + b" " * (500 << 10) + b"]}")
    many = await client.post("/v1/batch", json={"batch": [{}] * 2501})

    assert [answer.status_code for answer in (fits, over, bomb, batch, many)] == [200, 413, 413, 413, 413]
    assert over.json()["errors"] == [{"field": "body", "message": "must not be larger than 32 KB"}]
    assert len(await stored()) == 1


@pytest.mark.parametrize("common", [{}, {"context": {"app": {"name": "x" * 5_000}}}], ids=["alone", "with a context"])
async def test_an_event_of_a_batch_may_be_as_large_as_an_event(client, stored, common):
    """32 KB as it was sent; what the batch says for all its events makes none of them too large."""
    told = {**TRACK, "type": "track", "messageId": "fits", "pad": ""}
    room = (32 << 10) - len(json.dumps(told, separators=(",", ":")))
    fits, over = {**told, "pad": "x" * room}, {**told, "messageId": "over", "pad": "x" * (room + 1)}
    answer = await client.post("/v1/batch", json={"batch": [fits, over], **common})

    assert answer.json()["errors"] == [{"index": 1, "field": "event", "message": "must not be larger than 32 KB"}]
    assert [event.message_id for event in await stored()] == ["fits"]


async def test_a_batch_needs_a_list(client):
    """`batch` is missing or something else; an empty list is fine."""
    answers = [
        await client.post("/v1/batch", json=body) for body in ({}, {"batch": {}}, {"batch": None}, {"batch": []})
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 400, 200]
    assert answers[0].json()["errors"][0]["field"] == "batch"


async def test_other_encodings_are_415(client):
    """Only gzip is unpacked."""
    answer = await client.post("/v1/track", content=b"{}", headers={"content-encoding": "br"})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (415, "content-encoding")


async def test_an_unknown_path_and_a_wrong_method_are_json_too(client):
    """Every error has the one form."""
    for answer, status in ((await client.get("/v1/track"), 405), (await client.post("/v1/nothing"), 404)):
        assert (answer.status_code, answer.json()["success"]) == (status, False)
        assert set(answer.json()["errors"][0]) == {"field", "message"}


async def test_browsers_of_any_origin_may_send_and_read_errors(anyone):
    """Every call of Segment's browser client is preflighted; RudderStack's adds `AnonymousId`."""
    wanted = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "anonymousid,authorization,content-type",
    }
    preflight = await anyone.options("/v1/t", headers={"Origin": "https://mugs.test", **wanted})
    refused = await anyone.post("/v1/t", json=TRACK, headers={"Origin": "https://mugs.test"})

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "anonymousid,authorization,content-type"
    assert int(preflight.headers["access-control-max-age"]) >= 7200
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")


async def test_what_the_admin_key_opens_is_closed_to_browsers(anyone):
    """No page may read a customer's journeys."""
    answer = await anyone.get("/api/v1/customers/u/journeys", headers={"Origin": "https://mugs.test"})

    assert "access-control-allow-origin" not in answer.headers


async def test_the_customers_address_is_a_browsers_or_told(client, stored):
    """A server's own address is never taken for the customer's (it is evidence of consent)."""
    await client.post("/v1/track", json={**TRACK, "messageId": "server"})
    await client.post("/v1/track", json={**TRACK, "messageId": "browser"}, headers={"Origin": "https://mugs.test"})
    await client.post("/v1/track", json={**TRACK, "messageId": "told", "context": {"ip": "203.0.113.9"}})
    await client.post("/v1/track", json={**TRACK, "messageId": "nonsense", "context": {"ip": "here"}})

    found = {event.message_id: event.ip for event in await stored()}
    assert found == {"server": None, "browser": "127.0.0.0", "told": "203.0.113.0", "nonsense": None}


async def test_many_requests_at_once_store_each_event_once(client, stored):
    """Fifty requests, each sent twice at the same time."""
    bodies = [{**TRACK, "messageId": f"m-{n % 50}"} for n in range(100)]
    answers = await asyncio.gather(*(client.post("/v1/track", json=body) for body in bodies))

    assert {answer.status_code for answer in answers} == {200}
    assert sorted(event.message_id for event in await stored()) == sorted(f"m-{n}" for n in range(50))


async def test_the_browser_clients_find_their_settings(anyone):
    """Both browser SDKs ask for destinations before they send anything."""
    rudder = (await anyone.get("/sourceConfig/", params={"writeKey": "k", "p": "web"})).json()["source"]
    segment = (await anyone.get("/v1/projects/k/settings")).json()

    assert (rudder["enabled"], rudder["destinations"], rudder["writeKey"]) == (True, [], "k")
    assert segment["integrations"]["Segment.io"] == {
        "apiKey": "k", "apiHost": "api.test/v1", "protocol": "http", "unbundledIntegrations": [],
    }  # fmt: skip
