"""The door serves the tracking calls, and nobody can tell it from the routes that document them."""

import gzip

import httpx
import pytest
from fastapi import FastAPI

from api.keys import LimitFields

GOOD = b'{"event": "Seen", "userId": "u1", "type": "track", "messageId": "m1"}'
CASES = {
    "a good event": ("/v1/track", GOOD, {}),
    "under a short name": ("/v1/t/", GOOD, {}),
    "packed": ("/v1/track", gzip.compress(GOOD), {}),
    "a batch": ("/v1/batch", b'{"batch": [%s]}' % GOOD, {}),
    "a batch with a bad one": ("/v1/batch", b'{"batch": [%s, {"type": "track"}]}' % GOOD, {}),
    "no name": ("/v1/track", b'{"userId": "u1"}', {}),
    "no JSON": ("/v1/track", b"{", {}),
    "a body that is too large": ("/v1/track", b'{"event": "%s"}' % (b"x" * (40 << 10)), {}),
    "an unknown encoding": ("/v1/track", GOOD, {"Content-Encoding": "br"}),
    "no key": ("/v1/track", GOOD, {"Authorization": ""}),
    "a wrong key": ("/v1/track", GOOD, {"Authorization": "Bearer no"}),
}

UNREAD = {"no JSON", "a body that is too large"}
"""Refused before anybody looked at a key."""


@pytest.mark.parametrize("case", CASES)
async def test_the_door_answers_as_the_documented_routes_do(app, client, store, case):
    """Status, body and header fields, so that the OpenAPI document is true of what is served."""
    path, body, fields = CASES[case]
    routes = LimitFields(FastAPI.build_middleware_stack(app))

    async def documented(scope, receive, send):
        await routes({**scope, "app": app}, receive, send)

    transport = httpx.ASGITransport(documented)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", auth=client.auth) as routed:
        expected = await _post(routed, path, body, fields)
    answer = await _post(client, path, body, fields)

    assert (answer.status_code, answer.json()) == (expected.status_code, expected.json())
    assert set(answer.headers.items()) - _told(answer) == set(expected.headers.items()) - _told(expected)
    assert ("ratelimit" in answer.headers) == (answer.status_code not in {401, 415} and case not in UNREAD)


async def test_a_defect_behind_the_door_is_a_plain_500(app, client, monkeypatch):
    """Nothing of what went wrong is told, and the client sends it again."""

    async def defect(events):
        raise ZeroDivisionError("u1 cannot be divided")

    monkeypatch.setattr(app.state.services.events, "accept", defect)
    answer = await client.post("/v1/track", content=GOOD)

    assert (answer.status_code, answer.json()["code"]) == (500, "error")
    assert "u1" not in answer.text


def _told(answer: httpx.Response) -> set[tuple[str, str]]:
    """Return what differs from one request to the next."""
    return {(name, value) for name, value in answer.headers.items() if name == "ratelimit"}


async def _post(client: httpx.AsyncClient, path: str, body: bytes, fields: dict[str, str]) -> httpx.Response:
    auth = httpx.USE_CLIENT_DEFAULT if "Authorization" not in fields else None
    return await client.post(path, content=body, headers=fields, auth=auth)
