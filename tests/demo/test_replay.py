"""The replay as a client."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cli.demo.replay import Replay
from cli.demo.shop import TimedEvent
from domain.errors import JourneysError

QUICK = timedelta(seconds=0.05)
EVENTS = [
    TimedEvent(day, {"type": "track", "userId": "1", "event": "Cart Viewed", "messageId": f"m{n}"})
    for n, day in enumerate((0.0, 0.0, 0.5, 2.0))
]


def now() -> datetime:
    return datetime.now(UTC)


def replay(answer: Callable[[httpx.Request], httpx.Response]) -> Replay:
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://api.test")
    return Replay(client, "write_key", now)


async def test_events_are_sent_in_order_each_in_its_time_and_once() -> None:
    """A day of the shop takes as long as it is told; nothing is early, doubled or lost."""
    got: list[tuple[str, datetime, datetime]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        sent = datetime.fromisoformat(body["sentAt"])
        got.extend((e["messageId"], datetime.fromisoformat(e["timestamp"]), sent) for e in body["batch"])
        return httpx.Response(200, json={"success": True})

    begun = now()
    client = replay(answer)
    await client.play(EVENTS, QUICK)
    assert [message_id for message_id, _, _ in got] == ["m0", "m1", "m2", "m3"]
    assert sorted(client.acknowledged) == ["m0", "m1", "m2", "m3"]
    times = [at for _, at, _ in got]
    assert times == sorted(set(times))
    assert all(at <= sent for _, at, sent in got)
    assert all(sent - begun >= event.at_day * QUICK for event, (_, _, sent) in zip(EVENTS, got, strict=True))


@pytest.mark.parametrize("trouble", [429, 503, None])
async def test_a_batch_is_repeated_until_it_is_answered(trouble: int | None) -> None:
    """429, 503 and a lost connection are tried again with the same events; acknowledged is what got its 200."""
    tries: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        tries.append([event["messageId"] for event in json.loads(request.content)["batch"]])
        if len(tries) > 1:
            return httpx.Response(200, json={"success": True})
        if trouble is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(trouble)

    client = replay(answer)
    began = now()
    await client.play(EVENTS[:2], QUICK)
    assert tries == [["m0", "m1"], ["m0", "m1"]]
    assert client.acknowledged.keys() == {"m0", "m1"}
    assert all(began < at <= now() for at in client.acknowledged.values())


async def test_an_event_that_the_api_refuses_ends_the_demo() -> None:
    """A 400 is our mistake: it is said, not repeated."""
    client = replay(lambda _: httpx.Response(400, json={"success": False, "errors": [{"index": 0}]}))
    with pytest.raises(JourneysError, match="400"):
        await client.play(EVENTS, QUICK)
    assert not client.acknowledged
