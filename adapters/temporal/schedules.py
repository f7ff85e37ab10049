"""The schedule of retention: once a day, made by whichever worker starts first and kept as an operator left it."""

from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from domain import ids
from workflows.retention import Retention

_log = structlog.get_logger(__name__)
_AT = ScheduleCalendarSpec(hour=[ScheduleRange(3)], minute=[ScheduleRange(20)], comment="every night, 03:20 UTC")
_JITTER = timedelta(minutes=20)
_PATIENCE = timedelta(seconds=10)


async def schedule_retention(client: Client, task_queue: str) -> None:
    """Make the schedule, or bring it up to date; an operator's pause stays.

    A cluster that does not let us (no schedules, no right to them) is no reason not to send messages: it is logged,
    and `journeys retention run` does the same by hand.
    """
    wanted = _schedule(task_queue)

    async def renewed(known: ScheduleUpdateInput) -> ScheduleUpdate:
        wanted.state = known.description.schedule.state
        return ScheduleUpdate(schedule=wanted)

    try:
        try:
            await client.create_schedule(ids.RETENTION, wanted, rpc_timeout=_PATIENCE)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(ids.RETENTION).update(renewed, rpc_timeout=_PATIENCE)
    except RPCError as problem:
        _log.warning("retention is not scheduled", schedule=ids.RETENTION, error=problem.status.name)


def _schedule(task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            Retention.run, id=ids.RETENTION, task_queue=task_queue, static_summary="Retention"
        ),
        spec=ScheduleSpec(calendars=[_AT], jitter=_JITTER),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(hours=12)),
    )
