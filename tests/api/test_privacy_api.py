"""A customer's rights over HTTP: with the admin key, for one store, all or nothing."""

import io
import json
import re
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import insert

from adapters.postgres import reports
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.tables import audit, runs
from adapters.settings import Settings
from api.app import create_app
from domain.errors import InvalidInput, NotFound
from domain.events import Event, Who
from domain.receipts import Notary
from testing.inspection import as_owner
from worker.router import Router

SECRET = "a-secret-for-tests-only"


@pytest.fixture
async def api(database, clock, store) -> AsyncIterator[httpx.AsyncClient]:
    """An API whose Temporal is down."""

    async def down():
        raise RuntimeError("connection refused")

    app = create_app(Settings(database_url=database, secret_keys=SECRET), clock, temporal=down)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {store.admin_key}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as http,
    ):
        yield http


@pytest.fixture
async def ada(engine, clock, store) -> str:
    """A customer without runs."""

    class Nobody:
        async def execute(self, store_id, command) -> bool:
            return True

    email, now = "ada@example.com", clock() - timedelta(minutes=1)
    event = Event(
        store_id=store.store_id, id=new_id(), message_id="m-1", type="identify", name=None,
        who=Who(user_id="ada", email=email), payload={"type": "identify", "traits": {"email": email}},
        at=now, received_at=now,
    )  # fmt: skip
    await EventStore(engine).accept([event])
    await Router(engine, Nobody(), clock).route_everything()
    return email


async def test_a_customer_gets_a_file_of_all_that_is_known(api, ada, engine):
    """Named by an address as well as by an id; no proxy keeps it, and that it was handed out is on record."""
    answer = await api.get(f"/api/v1/customers/{ada}/export")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["cache-control"] == "no-store"
    assert "@" not in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        [profile] = json.loads(archive.read("customer.json"))["profile"]
    assert profile["email"] == ada
    async with as_owner(engine) as connection:
        [entry] = (await connection.execute(audit.select().where(audit.c.action == "export"))).all()
    assert entry.subject == f"customer:{profile['customer_id']}"


async def test_an_erasure_is_answered_by_a_receipt_and_put_on_record(api, ada, engine, store):
    """Without runs Temporal is not needed; neither the receipt nor the audit log names the person."""
    answer = await api.delete(f"/api/v1/customers/{ada}")

    assert answer.status_code == 200
    receipt = Notary([SECRET]).verified(answer.text)
    async with as_owner(engine) as connection:
        [entry] = (await connection.execute(audit.select().where(audit.c.action == "erase"))).all()
    assert (entry.action, entry.subject, entry.by) == ("erase", f"customer:{receipt.customer_id}", receipt.by)
    assert not re.search(r"\bada\b", f"{answer.text} {entry}"), "as a word: ids are hexadecimal, and so is she"
    assert (await api.get(f"/api/v1/customers/{ada}/export")).status_code == 404
    with pytest.raises(NotFound):
        await reports.journeys_of(engine, store.store_id, "ada")


async def test_a_receipt_that_was_changed_is_not_genuine(api, ada):
    """Nobody can make an erasure younger, or another's."""
    receipt = (await api.delete(f"/api/v1/customers/{ada}")).json()

    for change in ({"erased_at": "2020-01-01T00:00:00Z"}, {"runs_ended": 7}, {"signature": ""}, {"signature": "ä"}):
        with pytest.raises(InvalidInput, match="receipt"):
            Notary([SECRET]).verified(json.dumps(receipt | change))
    assert Notary(["another-secret-in-front", SECRET]).verified(json.dumps(receipt))


async def test_while_temporal_is_down_nothing_is_erased(api, ada, engine, clock, store):
    """Half an erasure would leave runs that nobody can end."""
    customer_id, _ = await reports.journeys_of(engine, store.store_id, ada)
    row = {
        "store_id": store.store_id, "run_id": new_id(), "workflow_id": f"mugs/welcome/{customer_id}",
        "journey": "welcome", "customer_id": customer_id, "plan_version": 0, "since": clock(), "begun_at": clock(),
        "expires_at": clock() + timedelta(days=1),
    }  # fmt: skip
    async with as_owner(engine) as connection:
        await connection.execute(insert(runs).values(row))

    answer = await api.delete(f"/api/v1/customers/{ada}")

    assert answer.status_code == 503
    assert (await api.get(f"/api/v1/customers/{ada}/export")).status_code == 200
    async with as_owner(engine) as connection:
        assert (await connection.execute(audit.select().where(audit.c.action == "erase"))).all() == []


async def test_nobody_else_may_ask(api, ada, store):
    """A write key is public: it neither reads nor erases; and nobody is found who is not there."""
    for headers, status in (({"Authorization": f"Bearer {store.write_key}"}, 403), ({"Authorization": ""}, 401)):
        assert (await api.get(f"/api/v1/customers/{ada}/export", headers=headers)).status_code == status
        assert (await api.delete(f"/api/v1/customers/{ada}", headers=headers)).status_code == status
    assert (await api.delete("/api/v1/customers/nobody@example.com")).status_code == 404
    assert (await api.get("/api/v1/customers/nobody@example.com/export")).status_code == 404
