"""What requests keep in memory: while they wait, what is written of them; afterwards nothing."""

import asyncio
import base64
import gc
import json

import psycopg
import pytest

TOLD = {"type": "track", "event": "Seen", "userId": "u-1", "properties": {"teapots": ["small", "large"]}}
CALLS = {"/v1/track": TOLD, "/v1/batch": {"batch": [TOLD, TOLD]}}


@pytest.mark.parametrize("path", CALLS)
async def test_while_a_commit_is_waited_for_nothing_is_held_of_what_was_read(client, stored, settings, path):
    """What a body is read into is several times as much as it, and a thousand requests wait at a time."""
    body = json.dumps(CALLS[path]).encode()
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url) as blocker:
        await blocker.execute("lock table events in access exclusive mode")
        request = asyncio.create_task(client.post(path, content=body))
        async with (
            await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as watcher,
            asyncio.timeout(30),
        ):
            query = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            while not (await watcher.execute(query)).rowcount:
                await asyncio.sleep(0.01)
        held = [found for found in gc.get_objects() if type(found) is dict and "teapots" in found]
        assert [found is TOLD["properties"] for found in held] == [True]
    assert (await request).status_code == 200
    assert all(event.payload["properties"] == TOLD["properties"] for event in await stored())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/track", TOLD, 200),
        ("/v1/batch", {"batch": [TOLD, TOLD]}, 200),
        ("/v1/batch", {"batch": [TOLD, {"type": "track"}]}, 400),
        ("/v1/track", {"event": 7}, 400),
    ],
)
async def test_a_request_is_forgotten_without_the_garbage_collector(app, store, path, body, status):
    """It is told to look so seldom (`adapters.garbage.UNDER_WAY`) that cycles would pile up."""
    login = base64.b64encode(f"{store.write_key}:".encode())
    content = json.dumps(body).encode()

    async def ask() -> int:
        told = []

        async def receive():
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message):
            told.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(b"authorization", b"Basic " + login)], "client": ("192.0.2.1", 1), "server": ("api", 80),
        }  # fmt: skip
        await app(scope, receive, send)
        return told[0]["status"]

    assert await ask() == status
    gc.collect()
    gc.disable()
    try:
        assert [await ask() for _ in range(40)] == [status] * 40
        assert gc.collect() < 40
    finally:
        gc.enable()
