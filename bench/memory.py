"""The machine's memory: how long a read takes that depends on the one before, near the processor and far from it.

What is measured here differs most from hour to hour on a machine that others use; a figure beside which this stands can
be compared with one of another hour (docs/performance.md).
"""

import random
import time
from array import array

_NEAR, _FAR = 64, 16 * 1024
"""Kilobytes: what every processor's own cache holds, and what none of ours did."""
_READS = 200_000


def read_ns() -> dict[str, float]:
    """Tell how many nanoseconds a step takes that reads where the next one goes: within 64 kB, and within 16 MB.

    Most of the first is Python, which makes the same steps in both.
    """
    return {f"{kilobytes} kB": round(_step_ns(kilobytes), 1) for kilobytes in (_NEAR, _FAR)}


def _step_ns(kilobytes: int) -> float:
    circle, place = circle_through(kilobytes * 1024 // 8), 0
    began = time.perf_counter()
    for _ in range(_READS):
        place = circle[place]
    return (time.perf_counter() - began) / _READS * 1e9


def circle_through(count: int) -> "array[int]":
    """Make places of which each holds the next one: a single circle through all of them, in no order."""
    places = array("q", range(count))
    random.Random(count).shuffle(places)
    circle = array("q", bytes(8 * count))
    for at, place in enumerate(places):
        circle[place] = places[at - 1]
    return circle
