"""G7 over HTTP: every endpoint there is, asked for one store's things with another store's keys, finds nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import stores
from adapters.postgres.keys import KeyStore
from adapters.postgres.tables import metadata
from domain.access import ADMIN_KEY, WRITE_KEY
from domain.events import Who
from domain.message import StoreCard
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import Shop, SteppedClock
from worker.router import Router

MARKS = ("ada@mugs.test", "Augusta", "Teapot", "cart-reminder", "MUGS10")
"""What only this store knows: it stands in no request, so it may stand in no answer."""
OPEN = ("/api/health", "/sourceConfig")
"""Without a key, and the same for everybody."""


MugsHas = Callable[[], Awaitable[dict[str, list[str]]]]


@dataclass(frozen=True)
class Known:
    """The ids of mugs' things: whatever another store may have learned or guessed."""

    customer_id: str
    run_id: str
    workflow_id: str
    message_id: str
    key_id: str

    def values(self, name: str, key: str) -> list[str]:
        """Name things for a parameter of a path; a new parameter has to be named here."""
        return {
            "customer": [self.customer_id, "ada", "b-1"],
            "user_id": [self.customer_id, "ada", "b-1"],
            "run": [self.run_id, self.workflow_id],
            "key": [key],
            "key_id": [self.key_id],
        }[name]

    def body(self) -> dict[str, Any]:
        """Name everything that a call can name."""
        properties = {
            "order_id": "o-1", "product_id": "pot", "message_id": self.message_id, "customer_id": self.customer_id,
            "products": [{"product_id": "pot", "quantity": 1, "price": 1}], "duration": 9, "cart_id": "c-1",
        }  # fmt: skip
        call = {
            "type": "track", "event": "Order Completed", "userId": "ada", "anonymousId": "b-1", "messageId": "m-1",
            "previousId": "ada", "groupId": "g", "name": "x", "properties": properties, "traits": {"locale": "xx"},
            "because": "x", "by": "x", "store_id": "mugs", **properties, "user_id": "ada",
        }  # fmt: skip
        return {**call, "batch": [call]}


@pytest.fixture
async def known(engine: AsyncEngine, store: Shop) -> Known:
    """Mugs, with a customer who has lived: a cart, an order, a run, a message, a consent."""
    mugs, both = Telling(engine, store.store_id), Who(user_id="ada", anonymous_id="b-1")
    identified = {"email": "ada@mugs.test", "firstName": "Augusta", "marketing_consent": True}
    await mugs.apply(
        [
            mugs.event("Product Updated", START, Who(), product_id="pot", name="Teapot", category="tea", stock=5),
            mugs.event(None, START, both, "identify", **identified),
            mugs.event("Product Viewed", START, both, product_id="pot", category="tea"),
            mugs.event("Product Added", START, both, product_id="pot", price=3),
            mugs.event("Order Completed", START, both, order_id="o-1", products=[{"product_id": "pot", "price": 5}]),
        ]
    )
    customer_id = await mugs.customer()
    run, *_ = await mugs.rows(metadata.tables["runs"])
    message_id = await mugs.sent_message(customer_id, START, code="MUGS10")
    key, *_ = [row for row in await mugs.rows(metadata.tables["keys"]) if row.kind == "write"]
    return Known(str(customer_id), str(run.run_id), run.workflow_id, str(message_id), str(key.key_id))


@pytest.fixture
async def pots(engine: AsyncEngine, clock: SteppedClock) -> Shop:
    """The other store, and its keys."""
    keys = KeyStore(engine, clock)
    card = {"name": "Pots", "url": "https://p.test", "currency": "EUR", "sender_email": "p@p.test", "sender_name": "P"}
    await stores.create(engine, StoreCard(store_id="pots", **card), clock(), by="test")
    write, admin = [await keys.create("pots", grant, by="test") for grant in (WRITE_KEY, ADMIN_KEY)]
    return Shop(store_id="pots", write_key=write.secret, admin_key=admin.secret)


@pytest.fixture
async def mugs_has(engine: AsyncEngine) -> MugsHas:
    """Read all that mugs has, as the database's owner."""

    async def read() -> dict[str, list[str]]:
        async with as_owner(engine) as connection:
            return {
                table.name: sorted(
                    str(row) for row in await connection.execute(select(table).filter_by(store_id="mugs"))
                )
                for table in metadata.sorted_tables
            }

    return read


async def calls(
    client: httpx.AsyncClient, app: FastAPI, known: Known, key: str
) -> AsyncIterator[tuple[str, str, httpx.Response]]:
    """Call every operation of the OpenAPI document with a key, once for each way to name what is in its path."""
    for path, methods in app.openapi()["paths"].items():
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        assert len(names) < 2, path
        for method in methods:
            for value in known.values(names[0], key) if names else [""]:
                url = path.replace(f"{{{names[0]}}}", value) if names else path
                body = {"json": known.body()} if method in {"post", "put", "patch"} else {}
                token = {"token": f"{known.message_id.replace('-', '')}.forged"}
                auth = httpx.BasicAuth(key, "")
                yield path, method, await client.request(method, url, params=token, auth=auth, **body)


@pytest.mark.parametrize("kind", ["write", "admin"])
async def test_no_endpoint_finds_anything_with_a_foreign_store_s_key(
    kind: str,
    app: FastAPI,
    anyone: httpx.AsyncClient,
    engine: AsyncEngine,
    known: Known,
    pots: Shop,
    clock: SteppedClock,
    mugs_has: MugsHas,
) -> None:
    """No answer tells anything of the other store, what is named in a path is not found, and nothing of it changes."""
    before = await mugs_has()
    key = pots.admin_key if kind == "admin" else pots.write_key
    asked = 0
    async for path, method, answer in calls(anyone, app, known, key):
        shown = answer.content.decode("latin-1")
        assert not [mark for mark in MARKS if mark in shown], (method, path)
        assert answer.status_code < 500 or path.startswith(OPEN), (method, path, shown)
        if "{" in path and "{key}" not in path and not path.startswith("/track/recommendations"):
            assert answer.status_code == (404 if kind == "admin" else 403), (method, path, shown)
        asked += 1

    class Nobody:
        async def execute(self, store_id: str, command: Any) -> bool:
            assert store_id == "pots"
            return True

    await Router(engine, Nobody(), clock).route_everything()
    assert await mugs_has() == before
    assert asked > 30


async def test_the_same_calls_find_it_with_the_store_s_own_key(
    app: FastAPI, anyone: httpx.AsyncClient, known: Known, store: Shop
) -> None:
    """Else the test above would find nothing for another reason."""
    async for path, method, answer in calls(anyone, app, known, store.admin_key):
        if method == "get" and path.startswith("/api/v1/"):
            assert answer.status_code == 200, (path, answer.text)
            about_a_run = "{" in path and not path.endswith(("/export", "/consents"))
            assert not about_a_run or known.run_id in answer.text, path
