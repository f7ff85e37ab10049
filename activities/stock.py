"""Release a wave of the customers who wait for a product.

A wave may be a hundred thousand. It is told by the handful, and each is noted down before the next: a crash tells
one handful again.
"""

import asyncio

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeats import progress
from domain.ports import Clock, Runs, Waitlist
from domain.values import Value

AT_ONCE = 50
"""Runs that are told side by side."""


class WaveRequest(Value):
    """Which product, and how many customers per unit in stock."""

    store_id: str
    product_id: str
    ratio: float


class WaveResult(Value):
    """How many were told now, and how many still wait."""

    told: int
    waiting: int


class ReleaseWave:
    """Tell the next customers in line that the product is back."""

    def __init__(self, waitlist: Waitlist, runs: Runs, clock: Clock) -> None:
        self._waitlist = waitlist
        self._runs = runs
        self._clock = clock

    @activity.defn(name="release-wave")
    async def release(self, request: WaveRequest) -> WaveResult:
        """Choose a wave, or what is left of one that was begun, tell its runs, and note that they were told.

        Raises:
            ApplicationError: Retryable: the database or Temporal is down, or this worker ends.
        """
        before = sum(activity.info().heartbeat_details[:1])
        with as_application_errors():
            wave = await self._waitlist.next_wave(request.store_id, request.product_id, request.ratio, self._clock())
            told, fact = 0, wave.fact
            while fact is not None and (handful := wave.workflow_ids[told : told + AT_ONCE]):
                if told:
                    progress(before + told)
                await asyncio.gather(*(self._runs.tell(workflow_id, fact) for workflow_id in handful))
                await self._waitlist.wave_told(request.store_id, fact, handful, self._clock())
                told += len(handful)
            return WaveResult(told=before + told, waiting=wave.waiting)
