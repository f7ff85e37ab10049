"""No request may cost more than it should: in bytes, in the time it takes to send it, and in the time to answer it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.requests import Request

from api import patience
from api.app import create_app, system_clock
from api.patience import LIMITS, Patience, PromptHead
from domain.errors import TooLarge
from tests.api.routes import every_route

MUCH = 9 << 20


async def asked(app: Any, body: AsyncIterator[bytes], path: str = "/echo", **patience: float) -> httpx.Response:
    """Send a request through the bounds to an application."""
    transport = httpx.ASGITransport(Patience(app, **patience))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        return await client.post(path, content=body)


async def test_every_endpoint_refuses_a_body_that_is_too_large(app):
    """Also those that look at nothing of it, and those that anybody may call: none reads on beyond its limit."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 14
            yield b"x" * (1 << 14)

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        await Request(scope, receive).body()

    paths = {route.path for route in every_route(app)}
    for path in paths:
        sent = 0
        with pytest.raises(TooLarge):
            await asked(reading, endless(), path)
        assert sent <= max(32 << 10, *(size for start, size in LIMITS.items() if path.startswith(start)), 0) + (1 << 14)
    assert {path for path in paths if path.startswith(tuple(LIMITS))} >= {"/v1/batch", "/codec/decode"}


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/track/view", "/webhooks/ses/mugs", "/api/v1/keys"])
async def test_a_body_that_is_too_large_is_413_in_our_form(anyone, store, path):
    """Whether it is an event, a batch, a webhook or an order of an operator."""
    answer = await anyone.post(path, content=b"x" * MUCH, auth=(store.admin_key, ""))

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(anyone, store):
    """By its `Content-Length`."""
    answer = await anyone.post(
        "/v1/batch", content=b"{}", headers={"Content-Length": str(MUCH)}, auth=(store.write_key, "")
    )

    assert answer.status_code == 413


async def test_a_body_that_drips_is_given_up(app):
    """503 and not 4xx: tracking clients send it again, and do not drop it."""
    forever = asyncio.Event()

    async def dripping() -> AsyncIterator[bytes]:
        yield b'{"event": '
        await forever.wait()

    transport = httpx.ASGITransport(Patience(app, body_time=0.05), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        answer = await client.post("/v1/track", content=dripping())

    assert (answer.status_code, answer.json()["code"], "Retry-After" in answer.headers) == (503, "unavailable", True)


async def test_an_answer_that_does_not_come_is_given_up():
    """What hangs behind the API must not hold a connection for ever."""

    async def hanging(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    answer = await asked(hanging, nothing(), answer_time=0.05)

    assert (answer.status_code, answer.json()["success"]) == (503, False)


@pytest.fixture
def server(settings, monkeypatch) -> Iterator[int]:
    """The API on a socket, as its process serves it but less patient."""
    monkeypatch.setattr(patience, "HEAD_TIME", 0.2)
    config = uvicorn.Config(
        create_app(settings, system_clock), port=0, log_level="critical", lifespan="on", ws="none", http=PromptHead
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


async def test_a_connection_whose_head_does_not_come_is_closed(server):
    """At once, in the middle, after an answer, or with a head without an end; a good one is served."""
    good = b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n"

    async def said(*parts: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)
            async with asyncio.timeout(20):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    silent, halting, second, endless = await asyncio.gather(
        said(b""),
        said(b"GET /api/health HTTP/1.1\r\nHost"),
        said(good, b"GET /api/health HTTP/1.1\r\n"),
        said(b"GET /api/health HTTP/1.1\r\n" + b"X-Long: x\r\n" * 5_000),
    )

    assert (silent, halting) == (b"", b"")
    assert second.count(b"HTTP/1.1 200") == 1
    assert endless.startswith(b"HTTP/1.1 400")


async def test_who_keeps_silent_for_longest_makes_room(server, monkeypatch):
    """So many connections may wait for a head; the next one closes the oldest, and whoever speaks is not among them."""
    monkeypatch.setattr(patience, "HEAD_TIME", 60)
    monkeypatch.setattr(PromptHead, "most_silent", 3)
    silent = []
    for _ in range(5):
        silent.append(await asyncio.open_connection("127.0.0.1", server))
        silent[-1][1].write(b"GET /api/health HTTP/1.1\r\nHost: a\r\n")
        await silent[-1][1].drain()

    async with asyncio.timeout(20):
        first = [await reader.read() for reader, _ in silent[:2]]
        for _, writer in silent[2:]:
            writer.write(b"\r\n")
        served = [await reader.readline() for reader, _ in silent[2:]]
    for _, writer in silent:
        writer.close()

    assert (first, {line.split(b" ")[1] for line in served}) == ([b"", b""], {b"200"})
