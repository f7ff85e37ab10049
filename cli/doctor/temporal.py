"""Temporal: reachable, with our namespace and search attributes, and with a worker that asks for work."""

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
    GetSystemInfoRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.settings import Settings
from adapters.temporal.client import check_search_attributes
from cli.doctor.finding import Finding, ok, problem, warning
from domain.errors import ConfigurationError

_SILENCE_S = 90
"""A worker that lives asks for work at least this often."""
_SHORT = timedelta(days=3)
_KINDS = {"workflows": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, "activities": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY}


async def check_temporal(connecting: Callable[[], Awaitable[Client]], settings: Settings) -> list[Finding]:
    """Check the cluster and what is on it."""
    try:
        client = await connecting()
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=timedelta(seconds=5))
    except (RPCError, RuntimeError, OSError) as error:
        status = error.status.name if isinstance(error, RPCError) else type(error).__name__
        fix = "see whether it is up, and TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY (README.md)"
        return [problem("temporal", f"does not answer: {status}", fix)]
    found = [ok("temporal", f"version {info.server_version or 'not told'}"), await _namespace(client)]
    if found[-1].level == "problem":
        return found
    return [
        *found,
        await _attributes(client),
        *await _workers(client, settings.task_queue),
        *await _build(client, settings),
    ]


async def _namespace(client: Client) -> Finding:
    name = client.namespace
    try:
        answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return problem("namespace", f"there is no {name!r}", f"temporal operator namespace create --namespace {name}")
    kept = answer.config.workflow_execution_retention_ttl.ToTimedelta()
    if kept < _SHORT:
        fix = f"temporal operator namespace update --namespace {name} --retention 720h"
        return warning("namespace", f"{name!r} forgets ended runs after {kept}, so nobody can look at them", fix)
    return ok("namespace", f"{name!r} keeps ended runs for {kept.days} days")


async def _attributes(client: Client) -> Finding:
    try:
        await check_search_attributes(client)
    except ConfigurationError as error:
        said, _, command = str(error).partition("; run: ")
        return problem("search attributes", f"{said}: runs would hang for ever", command)
    return ok("search attributes", "all are there")


async def _workers(client: Client, task_queue: str) -> list[Finding]:
    idle = []
    for kind, number in _KINDS.items():
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=number
        )
        pollers = (await client.workflow_service.describe_task_queue(request)).pollers
        if not any(poller.last_access_time.ToSeconds() > time.time() - _SILENCE_S for poller in pollers):
            idle.append(kind)
    if idle:
        said = f"nobody asks for {' and '.join(idle)} on the task queue {task_queue!r}, so runs stand still"
        return [problem("worker", said, "start one: journeys worker; and compare JOURNEYS_TASK_QUEUE")]
    return [ok("worker", f"asks for work on the task queue {task_queue!r}")]


async def _build(client: Client, settings: Settings) -> list[Finding]:
    """Compare the build of the environment with the one that new runs begin on."""
    if not settings.build_id:
        return []
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=settings.deployment)
    promote = f"journeys deploy promote {settings.build_id}"
    try:
        answer = await client.workflow_service.describe_worker_deployment(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        said = f"Temporal knows no worker of the deployment {settings.deployment!r}"
        return [problem("deployment", said, f"start one: journeys worker; then {promote}")]
    current = answer.worker_deployment_info.routing_config.current_deployment_version.build_id
    if current != settings.build_id:
        said = f"new runs begin on {current or 'unversioned workers'}, not on {settings.build_id}"
        return [warning("deployment", said, f"{promote} (docs/deploying.md)")]
    return [ok("deployment", f"new runs begin on {current}")]
