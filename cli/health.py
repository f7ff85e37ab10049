"""`journeys health`: does the process beside us do its work? For the health checks of containers."""

import asyncio
import os
import socket
import time
import urllib.request
from datetime import timedelta
from typing import Annotated, Literal

import psycopg
import typer
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError

from adapters.postgres.queue import CHANNEL, listener
from adapters.settings import Settings
from adapters.temporal.client import connect
from domain.errors import Unavailable

_LONG_POLL = timedelta(seconds=90)
"""A worker asks again at least this often, whether there is work or not (Temporal answers after a minute)."""


def health(process: Annotated[Literal["api", "worker", "router"], typer.Argument(help="Which process.")]) -> None:
    """Exit with 0 if this machine's API answers, worker polls Temporal or router listens for events."""
    settings = Settings()
    match process:
        case "api":
            _api_answers(settings.api_port)
        case "worker":
            asyncio.run(_worker_polls(settings.task_queue))
            # Temporal's threads can abort a process that ends right after a call ("PyGILState_Release … finalizing").
            os._exit(0)
        case "router":
            _router_listens(settings.psycopg_url)


def _api_answers(port: int) -> None:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).close()
    except OSError as problem:
        raise Unavailable(f"the API does not answer: {problem}") from problem


async def _worker_polls(task_queue: str) -> None:
    host = socket.gethostname()
    try:
        client = await connect()
        request = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        pollers = (await client.workflow_service.describe_task_queue(request)).pollers
    except (RPCError, RuntimeError) as problem:
        raise Unavailable(f"Temporal does not answer: {problem}") from problem
    alive = time.time() - _LONG_POLL.total_seconds()
    ours = [poller for poller in pollers if poller.identity.endswith(f"@{host}")]
    if not any(poller.last_access_time.ToSeconds() > alive for poller in ours):
        raise Unavailable(f"no worker on {host} polls the task queue {task_queue!r}")


def _router_listens(url: str) -> None:
    # The connection of a router that waits for events shows LISTEN as its last statement, and the machine's name: pods
    # behind one gateway come from one address.
    query = "select 1 from pg_stat_activity where datname = current_database() and query = %s and application_name = %s"
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            found = connection.execute(query, [f"listen {CHANNEL}", listener()]).fetchone()
    except psycopg.OperationalError as problem:
        raise Unavailable(f"the database does not answer: {problem}") from problem
    if not found:
        raise Unavailable("no router of this machine listens for events")
