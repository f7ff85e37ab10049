"""Pauses: when a message that a pause held up may go out. One rule for the gate, and for whoever predicts it.

No policy may end in a burst, so none lets the messages of many customers become due at the same moment.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.operations import OnResume, Pause


class Turn(NamedTuple):
    """When a message is due after the pauses of its journey; a dropped one keeps the time at which it came due."""

    due: datetime
    dropped: bool = False


def after_pauses(run_id: UUID, due: datetime, waited_from: datetime, pauses: Iterable[Pause]) -> Turn:
    """Say what the pauses that are over did to a message.

    `shift` moves everything that waited in the pause by the whole of its length, also what only then began to wait:
    the messages keep their order and their distances. What was overdue before the pause began has no distance left
    to keep, so it is spread.

    Args:
        run_id: Gives each run its own share of a spread.
        due: When the message came due by its plan, or when it was put off to.
        waited_from: When the wait began that ended then.
        pauses: Oldest first; those before the wait, and one that still lasts, count for nothing.
    """
    for pause in pauses:
        if pause.until is None or pause.until <= waited_from:
            continue
        if pause.policy is OnResume.SHIFT and pause.since <= due:
            due += pause.until - pause.since
        elif due < pause.until:
            if pause.policy is OnResume.DROP_OVERDUE:
                return Turn(due, dropped=True)
            due = pause.until + _share(run_id) * pause.over
    return Turn(due)


def _share(run_id: UUID) -> float:
    """Give each run its own even share of a span of time, 0 to 1, without anybody keeping count."""
    return run_id.int % 1_000_003 / 1_000_003
