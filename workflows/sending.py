"""Asking the `deliver` activity: at once within the run's own task, then in the queue until the slot is settled."""

from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError

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


async def deliver(slot: Slot, interrupted: Callable[[], bool], *, at_once: bool) -> Delivery | None:
    """Have a slot settled; return None if the run was interrupted before it was.

    A provider that is down keeps the activity retrying for hours; an exit does not wait for that. An attempt under
    way is let finish, so that the run knows what became of its message.

    Args:
        slot: What is to be settled.
        interrupted: Whether the run is about to end.
        at_once: Whether the first attempt is a local one; runs that began before there was one have none.
    """
    for attempt in (_local, _queued) if at_once else (_queued,):
        try:
            return await _finished(attempt(slot), interrupted)
        except FailureError as failure:
            # What a local activity raises comes as it is, and not wrapped.
            cause = failure.cause if isinstance(failure, ActivityError) else failure
        if interrupted() or (isinstance(cause, ApplicationError) and cause.non_retryable):
            break
    if isinstance(cause, CancelledError) and not workflow.patched(_SETTLES_WHAT_WAS_INTERRUPTED):
        return None
    # Between two attempts the server cancels by itself, and nobody asks again what became of the first.
    left = interrupted()
    delivery = await abandon(slot, left=left)
    return None if left else delivery


async def abandon(slot: Slot, *, left: bool) -> Delivery:
    """Have a slot settled that is not asked for again, whatever an attempt has left of it."""
    why = "the run is over" if left else "given up after a day"
    return await workflow.execute_activity_method(
        Deliver.abandon, args=[slot, left], summary=f"{slot.step.name}: {why}",
        start_to_close_timeout=timedelta(seconds=30), retry_policy=_RETRY,
        priority=turn(slot.store_id, slot.step.urgency),
    )  # fmt: skip


async def _finished(attempts: workflow.ActivityHandle[Delivery], interrupted: Callable[[], bool]) -> Delivery:
    await workflow.wait_condition(lambda: attempts.done() or interrupted())
    if not attempts.done():
        attempts.cancel()
    return await attempts


def _local(slot: Slot) -> workflow.ActivityHandle[Delivery]:
    return workflow.start_local_activity_method(
        Deliver.deliver,
        slot,
        summary=_summary(slot),
        event_groups=grouped(slot.step.name),
        start_to_close_timeout=_ONE_ATTEMPT,
        retry_policy=RetryPolicy(maximum_attempts=1),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def _queued(slot: Slot) -> workflow.ActivityHandle[Delivery]:
    return workflow.start_activity_method(
        Deliver.deliver,
        slot,
        summary=_summary(slot),
        event_groups=grouped(slot.step.name),
        priority=turn(slot.store_id, slot.step.urgency),
        start_to_close_timeout=_ONE_ATTEMPT,
        heartbeat_timeout=_SILENCE,
        schedule_to_close_timeout=_A_DAY,
        retry_policy=_RETRY,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def _summary(slot: Slot) -> str:
    return f"{slot.step.name}: {slot.step.template} by e-mail"
