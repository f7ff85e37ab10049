"""The consent ledger over HTTP: what a store shows when somebody asks why they got a mail."""

from datetime import timedelta

import httpx
import pytest

from adapters.postgres.batch import Batch
from adapters.postgres.identities import new_id
from adapters.postgres.routing import route
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from api.app import create_app
from domain.events import Event, Who
from domain.facts import Topic

SAID = [
    ("Newsletter Subscribed", {"source": "footer", "wording": "footer-3"}),
    ("Email Preferences Saved", {"topics": {"promotional_emails": False}}),
]


@pytest.fixture
async def api(database, clock, store):
    app = create_app(Settings(database_url=database, secret_keys="a-secret-for-tests-only"), clock)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api", auth=(store.admin_key, "")) as http,
    ):
        yield http


async def test_a_ledger_is_told_line_by_line_with_its_evidence_and_what_follows_from_it(api, engine, clock, store):
    """Found by the address; oldest first; a word on a topic, and everything else by the word on mail as such."""
    async with as_store(engine, store.store_id) as connection:
        for minute, (name, properties) in enumerate(SAID):
            at = clock() + timedelta(minutes=minute)
            event = Event(
                store_id=store.store_id, id=new_id(), message_id=name, type="track", name=name,
                who=Who(email="ada@example.com"), at=at, received_at=at,
                payload={"properties": properties, "context": {"ip": "192.0.2.7", "userAgent": "Browser/1.0"}},
            )  # fmt: skip
            await route(connection, event, at, Batch())
    answer = await api.get("/api/v1/customers/ada@example.com/consents")
    told = answer.json()

    assert answer.status_code == 200
    assert told["allowed"] == {topic.value: topic is not Topic.PROMOTIONS for topic in Topic}
    assert told["awaiting"] == []
    assert [(line["topic"], line["granted"], line["source"], line["wording"]) for line in told["ledger"]] == [
        ("marketing_emails", True, "footer", "footer-3"),
        ("promotional_emails", False, "preferences", None),
    ]
    assert {(line["channel"], line["ip"], line["user_agent"]) for line in told["ledger"]} == {
        ("email", "192.0.2.7", "Browser/1.0")
    }


async def test_only_the_store_itself_reads_it(api, store):
    """With its admin key; of a customer that it has."""
    path = "/api/v1/customers/ada@example.com/consents"

    assert (await api.get(path)).status_code == 404
    assert (await api.get(path, auth=(store.write_key, ""))).status_code == 403
