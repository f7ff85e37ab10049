"""The codec server: Temporal's UI and CLI may read what an operator of the store may read, and nothing else."""

import base64
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import WorkflowSerializationContext

from adapters.master_keys import MasterKeys
from adapters.postgres.customer_keys import CustomerKeys, Owner, destroy
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from adapters.temporal.codec import CustomerCodec
from api.app import create_app
from domain import ids

MASTER = "a-master-key-of-more-than-32-letters"
UI = "http://127.0.0.1:8233"
ADA = UUID("0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a10")
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"ada@example.com"')


@pytest.fixture
async def api(database, clock, store) -> AsyncIterator[httpx.AsyncClient]:
    """An API that encrypts, and whose Temporal UI is known."""
    settings = Settings(
        database_url=database, secret_keys="a-secret-for-tests-only", master_keys=MASTER, temporal_ui_url=UI + "/"
    )
    app = create_app(settings, clock)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield http


@pytest.fixture
def keys(engine, clock) -> CustomerKeys:
    return CustomerKeys(engine, MasterKeys([MASTER]), clock)


async def encrypted(keys: CustomerKeys, store_id: str = "mugs") -> dict:
    """A payload of a run, as Temporal shows it to a codec server."""
    workflow = ids.workflow_id(store_id, "welcome", ADA)
    context = WorkflowSerializationContext(namespace="default", workflow_id=workflow)
    [payload] = await CustomerCodec(keys).with_context(context).encode([PLAIN])
    return MessageToDict(Payloads(payloads=[payload]))


async def test_an_operator_reads_what_the_runs_of_the_store_say(api, keys, store):
    """As Temporal's UI asks, with its header and a bearer token or the browser's own basic authentication."""
    body, headers = await encrypted(keys), {"X-Namespace": "default"}

    for auth in ({"Authorization": f"Bearer {store.admin_key}"}, {"Authorization": basic(store.admin_key)}):
        answer = await api.post("/codec/decode", json=body, headers={**headers, **auth})

        assert answer.status_code == 200
        assert base64.b64decode(answer.json()["payloads"][0]["data"]) == PLAIN.data


async def test_nobody_else_reads_anything(api, keys, store):
    """Not without a key, and not with one that only sends events."""
    body = await encrypted(keys)

    for key, status in (("", 401), (basic("guessed"), 401), (basic(store.write_key), 403)):
        headers = {"Authorization": key}
        assert (await api.post("/codec/decode", json=body, headers=headers)).status_code == status
        assert (await api.get("/codec", headers=headers)).status_code == status


async def test_another_stores_payloads_go_back_as_they_came(api, keys, store):
    """The key of one store opens nothing of another."""
    body = await encrypted(keys, "cups")

    answer = await api.post("/codec/decode", json=body, headers={"Authorization": f"Bearer {store.admin_key}"})

    assert (answer.status_code, answer.json()) == (200, body)


async def test_an_erased_customers_payloads_go_back_as_they_came(api, keys, store, engine, clock):
    """The page of an erased run still loads, and shows noise."""
    body = await encrypted(keys)
    async with as_store(engine, "mugs") as connection:
        await destroy(connection, [Owner(store_id="mugs", customer_id=ADA)], clock())

    answer = await api.post("/codec/decode", json=body, headers={"Authorization": f"Bearer {store.admin_key}"})

    assert (answer.status_code, answer.json()) == (200, body)


@pytest.mark.parametrize("body", ['{"payloads": 1}', "[]", "no json"])
async def test_nonsense_is_a_bad_request(api, store, body):
    """Whoever sends something else is told so."""
    answer = await api.post("/codec/decode", content=body, headers={"Authorization": f"Bearer {store.admin_key}"})

    assert answer.status_code == 400


async def test_only_the_pages_of_our_temporal_ui_may_ask(api):
    """A browser asks first whether it may: with credentials, from the one origin of the settings."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-namespace"}

    ours = await api.options("/codec/decode", headers={"Origin": UI, **asked})
    theirs = await api.options("/codec/decode", headers={"Origin": "https://evil.example", **asked})

    assert ours.status_code == 200
    assert ours.headers["Access-Control-Allow-Origin"] == UI
    assert ours.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Access-Control-Allow-Origin" not in theirs.headers


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()
