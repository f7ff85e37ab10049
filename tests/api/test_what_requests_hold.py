"""What requests keep in memory: while they wait, what is written of them; afterwards nothing."""

import asyncio
import gc
import json
import subprocess
import sys

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


_LIKE_AN_API = """
import asyncio, base64, gc, json, sys

from adapters.settings import Settings
from api.app import create_app, system_clock

database, key = sys.argv[1:]
login = b"Basic " + base64.b64encode(f"{key}:".encode())


async def ask(app, path, content):
    told = []

    async def receive():
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message):
        told.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"authorization", login)], "client": ("192.0.2.1", 1), "server": ("api", 80),
    }
    await app(scope, receive, send)
    return told[0]["status"]


async def main():
    app = create_app(Settings(database_url=database, secret_keys="a-secret-for-tests-only"), system_clock)
    async with app.router.lifespan_context(app):
        for path, body in json.load(sys.stdin):
            content = json.dumps(body).encode()
            statuses, left = {await ask(app, path, content)}, []
            for _ in range(3):  # what goes on beside may leave something, but not each time
                gc.collect()
                statuses |= {await ask(app, path, content) for _ in range(40)}
                left.append(gc.collect())
            print(json.dumps([path, *statuses, min(left)]))


gc.disable()
asyncio.run(main())
"""


async def test_forty_requests_are_forgotten_without_the_garbage_collector(store, settings) -> None:
    """It is told to look so seldom (`adapters.garbage.UNDER_WAY`) that cycles would pile up."""
    bodies = [("/v1/track", TOLD), ("/v1/batch", {"batch": [TOLD]}), ("/v1/batch", {"batch": [TOLD, {}]}),
              ("/v1/track", {"event": 7})]  # fmt: skip
    command = [sys.executable, "-c", _LIKE_AN_API, settings.database_url, store.write_key]
    told = await asyncio.to_thread(
        subprocess.run, command, input=json.dumps(bodies), capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("[")]

    assert [(path, status) for path, status, _ in found] == [
        ("/v1/track", 200), ("/v1/batch", 200), ("/v1/batch", 400), ("/v1/track", 400)
    ]  # fmt: skip
    assert max(left for _, _, left in found) < 40
