"""A run is at rest when only the time or an event can wake it."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from rehearsal.rest import busy


@activity.defn
async def fetch() -> None:
    """Something for a worker to do."""


@workflow.defn(sandboxed=False)
class Waits:
    """Wait to be told, do an activity on another queue, and end."""

    def __init__(self) -> None:
        self.was_told = False

    @workflow.signal
    def told(self) -> None:
        self.was_told = True

    @workflow.run
    async def run(self, elsewhere: str) -> None:
        await workflow.wait_condition(lambda: self.was_told)
        await workflow.execute_activity(fetch, task_queue=elsewhere, schedule_to_close_timeout=timedelta(days=1))


async def test_a_run_with_a_task_that_no_worker_has_taken_is_busy(time_skipping: WorkflowEnvironment) -> None:
    """A workflow task counts like an activity: a worker that is slow to take either must be waited for."""
    here, elsewhere = uuid4().hex, uuid4().hex
    workflows = Worker(time_skipping.client, task_queue=here, workflows=[Waits])
    activities = Worker(time_skipping.client, task_queue=elsewhere, activities=[fetch])
    run = await time_skipping.client.start_workflow(Waits.run, elsewhere, id=uuid4().hex, task_queue=here)
    assert await busy(run), "its first task waits"
    async with asyncio.timeout(20), workflows:
        while await busy(run):
            pass
        await run.signal(Waits.told)
        while (await run.describe()).raw_description.pending_activities == []:
            pass
        assert await busy(run), "its activity waits"
        async with activities:
            await run.result()
        assert not await busy(run), "it has ended"


async def test_a_run_that_never_began_is_not_busy(time_skipping: WorkflowEnvironment) -> None:
    """A row whose start was withheld has nothing to wait for."""
    assert not await busy(time_skipping.client.get_workflow_handle("nobody"))
