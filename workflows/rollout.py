"""A rollout: one workflow per change, which tells every run of a journey and asks those again that did not hear."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.rollout import RollOut
    from domain.rollouts import Order, Tally

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
# A run may be beginning, ending or sending at this moment; most are reached with the second pass.
_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 4, 8, 16, 32, 60, 300, 900))


@workflow.defn(name="rollout")
class Rollout:
    """Tell the runs under way that their plan has changed, or that their journey goes on."""

    @workflow.run
    async def run(self, order: Order) -> Tally:
        """Go through the runs until all were told, or about 22 minutes is not enough for the rest."""
        tally = await self._told(order)
        for pause in _PAUSES:
            if not tally.later:
                break
            await workflow.sleep(pause, summary="before the others are asked again")
            tally = tally.and_pass(await self._told(order))
        return tally

    async def _told(self, order: Order) -> Tally:
        tally = await workflow.execute_activity_method(
            RollOut.roll_out, order, summary=f"{order.kind} {order.journey}", retry_policy=_RETRY,
            start_to_close_timeout=timedelta(hours=12), heartbeat_timeout=timedelta(minutes=1),
        )  # fmt: skip
        later = "".join(f"; {count} to be asked again: {because}" for because, count in tally.later.items())
        workflow.set_current_details(
            f"- {workflow.now():%Y-%m-%d %H:%M:%S} UTC **{tally.done} told**, {tally.ended} had ended{later}"
        )
        return tally
