"""The hand-out of lanes: which are worked on next, and which of them together.

What a transaction costs by itself is shared by the events in it. Lanes in which little waits are therefore worked on
together, by the handful; one in which much waits is a handful by itself, so that several routers share the work.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

HANDFUL = 100
"""Events enough that what their transaction costs by itself is little beside them."""
AT_ONCE = 8
"""Handfuls that a router works on side by side."""


def handfuls(waiting: Mapping[int, int]) -> Iterator[list[int]]:
    """Group lanes, in their order, so that enough events wait in each group.

    Args:
        waiting: How many events wait in each lane.
    """
    lanes: list[int] = []
    events = 0
    for lane, more in waiting.items():
        if lanes and events + more > HANDFUL:
            yield lanes
            lanes, events = [], 0
        lanes.append(lane)
        events += more
    if lanes:
        yield lanes


class HandOut:
    """Lanes under way, lanes that were found waiting, and lanes that were tried in vain."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Mapping[int, int]]],
        drain: Callable[[Collection[int]], Awaitable[Collection[int]]],
        left: Callable[[], None],
    ) -> None:
        """Wire the hand-out.

        Args:
            look: Looks for lanes with something to do; the first has waited longest.
            drain: Works on lanes, and returns those in which it got on.
            left: Is told whenever lanes were left.
        """
        self._look, self._drain, self._left = look, drain, left
        self._found: deque[list[int]] = deque()
        self._tried: set[int] = set()
        self._under_way: dict[asyncio.Task[Collection[int]], list[int]] = {}

    @property
    def tasks(self) -> Collection[asyncio.Task[Collection[int]]]:
        """What is under way."""
        return self._under_way.keys()

    @property
    def has_found(self) -> bool:
        """Whether lanes wait for their turn that need not be looked for."""
        return bool(self._found)

    def try_again(self) -> None:
        """Try all lanes again, also those that were tried in vain."""
        self._tried.clear()

    async def go_on(self) -> None:
        """Begin with as many lanes as may be worked on at once; whoever leaves some has us called again.

        A look reads all that waits, so each serves all lanes that it finds.
        """
        if not self._found and len(self._under_way) < AT_ONCE:
            free = {lane: events for lane, events in (await self._look()).items() if self._is_free(lane)}
            self._found.extend(handfuls(free))
            if not free:
                self._tried.clear()
        while self._found and len(self._under_way) < AT_ONCE:
            lanes = [lane for lane in self._found.popleft() if self._is_free(lane)]
            if lanes:
                task = asyncio.ensure_future(self._drain(lanes))
                self._under_way[task] = lanes
                task.add_done_callback(self._done)

    def _is_free(self, lane: int) -> bool:
        """Tell whether a lane may be begun with.

        One that another router owns, or that fails, lets the others have their turn before it is tried again.
        """
        return lane not in self._tried and not any(lane in lanes for lanes in self._under_way.values())

    def _done(self, task: asyncio.Task[Collection[int]]) -> None:
        got_on = () if task.cancelled() else task.result()
        self._tried.update(lane for lane in self._under_way.pop(task) if lane not in got_on)
        self._left()
