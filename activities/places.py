"""Places for attempts that are part of a run's own task: whoever finds none takes its turn in the queue.

Such an attempt keeps a workflow task of its worker, and those are few: were all of them with a mail server that hangs,
no run would hear of a purchase. The SDK has a limit of its own, but whoever waits for that waits without end
(its schedule-to-start timeout counts only when a place is free).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity

from domain.errors import PlacesTaken

_PATIENCE = timedelta(seconds=5)


class Places:
    """A number of places.

    Args:
        count: How many attempts may be local at a time. Fewer than the workflow tasks of the worker.
        patience: How long to wait for one. After nobody got one for so long, nobody waits until one is free again.
    """

    def __init__(self, count: int, patience: timedelta = _PATIENCE) -> None:
        self._free = asyncio.Semaphore(count)
        self._patience = patience
        self._stuck = False

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Take a place for as long as the block runs; an attempt that comes from the queue needs none.

        Raises:
            PlacesTaken: There is none.
        """
        if not activity.info().is_local:
            yield
            return
        if self._stuck:
            raise PlacesTaken
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                await self._free.acquire()
        except TimeoutError:
            self._stuck = True
            raise PlacesTaken from None
        try:
            yield
        finally:
            self._stuck = False
            self._free.release()
