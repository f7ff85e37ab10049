"""Asking the `deliver` activity, with the one retry policy there is for it."""

from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, CancelledError

with workflow.unsafe.imports_passed_through():
    from activities.deliver import Deliver
    from activities.heartbeats import INTERVAL
    from domain.delivery import Delivery, Slot
from workflows.timeline import grouped
from workflows.turns import turn

# 1, 2, 4, 8, 16, 32 s, then slower, for a day (requirements/3, error handling); each attempt asks the gate again.
_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=15))
_A_DAY = timedelta(hours=24)
# An attempt outlasts the mail server's time for its verdict; a worker that died is noticed long before.
_ONE_ATTEMPT = timedelta(minutes=4)
_SILENCE = 3 * INTERVAL
_SETTLES_WHAT_WAS_INTERRUPTED = "settles-what-was-interrupted"


async def deliver(slot: Slot, interrupted: Callable[[], bool]) -> Delivery | None:
    """Have a slot settled; return None if the run was interrupted before it was.

    A provider that is down keeps the activity retrying for hours; an exit does not wait for that. An attempt under
    way is let finish, so that the run knows what became of its message.
    """
    handle = workflow.start_activity_method(
        Deliver.deliver,
        slot,
        summary=f"{slot.step.name}: {slot.step.template} by e-mail",
        event_groups=grouped(slot.step.name),
        priority=turn(slot.store_id, slot.step.urgency),
        start_to_close_timeout=_ONE_ATTEMPT,
        heartbeat_timeout=_SILENCE,
        schedule_to_close_timeout=_A_DAY,
        retry_policy=_RETRY,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )
    await workflow.wait_condition(lambda: handle.done() or interrupted())
    if not handle.done():
        handle.cancel()
    try:
        return await handle
    except ActivityError as failure:
        cancelled = isinstance(failure.cause, CancelledError)
        if cancelled and not workflow.patched(_SETTLES_WHAT_WAS_INTERRUPTED):
            return None
        # Between two attempts the server cancels by itself, and nobody asks again what became of the first.
        left = interrupted()
        why = "the run is over" if left else "given up after a day"
        delivery = await workflow.execute_activity_method(
            Deliver.abandon, args=[slot, left], summary=f"{slot.step.name}: {why}",
            start_to_close_timeout=timedelta(seconds=30), retry_policy=_RETRY,
            priority=turn(slot.store_id, slot.step.urgency),
        )  # fmt: skip
        return None if left else delivery
