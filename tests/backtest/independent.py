"""What the definitions say must come out, computed event by event, without a line of ours.

Definitions: cart abandonment and win-back as in docs/backtesting.md ("What is counted").
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple


class Seen(NamedTuple):
    """One recorded event: `cart`, `buy`, or anything else."""

    at: datetime
    user: str
    kind: str


def end_of(events: Iterable[Seen]) -> datetime:
    """The data ends with its last event, whatever that is."""
    return max(event.at for event in events)


def abandonments(events: list[Seen], quiet: timedelta) -> dict[str, int]:
    """Count what becomes of every cart event: fired, cancelled, restarted or still open."""
    counts = {"fired": 0, "cancelled": 0, "restarted": 0, "open": 0}
    end = end_of(events) if events else None
    for theirs in _by_user(events, ("cart", "buy")).values():
        started: datetime | None = None
        # At the same instant the cart comes first.
        for event in sorted(theirs, key=lambda e: (e.at, e.kind == "buy")):
            if started is not None and started + quiet <= event.at:  # at exactly the quiet time it has fired
                counts["fired"] += 1
                started = None
            if event.kind == "cart":
                counts["restarted"] += started is not None
                started = event.at
            elif started is not None:
                counts["cancelled"] += 1
                started = None
        if started is not None and end is not None:
            counts["fired" if started + quiet <= end else "open"] += 1
    assert sum(counts.values()) == sum(event.kind == "cart" for event in events)
    return counts


def lapses(events: list[Seen], silence: timedelta) -> int:
    """Count the gaps between orders longer than the silence, and the customers silent for longer at the end."""
    triggers = 0
    for theirs in _by_user(events, ("buy",)).values():
        orders = sorted(event.at for event in theirs)
        triggers += sum(later - earlier > silence for earlier, later in pairwise(orders))
        triggers += end_of(events) - orders[-1] > silence
    return triggers


def _by_user(events: Iterable[Seen], kinds: tuple[str, ...]) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = defaultdict(list)
    for event in events:
        if event.kind in kinds:
            found[event.user].append(event)
    return found
