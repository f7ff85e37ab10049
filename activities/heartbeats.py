"""Heartbeats for an activity that takes long, so that a worker that died is noticed; a quick one sends none."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity

INTERVAL = timedelta(seconds=10)
"""Longer than a delivery takes: each heartbeat is a billed action, and the usual message costs none."""


@contextmanager
def heartbeats() -> Iterator[None]:
    """Tell Temporal that the worker lives, for as long as the block runs."""
    task = asyncio.create_task(_beat())
    try:
        yield
    finally:
        task.cancel()


async def _beat() -> None:
    while True:
        await asyncio.sleep(INTERVAL.total_seconds())
        activity.heartbeat()
