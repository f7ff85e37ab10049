"""The official Python clients, unmodified and in their default settings, against the running API.

A small wrapper in front of the API plays a bad day: down, too busy, an answer lost after the commit, then well.
"""

import asyncio
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI
from rudderstack.analytics.client import Client as Rudder
from segment.analytics.client import Client as Segment
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from api.app import create_app, system_clock
from domain.access import WRITE_KEY


class BadDay:
    """Fails the first requests of each client in several ways, then passes everything on."""

    FAULTS = ("down", "busy", "answer lost")

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.seen: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        client = headers[b"authorization"].decode()
        self.seen[client] += 1
        fault = self.FAULTS[self.seen[client] - 1] if self.seen[client] <= len(self.FAULTS) else None
        if fault == "down":
            await JSONResponse({}, 503)(scope, receive, send)
        elif fault == "busy":
            await JSONResponse({}, 429, {"Retry-After": "1"})(scope, receive, send)
        elif fault == "answer lost":
            await self.app(scope, receive, _nowhere)
            await JSONResponse({}, 503)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


async def _nowhere(message: object) -> None:
    """Lose an answer."""


@pytest.fixture
def bad_day(settings, store) -> Iterator[tuple[str, BadDay]]:
    """The API on a real socket, behind the wrapper."""
    wrapped = BadDay(create_app(settings, system_clock))
    server = uvicorn.Server(uvicorn.Config(wrapped, port=0, log_level="error", lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", wrapped
    server.should_exit = True
    thread.join(10)


def _use_segment(host: str, key: str, failures: list[object]) -> None:
    client = Segment(key, host=host, on_error=lambda error, items: failures.append((error, items)))
    client.identify("u-1", {"email": "ann@example.com"}, anonymous_id="browser")
    client.track("u-1", "Product Added", {"product_id": "mug", "price": 12.5})
    client.page(None, None, "Home", {"url": "https://mugs.test/"}, anonymous_id="browser")
    client.screen("u-1", None, "Cart")
    client.group("u-1", "wholesale", {"name": "Wholesale"})
    client.alias("browser", "u-1")
    client.track(42, "Order Completed", {"order_id": "1001"})
    client.flush()
    client.join()


def _use_rudder(host: str, key: str, failures: list[object]) -> None:
    client = Rudder(key, host=host, on_error=lambda error, items: failures.append((error, items)))
    client.identify("u-2", {"email": "bob@example.com"})
    client.track("u-2", "Product Added", {"product_id": "mug", "price": 12.5})
    client.page("u-2", None, "Home")
    client.screen("u-2", None, "Cart")
    client.group("u-2", "wholesale")
    client.alias("browser-2", "u-2")
    client.flush()
    client.join()


async def test_official_clients_store_every_event_once_through_a_bad_day(bad_day, app, stored):
    """503, then 429 with Retry-After, then an answer lost after the commit, then 200: each event is stored once."""
    host, wrapped = bad_day
    keys = app.state.services.keys
    segment, rudder = [await keys.create("mugs", WRITE_KEY, by="test") for _ in range(2)]
    failures: list[object] = []
    await asyncio.gather(
        asyncio.to_thread(_use_segment, host, segment.secret, failures),
        asyncio.to_thread(_use_rudder, host, rudder.secret, failures),
    )

    assert failures == []
    assert all(count >= 4 for count in wrapped.seen.values())
    assert len(wrapped.seen) == 2
    events = await stored()
    kinds = Counter((event.type, event.user_id) for event in events)
    six = ("identify", "track", "page", "screen", "group", "alias")
    expected = {(kind, user): 1 for user in ("u-1", "u-2") for kind in six}
    del expected["page", "u-1"]
    assert kinds == {**expected, ("page", None): 1, ("track", "42"): 1}
    assert {event.email for event in events if event.type == "identify"} == {"ann@example.com", "bob@example.com"}


async def test_a_client_gives_up_at_once_what_can_never_be_stored(bad_day, app, stored):
    """A 400 is final for both clients: nothing is repeated, and the rule reaches the caller."""
    host, wrapped = bad_day

    keys = app.state.services.keys
    failures: list[str] = []
    for maker in (Segment, Rudder):
        key = (await keys.create("mugs", WRITE_KEY, by="test")).secret
        wrapped.seen["Basic " + b64encode(f"{key}:".encode()).decode()] = len(BadDay.FAULTS)
        client = maker(key, host=host, on_error=lambda error, _items: failures.append(str(error)))
        client.track("u-1", "Bad\0Name")
        client.track("u-1", "Good")
        await asyncio.to_thread(client.flush)
        await asyncio.to_thread(client.join)

    assert len(failures) == 2
    assert all("event: must not contain the NUL character" in failure for failure in failures)
    assert [event.name for event in await stored()] == ["Good", "Good"]
    assert set(wrapped.seen.values()) == {len(BadDay.FAULTS) + 1}
