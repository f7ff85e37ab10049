"""An activity of hours tells how far it is, and hands over when its worker is told to end."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import heartbeats
from activities.heartbeats import progress


def test_progress_is_told_and_nothing_else_while_the_worker_goes_on() -> None:
    """The details are what the next attempt would find."""
    environment, beats = ActivityEnvironment(), []
    environment.on_heartbeat = lambda *details: beats.append(details)
    environment.run(progress, {"done": 50})

    assert beats == [({"done": 50},)]


def test_a_worker_that_is_told_to_end_does_not_wait_for_hours() -> None:
    """What was reached is told first; the failure is one that is tried again, elsewhere."""
    environment = ActivityEnvironment()
    beats: list[Any] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    environment.worker_shutdown()
    with pytest.raises(ApplicationError) as handed_over:
        environment.run(progress, {"done": 50})

    assert beats == [({"done": 50},)]
    assert not handed_over.value.non_retryable


async def test_the_worker_is_said_to_live_for_as_long_as_an_activity_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat after beat, and none once it is over: Temporal waits for three of them (workflows/sending.py)."""
    monkeypatch.setattr(heartbeats, "INTERVAL", timedelta(milliseconds=5))
    environment, beats, third = ActivityEnvironment(), [], asyncio.Event()

    def on_heartbeat(*details: object) -> None:
        beats.append(details)
        if len(beats) == 3:
            third.set()

    async def long() -> int:
        with heartbeats.heartbeats():
            async with asyncio.timeout(30):
                await third.wait()
        return len(beats)

    environment.on_heartbeat = on_heartbeat
    heard = await environment.run(long)
    await asyncio.sleep(0.05)

    assert heard >= 3
    assert len(beats) == heard


async def test_a_quick_activity_sends_no_heartbeat() -> None:
    """Each is a billed action."""
    environment, beats = ActivityEnvironment(), []
    environment.on_heartbeat = lambda *details: beats.append(details)

    async def quick() -> None:
        with heartbeats.heartbeats():
            await asyncio.sleep(0)

    await environment.run(quick)

    assert beats == []
