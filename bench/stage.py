"""The stage: real Postgres, Temporal and processes, as `journeys dev` runs them, with a mail server that only counts.

Everything is durable as in production (fsync on), listens on the loopback interface alone, and is gone afterwards.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from adapters.postgres import plans, stores
from adapters.postgres.engine import create_engine
from adapters.postgres.migrations import upgrade
from adapters.postgres.tables import events, runs
from adapters.postgres.tenancy import across_stores, as_store
from adapters.settings import Settings
from adapters.temporal.plugin import journeys_plugin
from bench.environment import Processes
from cli.stack import ports
from cli.stack.local import Options, Stack
from cli.stack.postgres import LocalPostgres, temporary_dir
from cli.stack.processes import Child, Program
from domain.limits import Limit
from domain.plans import PLANS, validated

STORE = "demo"
_NO_LIMIT = Limit(per_second=1_000_000, burst=10_000_000)
_OPEN = events.c.state.in_(["pending", "applied"])


def now() -> datetime:
    """Tell the time of this machine."""
    return datetime.now(UTC)


@contextlib.contextmanager
def database() -> Iterator[str]:
    """Run a Postgres by itself, with our tables; yield its URL."""
    with temporary_dir() as directory, LocalPostgres(directory) as server:
        upgrade(server.url)
        yield server.url


def free_port() -> int:
    """Find a port for a program of ours."""
    return ports.free()


@contextlib.contextmanager
def program(directory: Path, name: str, *argv: object, ready: int | str) -> Iterator[Child]:
    """Run a module of ours beside, until the end of the block; ready is the port it answers on, or what it says."""
    child = Child(
        Program(
            name=name, argv=[sys.executable, "-m", name, *(str(word) for word in argv)], env=os.environ,
            log=directory / f"{name}.log", ready=ready if isinstance(ready, str) else lambda: ports.answers(ready),
        )
    )  # fmt: skip
    child.start()
    try:
        yield child
    finally:
        child.stop()


@dataclass
class House:
    """A running stack, and all that is needed to use it and to watch it."""

    stack: Stack
    engine: AsyncEngine
    temporal: Client
    http: httpx.AsyncClient
    directory: Path
    post: Path

    async def plan(self, journey: str, **settings: Any) -> None:
        """Give the store a plan of its own."""
        await plans.put(self.engine, STORE, journey, validated(journey, settings), now())

    async def only(self, journey: str) -> None:
        """Switch every other journey off."""
        for other in PLANS.keys() - {journey}:
            await self.plan(other, enabled=False)

    async def told(self, calls: Sequence[Mapping[str, Any]]) -> None:
        """Send Segment calls, a hundred a request, four requests at a time."""
        turns = asyncio.Semaphore(4)

        async def send(batch: Sequence[Mapping[str, Any]]) -> None:
            async with turns:
                answer = await self.http.post("/v1/batch", json={"batch": batch})
                answer.raise_for_status()

        await asyncio.gather(*(send(calls[at : at + 100]) for at in range(0, len(calls), 100)))

    async def waiting_events(self) -> int:
        """Count the events that are not done with."""
        async with across_stores(self.engine) as connection:
            return await connection.scalar(select(func.count()).select_from(events).where(_OPEN)) or 0

    async def runs_under_way(self) -> int:
        """Count the runs that Postgres calls open."""
        under_way = select(func.count()).select_from(runs).where(runs.c.store_id == STORE, runs.c.ended_at.is_(None))
        async with as_store(self.engine, STORE) as connection:
            return await connection.scalar(under_way) or 0

    async def ended_runs(self) -> list[str]:
        """Return the workflow ids of the runs that Postgres calls over."""
        over = select(runs.c.workflow_id).where(runs.c.store_id == STORE, runs.c.ended_at.is_not(None))
        async with as_store(self.engine, STORE) as connection:
            return list((await connection.execute(over)).scalars())

    async def waiting_tasks(self) -> int:
        """Count the workflow tasks that no worker has taken yet; Temporal counts every few seconds."""
        request = DescribeTaskQueueRequest(
            namespace=self.temporal.namespace, task_queue=TaskQueue(name=Settings().task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, report_stats=True,
        )  # fmt: skip
        return (await self.temporal.workflow_service.describe_task_queue(request)).stats.approximate_backlog_count

    async def running_workflows(self) -> int:
        """Count the workflows that Temporal calls open."""
        return (await self.temporal.count_workflows('ExecutionStatus = "Running"')).count

    def mails(self) -> list[tuple[float, str]]:
        """Return when each mail came in (seconds since 1970) and to whom, oldest first."""
        lines = self.post.read_text(encoding="utf-8").splitlines() if self.post.exists() else []
        return [(float(at), to) for at, _, to in (line.partition(" ") for line in lines)]

    @contextlib.contextmanager
    def another_api(self) -> Iterator[Child]:
        """Run a second process of the API until the end of the block."""
        own, port = self.stack.program("api"), ports.free()
        env = {**own.env, "JOURNEYS_API_PORT": str(port)}
        env.pop("JOURNEYS_METRICS_PORT", None)
        log = self.directory / "another-api.log"
        child = Child(replace(own, name="another-api", env=env, log=log, ready=lambda: ports.answers(port)))
        child.start()
        try:
            yield child
        finally:
            child.stop()

    def processes(self, **others: int | None) -> Processes:
        """Begin to watch what each process uses; this one is the client."""
        names = ("postgres", "temporal", "api", "worker", "router")
        return Processes(client=os.getpid(), **{name: self.stack.pid(name) for name in names}, **others)


@contextlib.asynccontextmanager
async def house(*, without: Sequence[str] = ()) -> AsyncIterator[House]:
    """Run the whole stack until the end of the block.

    Args:
        without: Parts to stop again before anything is measured: `api`, `worker`, `router`.
    """
    with temporary_dir() as directory:
        port, post = ports.free(), directory / "post.log"
        with (
            program(directory, "bench.sink", port, post, ready=port),
            Stack(
                Options(directory / "stack", 0, 0, 0, 0, 0, 0), Settings(smtp_url=f"smtp://{ports.HOST}:{port}")
            ) as stack,
        ):
            for part in without:
                stack.stop(part)
            engine = create_engine(Settings(database_url=stack.info.database_url).sqlalchemy_url)
            await stores.set_limit(engine, STORE, _NO_LIMIT, now(), by="bench")
            temporal = await Client.connect(stack.info.temporal_address, plugins=[journeys_plugin()])
            auth = (stack.info.write_key, "")
            async with httpx.AsyncClient(base_url=stack.info.api, auth=auth, timeout=60) as http:
                yield House(stack, engine, temporal, http, directory, post)
            await engine.dispose()


async def until(
    true: Callable[[], Awaitable[bool]], *, every: float = 0.25, watch: Callable[[], None] | None = None
) -> float:
    """Wait until something is true; return the seconds that it took (the part's own deadline bounds it)."""
    began = time.monotonic()
    while not await true():
        if watch is not None:
            watch()
        await asyncio.sleep(every)
    return time.monotonic() - began
