"""What a journey is measured against: a workflow that waits three times and does nothing three times.

Its worker: `python -m bench.bare_workflow ADDRESS`, with as many activities at once as ours (worker/main.py).
"""

import asyncio
import sys
import time
from datetime import timedelta
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

TASK_QUEUE = "bare"
READY = "bare worker ready"
WAIT = timedelta(seconds=1)
_AT_ONCE = 32


@activity.defn
async def nothing() -> None:
    """Do nothing."""


@workflow.defn
class Bare:
    """Three waits, three activities."""

    @workflow.run
    async def run(self) -> None:
        """Go through them."""
        for _ in range(3):
            await asyncio.sleep(WAIT.total_seconds())
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(minutes=1))


async def bare_rate(client: Client, count: int) -> float:
    """Run so many, as many starts at once as the router's, and return how many a second went through."""
    turns, name = asyncio.Semaphore(_AT_ONCE), uuid4().hex[:8]

    async def start(number: int) -> None:
        async with turns:
            await client.start_workflow(Bare.run, id=f"bare-{name}-{number}", task_queue=TASK_QUEUE)

    began = time.monotonic()
    await asyncio.gather(*(start(number) for number in range(count)))
    under_way = 'WorkflowType = "Bare" and ExecutionStatus = "Running"'
    while (await client.count_workflows(under_way)).count:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.25)
    return count / (time.monotonic() - began)


async def _work(address: str) -> None:
    client = await Client.connect(address)
    async with Worker(
        client, task_queue=TASK_QUEUE, workflows=[Bare], activities=[nothing], max_concurrent_activities=50
    ):
        print(READY, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
