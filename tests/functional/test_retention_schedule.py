"""The schedule of retention, on a real Temporal, by the worker of the stack."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import insert, select
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import ScheduleActionExecutionStartWorkflow, ScheduleDescription, ScheduleOverlapPolicy

from adapters.postgres.tables import audit, events
from adapters.temporal.schedules import schedule_retention
from domain import ids
from domain.retention import Report
from testing.inspection import as_owner
from tests.functional.conftest import House, eventually


async def test_the_schedule_enforces_retention_and_its_report_is_there_to_be_read(house: House) -> None:
    """Made by the worker, once a day; a second worker changes nothing, and an operator's pause stays."""
    long_ago = datetime.now(UTC) - timedelta(days=200)
    event = {
        "store_id": "demo", "id": ids.first_made_at(long_ago), "message_id": uuid4().hex, "type": "track",
        "payload": {}, "at": long_ago, "received_at": long_ago, "shard": 1, "state": "routed",
    }  # fmt: skip
    async with as_owner(house.engine) as connection:
        await connection.execute(insert(events).values(event))
    schedule = house.temporal.get_schedule_handle(ids.RETENTION)
    await schedule.pause(note="by a test")
    await schedule_retention(house.temporal, "journeys")
    described = await schedule.describe()
    (when,) = described.schedule.spec.calendars
    assert (described.schedule.state.paused, described.schedule.policy.overlap) == (True, ScheduleOverlapPolicy.SKIP)
    assert [(at.start, at.end) for at in when.hour] == [(3, 3)]
    await schedule.unpause()

    await schedule.trigger()
    before = described.info.num_actions  # at three in the morning it acts by itself
    done = await eventually(schedule.describe, lambda d: d.info.num_actions > before, "the schedule has acted")
    run = house.temporal.get_workflow_handle(_workflow(done), result_type=Report)
    report = await run.result()
    metadata = await run.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)

    assert report.rows == {"demo": {"events": 1}}
    assert metadata.current_details == "- demo: 1 events"
    async with as_owner(house.engine) as connection:
        entries = (await connection.execute(select(audit).where(audit.c.action == "retention"))).all()
        assert (await connection.execute(select(events.c.id).where(events.c.id == event["id"]))).all() == []
    assert [(entry.store_id, entry.by, entry.detail["rows"]) for entry in entries] == [
        ("demo", "worker:retention", {"events": 1})
    ]


def _workflow(described: ScheduleDescription) -> str:
    action = described.info.recent_actions[-1].action
    assert isinstance(action, ScheduleActionExecutionStartWorkflow)
    return action.workflow_id
