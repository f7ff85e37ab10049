"""Heartbeats for an activity that takes long, so that a worker that died is noticed; a quick one sends none."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

INTERVAL = timedelta(seconds=10)
"""Longer than a delivery takes: each heartbeat is a billed action, and the usual message costs none."""


@contextmanager
def heartbeats() -> Iterator[None]:
    """Tell Temporal that the worker lives, for as long as the block runs."""
    # No task: nearly every delivery is over long before the first beat, and a timer costs next to nothing.
    loop = asyncio.get_running_loop()
    due: asyncio.TimerHandle

    def beat() -> None:
        nonlocal due
        activity.heartbeat()
        due = loop.call_later(INTERVAL.total_seconds(), beat)

    due = loop.call_later(INTERVAL.total_seconds(), beat)
    try:
        yield
    finally:
        due.cancel()


def progress(reached: object) -> None:
    """Tell Temporal how far a long activity is; if its worker was told to end, another goes on from there.

    Args:
        reached: What the next attempt finds in its heartbeat details.

    Raises:
        ApplicationError: Retryable: the worker ends, and will not wait for hours.
    """
    activity.heartbeat(reached)
    if activity.is_worker_shutdown():
        raise ApplicationError(
            "the worker ends; another goes on", type="HandedOver", category=ApplicationErrorCategory.BENIGN
        )
