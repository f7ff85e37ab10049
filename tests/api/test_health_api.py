"""Health, and what the API answers while a part of it is down."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from adapters.settings import Settings
from api.app import create_app
from api.health import Temporal
from domain.errors import ConfigurationError, Unavailable
from testing.inspection import as_owner


async def test_all_parts_answer(anyone):
    """Without a key."""
    for part in ("", "/db", "/engine"):
        answer = await anyone.get(f"/api/health{part}")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_the_queue_tells_what_waits_and_how_long(client, engine, clock):
    """Pending, applied and parked events, and the age of the oldest that is open."""
    empty = (await client.get("/api/health/queue")).json()
    for n in range(4):
        await client.post("/v1/track", json={"event": "X", "userId": "u", "messageId": f"m-{n}"})
    async with as_owner(engine) as connection:
        for number, state in enumerate(["parked", "applied", "routed"]):
            change = text("update events set state = :state where message_id = :message_id")
            await connection.execute(change, {"state": state, "message_id": f"m-{number}"})
    clock.advance(timedelta(seconds=90))
    full = (await client.get("/api/health/queue")).json()

    assert empty == {"status": "ok", "pending": 0, "applied": 0, "parked": 0, "oldest_age_seconds": None}
    assert full == {"status": "ok", "pending": 1, "applied": 1, "parked": 1, "oldest_age_seconds": 90.0}


@pytest.fixture
async def cut_off(clock):
    """The API without a database and without an engine."""

    async def no_engine() -> None:
        raise Unavailable("Temporal does not answer")

    settings = Settings(database_url="postgresql://postgres@127.0.0.1:1/nowhere", secret_keys="a-secret-for-tests-only")
    app = create_app(settings, clock, engine_check=no_engine)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test", auth=("key", "")) as client:
            yield client


async def test_a_fault_of_ours_is_never_the_clients_fault(cut_off):
    """Without a database every call is 503 with Retry-After, so that clients keep their events."""
    event = {"event": "X", "userId": "u"}
    answers = [
        await cut_off.post("/v1/track", json=event),
        await cut_off.post("/v1/batch", json={"batch": [{"type": "track", **event}]}),
        await cut_off.post("/track/view", json={"product_id": "p"}),
        await cut_off.get("/api/v1/customers/u/journeys"),
        await cut_off.get("/api/health/db"),
        await cut_off.get("/api/health/engine"),
        await cut_off.get("/api/health/queue"),
    ]

    assert [answer.status_code for answer in answers] == [503] * 7
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert all(answer.json()["success"] is False for answer in answers)
    assert (await cut_off.get("/api/health")).status_code == 200


async def test_ingest_does_not_need_the_engine(settings, clock, store):
    """Temporal down: events are stored and wait."""

    async def no_engine() -> None:
        raise Unavailable

    app = create_app(settings, clock, engine_check=no_engine)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            engine = await client.get("/api/health/engine")
            stored = await client.post("/v1/track", json={"event": "X", "userId": "u"}, auth=(store.write_key, ""))

    assert (engine.status_code, stored.status_code) == (503, 200)


async def test_an_engine_that_does_not_answer_is_told_within_seconds(monkeypatch):
    """The check of a Temporal that is not there ends; it does not hang with it."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    with pytest.raises(Unavailable):
        await asyncio.wait_for(Temporal()(), timeout=20)


async def test_too_much_at_once_is_429_with_retry_after(app, client, monkeypatch):
    """The one 4xx that clients repeat."""
    events = app.state.services.events
    monkeypatch.setattr(events, "_capacity", 0)
    body = {"event": "X", "userId": "u"}
    answers = await asyncio.gather(*(client.post("/v1/track", json={**body, "messageId": n}) for n in range(20)))
    refused = [answer for answer in answers if answer.status_code == 429]

    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert refused[0].json()["code"] == "overloaded"


async def test_a_defect_shows_no_stack_trace_and_is_worth_a_repeat(app, client, monkeypatch):
    """A plain 500 in our form, readable for browsers."""

    async def broken(_events: object) -> int:
        raise RuntimeError("the inner life of the server")

    monkeypatch.setattr(app.state.services.events, "accept", broken)
    answer = await client.post("/v1/track", json={"event": "X", "userId": "u"}, headers={"Origin": "https://mugs.test"})

    assert answer.status_code == 500
    assert set(answer.json()) == {"success", "code", "message", "errors"}
    assert "inner life" not in answer.text
    assert answer.headers["access-control-allow-origin"] == "*"


def test_the_api_does_not_start_with_settings_that_cannot_work(clock):
    """A missing database or signing secret is told at the start, not at the first event."""
    for wrong in ({"secret_keys": "a-secret-for-tests-only"}, {"database_url": "postgresql://localhost/x"}):
        with pytest.raises(ConfigurationError):
            create_app(Settings(**wrong), clock)
