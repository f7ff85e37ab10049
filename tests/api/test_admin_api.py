"""What a store's people may ask about a customer."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import insert
from uuid_utils.compat import uuid7

from adapters.postgres import stores, tables
from domain.access import Grant, Scope
from testing.inspection import as_owner

OURS, MERGED = UUID(int=7), UUID(int=8)


@pytest.fixture
async def ann(engine, clock, store) -> None:
    """A customer with two identities, one of them merged in, two runs and two messages."""
    runs, since = [uuid7(), uuid7()], clock()
    customer = {"store_id": "mugs", "created_at": since}
    run = {"store_id": "mugs", "plan_version": 0, "begun_at": since, "expires_at": since + timedelta(days=9)}
    message = {"store_id": "mugs", "run_id": runs[0], "journey": "welcome", "template": "welcome", "customer_id": OURS}
    async with as_owner(engine) as connection:
        await connection.execute(
            insert(tables.customers),
            [
                {**customer, "customer_id": OURS, "merged_into": None},
                {**customer, "customer_id": MERGED, "merged_into": OURS},
                {**customer, "customer_id": OURS, "store_id": "hats", "merged_into": None},
            ],
        )
        kinds = [("user", "u-1", OURS), ("anonymous", "browser", MERGED), ("email", "ann@example.com", OURS)]
        await connection.execute(
            insert(tables.identities),
            [{"store_id": "mugs", "kind": kind, "value": value, "customer_id": own} for kind, value, own in kinds],
        )
        await connection.execute(
            insert(tables.runs),
            [
                {**run, "run_id": runs[1], "workflow_id": "mugs/cart-recovery/x", "journey": "cart-recovery",
                 "customer_id": MERGED, "since": since + timedelta(hours=1), "outcome": "running"},
                {**run, "run_id": runs[0], "workflow_id": "mugs/welcome/x", "journey": "welcome",
                 "customer_id": OURS, "since": since, "outcome": "converted"},
                {**run, "run_id": uuid7(), "workflow_id": "hats/welcome/x", "journey": "welcome",
                 "customer_id": OURS, "since": since, "outcome": "running", "store_id": "hats"},
            ],
        )  # fmt: skip
        await connection.execute(
            insert(tables.messages),
            [
                {**message, "message_id": uuid7(), "step": "welcome-2", "state": "capped", "because": "one per day",
                 "transactional": False, "claimed_at": since + timedelta(days=2)},
                {**message, "message_id": uuid7(), "step": "welcome-1", "state": "sent", "because": None,
                 "transactional": False, "claimed_at": since},
            ],
        )  # fmt: skip


@pytest.mark.parametrize("name", [str(OURS), str(MERGED), "u-1", "browser", "Ann@Example.com"])
async def test_a_customer_is_found_by_any_name_with_all_journeys_in_order(anyone, ann, store, name):
    """Which journeys, since when, at which step, what was sent or withheld and why."""
    answer = await anyone.get(f"/api/v1/customers/{name}/journeys", auth=(store.admin_key, ""))

    assert answer.status_code == 200
    body = answer.json()
    assert UUID(body["customer_id"]) == OURS
    told = [(run["journey"], run["outcome"], run["step"]) for run in body["journeys"]]
    assert told == [("welcome", "converted", "welcome-2"), ("cart-recovery", "running", None)]
    messages = body["journeys"][0]["messages"]
    assert [(m["step"], m["state"], m["because"]) for m in messages] == [
        ("welcome-1", "sent", None), ("welcome-2", "capped", "one per day"),
    ]  # fmt: skip


async def test_an_unknown_customer_is_404(anyone, ann, store):
    """Also one with characters that no id has."""
    for name in ("nobody", "a%00b", str(uuid7()), "%F0%9F%9B%92"):
        answer = await anyone.get(f"/api/v1/customers/{name}/journeys", auth=(store.admin_key, ""))
        assert (answer.status_code, answer.json()["success"]) == (404, False)


async def test_only_the_stores_own_key_opens_it(anyone, app, ann, store, clock):
    """A write key stands in public pages; another store's key sees its own customer only (G7)."""
    from domain.message import StoreCard

    keys = app.state.services.keys
    hats = StoreCard(store_id="hats", name="", url="", currency="USD", sender_email="", sender_name="")
    await stores.create(app.state.services.engine, hats, clock(), by="test")
    other = (await keys.create("hats", Grant(kind="api", scopes=(Scope.READ,)), by="test")).secret
    path = f"/api/v1/customers/{OURS}/journeys"

    assert (await anyone.get(path)).status_code == 401
    assert (await anyone.get(path, auth=(store.write_key, ""))).status_code == 403
    seen = (await anyone.get(path, headers={"Authorization": f"Bearer {other}"})).json()
    assert [run["workflow_id"] for run in seen["journeys"]] == ["hats/welcome/x"]
    assert (await anyone.get("/api/v1/customers/u-1/journeys", auth=(other, ""))).status_code == 404
