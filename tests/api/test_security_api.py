"""Keys over HTTP: what each opens, how they are made and end, how much they may take, and on whose pages."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from adapters.postgres import stores, tables
from domain.access import ADMIN_KEY, WRITE_KEY, Grant, Scope
from domain.limits import Limit
from testing.inspection import as_owner
from tests.api.routes import every_route

SHOP, ELSEWHERE = "https://mugs.test", "https://elsewhere.test"
TRACK = {"event": "Product Viewed", "userId": "u-1", "properties": {"product_id": "mug"}}
SIGNED = ("/track/email-", "/unsubscribe", "/preferences", "/confirm", "/webhooks/")
PUBLIC = (*SIGNED, "/api/health", "/sourceConfig", "/v1/projects/")
"""No key: signed links, numbers, what browser SDKs fetch first, and webhooks that prove themselves."""
INGEST = ("/v1/", "/track/", "/api/v1/carts/track")
NEEDS = {
    "/api/v1/customers/{customer:path}/journeys": Scope.READ,
    "/api/v1/runs/{run:path}/why": Scope.READ,
    "/codec": Scope.READ,
    "/codec/decode": Scope.READ,
    "/track/recommendations/{user_id:path}": Scope.READ,
    "/api/v1/runs/{run:path}/skip-wait": Scope.WRITE,
    "/api/v1/runs/{run:path}/leave": Scope.WRITE,
    "/api/v1/customers/{customer:path}": Scope.ADMIN,
    "/api/v1/customers/{customer:path}/export": Scope.ADMIN,
    "/api/v1/customers/{customer:path}/consents": Scope.ADMIN,
    "/api/v1/keys": Scope.ADMIN,
    "/api/v1/keys/{key_id}": Scope.ADMIN,
    "/api/v1/keys/{key_id}/rotate": Scope.ADMIN,
    "/api/v1/origins": Scope.ADMIN,
    "/api/v1/audit": Scope.ADMIN,
}

ENTRIES = {
    "POST /api/v1/keys": "key_created",
    "POST /api/v1/keys/{key_id}/rotate": "key_rotated",
    "DELETE /api/v1/keys/{key_id}": "key_revoked",
    "PUT /api/v1/origins": "origins_set",
    # tests/api/test_privacy_api.py, tests/api/test_runs_api.py and tests/workflows/test_operated.py try these
    "DELETE /api/v1/customers/{customer:path}": "erase",
    "POST /api/v1/runs/{run:path}/skip-wait": "skip_wait",
    "POST /api/v1/runs/{run:path}/leave": "leave",
}
"""What each endpoint that changes something leaves in the audit log."""


def needs(path: str) -> Scope:
    """Which scope an endpoint demands of an API key; an endpoint that nobody thought of has none here."""
    return NEEDS[path] if path in NEEDS or not path.startswith(INGEST) else Scope.WRITE


@pytest.fixture
async def admin(anyone, store):
    """A client with all scopes."""
    anyone.auth = (store.admin_key, "")
    return anyone


async def limited(app, limit: Limit, clock) -> str:
    """Make a write key with a limit, and return its secret."""
    keys = app.state.services.keys
    new = await keys.create("mugs", WRITE_KEY, by="test")
    await keys.limit("mugs", new.key_id, limit, by="test")
    return new.secret


async def audited(engine) -> list[tuple[str, str, str]]:
    """Sorted: what is done at one moment stands in no order."""
    query = select(tables.audit).where(tables.audit.c.by != "test")
    async with as_owner(engine) as connection:
        return sorted((row.by, row.action, row.subject) for row in (await connection.execute(query)).all())


async def test_each_endpoint_demands_the_least_scope_that_is_enough(anyone, app, store):
    """Without a valid key 401; with one that lacks the scope 403, which names it; a write key opens ingest alone."""
    keys = app.state.services.keys
    secrets = {"write key": store.write_key}
    for scope in Scope:
        secrets[scope] = (await keys.create("mugs", Grant(kind="api", scopes=(scope,)), by="test")).secret
    endpoints = {route.endpoint: route for route in every_route(app)}  # without the other spellings of a path
    for route in endpoints.values():
        if route.path.startswith(PUBLIC):
            continue
        path = route.path.replace(":path}", "}").format_map({name: uuid4() for name in route.param_convertors})
        for method in route.methods:
            where = f"{method} {route.path}"
            assert (await anyone.request(method, path, json={})).status_code == 401, where
            for holder, secret in secrets.items():
                answer = await anyone.request(method, path, json={}, headers={"Authorization": f"Bearer {secret}"})
                opens = holder == needs(route.path) or (holder == "write key" and route.path.startswith(INGEST))
                assert (answer.status_code in (401, 403)) is not opens, (where, holder)
                if not opens:
                    (error,) = answer.json()["errors"]
                    assert (answer.status_code, error["field"]) == (403, "authorization"), where
                    assert f"the scope {needs(route.path)}" in error["message"]


async def test_a_valid_key_that_lacks_a_scope_does_not_stand_in_the_way_of_one_that_has_it(anyone, store, stored):
    """Clients show a key in several places; the one that opens counts."""
    answer = await anyone.get(
        f"/api/v1/audit?writeKey={store.write_key}", headers={"Authorization": f"Bearer {store.admin_key}"}
    )

    assert answer.status_code == 200


async def test_a_key_is_made_rotated_and_revoked_by_the_api(admin, app, engine, store, clock):
    """Each is listed with its state and never with its secret, and each act is in the audit log."""
    made = await admin.post("/api/v1/keys", json={"kind": "api", "scopes": ["read"], "name": "dashboard"})
    old = made.json()
    rotated = await admin.post(f"/api/v1/keys/{old['key_id']}/rotate?overlap=PT2H")
    new = rotated.json()
    assert (made.status_code, rotated.status_code) == (201, 201)
    for key in (old["key"], new["key"]):
        answer = await admin.get("/api/v1/runs/none/why", auth=(key, ""))
        assert answer.status_code == 404, "it opens"

    again = await admin.post(f"/api/v1/keys/{old['key_id']}/rotate")
    assert (again.status_code, again.json()["code"]) == (409, "refused")
    for _ in range(2):  # a repeat is harmless
        assert (await admin.delete(f"/api/v1/keys/{new['key_id']}")).status_code == 200
    assert (await admin.get("/api/v1/runs/none/why", auth=(new["key"], ""))).status_code == 401
    clock.advance(timedelta(hours=2))
    assert (await admin.get("/api/v1/runs/none/why", auth=(old["key"], ""))).status_code == 401

    listed = (await admin.get("/api/v1/keys")).json()["keys"]
    assert [(key["name"], key["state"]) for key in listed] == [
        ("", "active"), ("", "active"), ("dashboard", "ended"), ("dashboard", "revoked"),
    ]  # fmt: skip
    assert not any(key["key"] in str(listed) for key in (old, new))
    by = f"key:{next(key['key_id'] for key in listed if key['scopes'] == ['read', 'write', 'admin'])}"
    assert await audited(engine) == [
        (by, "key_created", f"key:{old['key_id']}"),
        (by, "key_revoked", f"key:{new['key_id']}"),
        (by, "key_rotated", f"key:{new['key_id']}"),
    ]
    log = (await admin.get(f"/api/v1/audit?limit=1&subject=key:{new['key_id']}")).json()
    rest = (await admin.get(f"/api/v1/audit?before={log['next']}&subject=key:{new['key_id']}")).json()
    assert {entry["action"] for entry in log["entries"] + rest["entries"]} == {"key_rotated", "key_revoked"}
    assert rest["next"] is None


async def test_no_endpoint_changes_a_store_without_an_entry_in_the_audit_log(app):
    """An endpoint that is added has to say which; events, signed links and webhooks are words of others."""
    changing = {
        f"{method} {route.path}"
        for route in every_route(app)
        for method in route.methods - {"GET", "HEAD"}
        if not route.path.startswith((*INGEST, *SIGNED, "/codec/decode"))
    }

    assert changing == set(ENTRIES)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "keys", {}, "kind"),
        ("POST", "keys", {"kind": "api"}, "scopes"),
        ("POST", "keys", {"kind": "api", "scopes": ["all"]}, "scopes.0"),
        ("POST", "keys", {"kind": "write", "scopes": ["admin"]}, "scopes"),
        ("POST", "keys", {"kind": "write", "name": "for ada@example.com"}, "name"),
        ("POST", f"keys/{UUID(int=1)}/rotate?overlap=P91D", None, "overlap"),
        ("POST", f"keys/{UUID(int=1)}/rotate?overlap=soon", None, "overlap"),
        ("POST", "keys/none/rotate", None, "key_id"),
        ("PUT", "origins", {"origins": ["shop.example"]}, "origins"),
        ("PUT", "origins", {}, "origins"),
        ("GET", "audit?limit=0", None, "limit"),
    ],
)
async def test_what_breaks_a_rule_is_refused_by_name(admin, method, path, body, field):
    """400 with the field, as everywhere."""
    answer = await admin.request(method, f"/api/v1/{path}", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


async def test_another_stores_keys_are_not_there(admin, app, clock, engine):
    """Neither listed nor rotated nor revoked (G7)."""
    from domain.message import StoreCard

    hats = StoreCard(store_id="hats", name="", url="", currency="USD", sender_email="", sender_name="")
    await stores.create(engine, hats, clock(), by="test")
    theirs = await app.state.services.keys.create("hats", ADMIN_KEY, by="test")

    assert str(theirs.key_id) not in (await admin.get("/api/v1/keys")).text
    assert (await admin.post(f"/api/v1/keys/{theirs.key_id}/rotate")).status_code == 404
    assert (await admin.delete(f"/api/v1/keys/{theirs.key_id}")).status_code == 404
    assert "hats" not in (await admin.get("/api/v1/audit")).text


async def test_a_key_that_takes_more_than_it_may_is_told_when_to_come_again(anyone, app, clock, stored):
    """429 with `Retry-After`, nothing stored, and another key of the same store goes on; a batch costs its events."""
    secret = await limited(app, Limit(per_second=0.5, burst=4), clock)
    batch = {"batch": [{**TRACK, "type": "track", "messageId": f"m-{number}"} for number in range(6)]}
    first = await anyone.post("/v1/track", json=TRACK, auth=(secret, ""))
    second = await anyone.post("/v1/batch", json=batch, auth=(secret, ""))
    third = await anyone.post("/v1/track", json=TRACK, auth=(secret, ""))

    assert [answer.status_code for answer in (first, second, third)] == [200, 200, 429]
    assert first.headers["RateLimit-Policy"] == '"key";q=4;w=8'
    assert [answer.headers["RateLimit"] for answer in (first, third)] == ['"key";r=3;t=2', '"key";r=0;t=14']
    assert third.headers["Retry-After"] == "8"
    assert third.json()["code"] == "overloaded"
    assert len(await stored()) == 7
    other = await limited(app, Limit(per_second=0.5, burst=4), clock)
    assert (await anyone.post("/v1/track", json=TRACK, auth=(other, ""))).status_code == 200


async def test_what_an_api_key_asks_counts_too(anyone, app, store):
    """An export a second would be a load as well."""
    keys = app.state.services.keys
    new = await keys.create("mugs", ADMIN_KEY, by="test")
    await keys.limit("mugs", new.key_id, Limit(per_second=0.1, burst=2), by="test")
    answers = [await anyone.get("/api/v1/keys", auth=(new.secret, "")) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_pages_that_a_store_does_not_list_can_neither_send_nor_read(anyone, admin, app, engine, store, stored):
    """With or without a preflight; servers, which send no origin, and keys that are no browser's are not concerned."""

    async def send(origin: str | None, key: str = store.write_key, **more: Any) -> Any:
        headers = {} if origin is None else {"Origin": origin}
        return await anyone.post("/v1/track", json={**TRACK, **more}, headers=headers, auth=(key, ""))

    assert (await send(ELSEWHERE)).headers["Access-Control-Allow-Origin"] == "*"
    assert (await admin.put("/api/v1/origins", json={"origins": [f"{SHOP}/"]})).json() == {"origins": [SHOP]}
    app.state.services.keys._known.clear()  # as after the ten seconds
    refused = await send(ELSEWHERE)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (403, "origin")
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert (await send("null")).status_code == 403
    beacon = await anyone.post(
        f"/track/duration?writeKey={store.write_key}", json={"product_id": "mug", "duration": 3},
        headers={"Origin": ELSEWHERE}, auth=("", ""),
    )  # fmt: skip
    assert beacon.status_code == 403
    assert len(await stored()) == 1

    allowed = await send(SHOP)
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, SHOP)
    assert "Origin" in allowed.headers["Vary"]
    assert "RateLimit" in allowed.headers["Access-Control-Expose-Headers"]
    assert (await send(None)).status_code == 200
    assert (await send(ELSEWHERE, store.admin_key)).status_code == 200
    assert [action for _, action, _ in await audited(engine)] == ["origins_set"]
