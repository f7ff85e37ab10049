"""The replay: sends the shop's events to the API as they happen, the way a Segment client would."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx

from cli.demo.shop import TimedEvent
from domain.errors import JourneysError, Unavailable
from domain.ports import Clock

_BATCH = 50
_GATHER = 0.1
"""Seconds between two batches, so that events travel together."""
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_PATIENCE = timedelta(seconds=30)


class Replay:
    """A client that sends events in order, one batch at a time, and repeats a batch until it is answered.

    Attributes:
        acknowledged: When each event was answered with success, by its `messageId`.
    """

    def __init__(self, client: httpx.AsyncClient, write_key: str, clock: Clock) -> None:
        self.acknowledged: dict[str, datetime] = {}
        self._client = client
        self._auth = httpx.BasicAuth(write_key, "")
        self._clock = clock

    async def play(self, events: Sequence[TimedEvent], day: timedelta) -> None:
        """Send the events, oldest first, each when its time has come; a slow API makes the batches larger.

        Args:
            events: Ordered by `at_day`.
            day: How long a day takes.

        Raises:
            Unavailable: The API did not take a batch for half a minute.
            JourneysError: The API found fault with an event.
        """
        begun = self._clock()
        waiting = deque(events)
        while waiting:
            now = self._clock()
            batch: list[dict[str, Any]] = []
            while waiting and len(batch) < _BATCH and begun + waiting[0].at_day * day <= now:
                batch.append(waiting.popleft().body)
            if batch:
                await self._send(_stamped(batch, now))
            if waiting:
                due = (begun + waiting[0].at_day * day - self._clock()).total_seconds()
                await asyncio.sleep(max(due, 0.0 if len(batch) == _BATCH else _GATHER))

    async def _send(self, batch: list[dict[str, Any]]) -> None:
        give_up = self._clock() + _PATIENCE
        pause = 0.25
        while True:
            trouble = await self._post(batch)
            if trouble is None:
                break
            if self._clock() > give_up:
                raise Unavailable(f"the API took no events for {_PATIENCE.seconds} s: {trouble}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 4.0)
        answered = self._clock()
        self.acknowledged.update((event["messageId"], answered) for event in batch)

    async def _post(self, batch: list[dict[str, Any]]) -> str | None:
        """Send a batch; return what kept the API from taking it, if it is worth another try."""
        try:
            body = {"batch": batch, "sentAt": self._clock().isoformat()}
            answer = await self._client.post("/v1/batch", json=body, auth=self._auth)
        except httpx.TransportError as problem:
            return type(problem).__name__
        if answer.status_code in _TRY_AGAIN:
            return f"HTTP {answer.status_code}"
        if answer.status_code != 200 or answer.json() != {"success": True}:
            raise JourneysError(f"the API refused events of the demo: HTTP {answer.status_code} {answer.text[:500]}")
        return None


def _stamped(batch: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Give each event its time: now, a microsecond apart, so that correcting for the clock keeps their order."""
    first = now - timedelta(microseconds=len(batch))
    return [event | {"timestamp": (first + timedelta(microseconds=n)).isoformat()} for n, event in enumerate(batch)]
