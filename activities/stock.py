"""Release a wave of the customers who wait for a product."""

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeats import progress
from domain.ports import Clock, Runs, Waitlist
from domain.values import Value


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
        """Choose a wave, tell its runs, note that they were told; a crash tells the same wave again."""
        with as_application_errors():
            wave = await self._waitlist.next_wave(request.store_id, request.product_id, request.ratio, self._clock())
            if wave.fact is not None:
                for told, workflow_id in enumerate(wave.workflow_ids, start=1):
                    await self._runs.tell(workflow_id, wave.fact)
                    progress(told)
                await self._waitlist.wave_told(request.store_id, request.product_id, wave.workflow_ids, self._clock())
            return WaveResult(told=len(wave.workflow_ids), waiting=wave.waiting)
