"""Faults: what is done to the stack, when and for how long, drawn from the seed; and doing it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from chaos.sink import Mood
from chaos.stage import SINK, Stage

KILLED = ("api", "router", "worker", "temporal", "postgres", SINK)
"""Parts that are killed by SIGKILL, and started again."""
_MOODS = {
    "mail server says 4xx": Mood.BUSY,
    "mail server refuses connections": Mood.DEAF,
    "mail server breaks off": Mood.BROKEN,
}
KINDS = (*(f"kill -9 {part}" for part in KILLED), *_MOODS)


@dataclass(frozen=True)
class Fault:
    """Something that happens to the stack; seconds.

    Attributes:
        after: After the last fault was over.
        lasts: Before what was killed is started again, or the mail server is itself again.
    """

    kind: str
    after: float
    lasts: float


def drawn(seed: int, rounds: int, pace: float = 1.0) -> list[Fault]:
    """Draw a fault for each round; no kind comes again before all others had their turn.

    Args:
        seed: The same seed gives the same faults.
        rounds: How many.
        pace: What each time is multiplied by.
    """
    random = Random(f"{seed}:faults")

    def kinds() -> Iterator[str]:
        while True:
            yield from random.sample(KINDS, len(KINDS))

    return [Fault(kind, random.uniform(0.3, 4) * pace, random.uniform(0, 3) * pace) for kind in islice(kinds(), rounds)]


async def strike(stage: Stage, fault: Fault) -> None:
    """Wait for the moment, do it, and make it good again."""
    await asyncio.sleep(fault.after)
    if fault.kind in _MOODS:
        stage.mood(_MOODS[fault.kind])
        await asyncio.sleep(fault.lasts)
        stage.mood(Mood.OPEN)
        return
    part = fault.kind.removeprefix("kill -9 ")
    await asyncio.to_thread(stage.kill, part)
    await asyncio.sleep(fault.lasts)
    await asyncio.to_thread(stage.start, part)
