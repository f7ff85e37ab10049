"""Stock waves: one workflow per product releases the waiting customers, a few per unit in stock at a time.

Each wave reads the stock again, so that a product that sells out in the first hour is not announced to the rest.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.stock import ReleaseWave, WaveRequest
    from domain.commands import ReleaseStock

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


@workflow.defn(name="stock-waves")
class StockWaves:
    """Tell the customers who wait for a product, first come first served, as far as the stock goes."""

    def __init__(self) -> None:
        self._restock: ReleaseStock | None = None

    @workflow.run
    async def run(self, store_id: str) -> int:
        """Release wave after wave until nobody waits or nothing is left; return how many were told."""
        told = 0
        # The start comes with the signal, but the two may be read apart.
        await workflow.wait_condition(lambda: self._restock is not None)
        while (restock := self._restock) is not None:
            self._restock = None
            request = WaveRequest(store_id=store_id, product_id=restock.product_id, ratio=restock.wave_ratio)
            wave = await workflow.execute_activity_method(
                ReleaseWave.release, request, summary="next wave", retry_policy=_RETRY,
                # A large wave takes long, and a worker that died in the middle of one is noticed all the same.
                start_to_close_timeout=timedelta(hours=1), heartbeat_timeout=timedelta(minutes=1),
            )  # fmt: skip
            told += wave.told
            workflow.set_current_details(
                f"- {workflow.now():%Y-%m-%d %H:%M:%S} UTC **{told} told**, {wave.waiting} wait"
            )
            if wave.told and wave.waiting:
                await workflow.sleep(restock.wave_interval, summary="before the next wave")
                self._restock = self._restock or restock
        return told

    @workflow.signal(description="The product can be bought again, or never will be.")
    def restocked(self, command: ReleaseStock) -> None:
        """Record it; a wave under way is followed by another."""
        self._restock = command
