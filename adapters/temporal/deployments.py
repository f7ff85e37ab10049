"""The builds of our worker as Temporal knows them (a Worker Deployment): which is current, and who still needs which.

A build is a version of the deployment. New runs begin on the current build, or in part on the ramping one. A pinned run
ends on the build on which it began; what outlives deploys moves to the current build with its next task.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import isclose

from pydantic import computed_field
from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as VersionName
from temporalio.api.enums.v1 import RoutingConfigUpdateState, TaskQueueType, WorkerDeploymentVersionStatus
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal.engine import DOWN
from domain.errors import ConfigurationError, NotFound, Unavailable
from domain.ports import Clock
from domain.values import Value

_PATIENCE = timedelta(seconds=10)
_SILENCE = timedelta(seconds=90)
"""A worker that lives asks for work at least this often."""
_LOOKS, _PAUSE_S = 150, 0.2
_WORK = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
_IN_USE = {"current", "ramping", "draining"}
_OPEN = "ExecutionStatus = 'Running'"
_PINNED = "TemporalWorkflowVersioningBehavior = 'Pinned'"
_MOVING = "TemporalWorkflowVersioningBehavior = 'AutoUpgrade'"


class Build(Value):
    """One build.

    Attributes:
        state: As Temporal says: `current`, `ramping`, `draining`, `drained`, `inactive`, `created`.
        workers: How many of its worker processes ask for work now.
        pinned: How many open runs of each workflow will end on this build.
    """

    build_id: str
    state: str
    workers: int
    pinned: Mapping[str, int]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def drained(self) -> bool:
        """Whether nothing needs its workers any more."""
        return self.state not in _IN_USE

    @computed_field  # type: ignore[prop-decorator]
    @property
    def stranded(self) -> int:
        """How many runs stand still because nobody runs their build."""
        return 0 if self.workers else sum(self.pinned.values())


class Deployment(Value):
    """All builds, the newest first.

    Attributes:
        current: Where new runs begin; None while unversioned workers have them.
        ramping: Where `ramp_percent` of them begin instead.
        moving: Open runs that outlive deploys: whichever build they were on last, the next task is the current build's.
        unassigned: Open runs that no build has had yet: before their first task, or on unversioned workers.
    """

    name: str
    current: str | None
    ramping: str | None
    ramp_percent: float
    builds: tuple[Build, ...]
    moving: Mapping[str, int]
    unassigned: Mapping[str, int]


class Deployments:
    """Look at the builds of one deployment, and promote them.

    Args:
        workflows: The names by which runs are counted; what else is open counts as `other`.
    """

    def __init__(
        self, client: Client, deployment: str, task_queue: str, workflows: Sequence[str], clock: Clock
    ) -> None:
        self._client = client
        self._name = deployment
        self._task_queue = task_queue
        self._workflows = workflows
        self._clock = clock

    async def status(self) -> Deployment:
        """Describe every build.

        Raises:
            NotFound: No versioned worker has ever connected.
            Unavailable: Temporal does not answer.
        """
        with _told_plainly():
            info = (await self._describe()).worker_deployment_info
            workers = await self._workers(self._task_queue)
            states = sorted(_states(info).items(), key=lambda build: build[1][1], reverse=True)
            builds = [await self._build(build_id, state, workers) for build_id, (state, _) in states]
            moving = await self._count(f"TemporalWorkerDeployment = '{self._name}'", _MOVING)
            unassigned = await self._count(
                f"TaskQueue = '{self._task_queue}'", "TemporalWorkerDeploymentVersion is null"
            )
        routing = info.routing_config
        return Deployment(
            name=self._name,
            current=routing.current_deployment_version.build_id or None,
            ramping=routing.ramping_deployment_version.build_id or None,
            ramp_percent=routing.ramping_version_percentage,
            builds=tuple(builds),
            moving=moving,
            unassigned=unassigned,
        )

    async def build(self, build_id: str) -> Build:
        """Describe one build.

        Raises:
            NotFound: No worker of it has ever connected.
            Unavailable: Temporal does not answer.
        """
        with _told_plainly():
            info = (await self._describe()).worker_deployment_info
            state, _ = self._known(info, build_id)
            return await self._build(build_id, state, await self._workers(self._task_queue))

    async def promote(self, build_id: str, ramp_percent: float | None = None) -> None:
        """Let new runs, and runs that move, go to a build: all of them, or for a start some; a ramp of another ends.

        Raises:
            NotFound: No worker of it has ever connected.
            ConfigurationError: Runs would find no worker, or Temporal refuses.
            Unavailable: Temporal does not answer.
        """
        with _told_plainly():
            info = (await self._describe()).worker_deployment_info
            self._known(info, build_id)
            current = info.routing_config.current_deployment_version.build_id
            queues = await self._refuse_to_strand_runs(build_id, current)
            for queue in queues:
                await self._registered(build_id, queue)
            token = (await self._describe()).conflict_token
            if ramp_percent is not None:
                await self._ramp(build_id, ramp_percent, token)
            elif build_id != current:
                await self._make_current(build_id, token)
            elif info.routing_config.ramping_deployment_version.build_id:
                await self._ramp("", 0, token)
            await self._propagated(queues, build_id, ramp_percent)

    async def _make_current(self, build_id: str, token: bytes) -> None:
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=self._client.namespace,
            deployment_name=self._name,
            build_id=build_id,
            conflict_token=token,
            identity=self._client.identity,
        )
        await self._client.workflow_service.set_worker_deployment_current_version(request, timeout=_PATIENCE)

    async def _ramp(self, build_id: str, percent: float, token: bytes) -> None:
        request = SetWorkerDeploymentRampingVersionRequest(
            namespace=self._client.namespace,
            deployment_name=self._name,
            build_id=build_id,
            percentage=percent,
            conflict_token=token,
            identity=self._client.identity,
        )
        await self._client.workflow_service.set_worker_deployment_ramping_version(request, timeout=_PATIENCE)

    async def _refuse_to_strand_runs(self, build_id: str, current: str) -> list[str]:
        """Return the task queues a build takes over; Temporal itself promotes builds whose workers are gone."""
        queues = {self._task_queue}
        if current:
            queues |= {
                queue
                for queue, kind in await self._queues(current)
                if kind == _WORK[0] and await self._count_one(f"{_OPEN} and TaskQueue = '{queue}'")
            }
        for queue in sorted(queues):
            if not (await self._workers(queue)).get(build_id):
                raise ConfigurationError(
                    f"no worker of build {build_id!r} polls the task queue {queue!r}; "
                    f"start one with JOURNEYS_BUILD_ID={build_id} JOURNEYS_TASK_QUEUE={queue} and promote again"
                )
        return sorted(queues)

    async def _registered(self, build_id: str, queue: str) -> None:
        """Wait until Temporal has put both kinds of a queue's work down to a build, some time after its first poll."""
        for _ in range(_LOOKS):
            try:
                queues = await self._queues(build_id)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                queues = set()  # the deployment lists a build before the build can be described
            if {(queue, kind) for kind in _WORK} <= queues:
                return
            await asyncio.sleep(_PAUSE_S)
        raise Unavailable(f"Temporal has not put task queue {queue!r} down to build {build_id!r} yet: promote again")

    async def _propagated(self, queues: Sequence[str], build_id: str, ramp_percent: float | None) -> None:
        """Wait until every task queue knows the new routing.

        Temporal has been seen to say for minutes that it is still telling them; then each is asked what it knows.
        """
        for _ in range(_LOOKS):
            if not await self._in_progress() or await self._all_know(queues, build_id, ramp_percent):
                return
            await asyncio.sleep(_PAUSE_S)
        raise Unavailable("Temporal has not told all its task queues yet; see `journeys deploy status`")

    async def _all_know(self, queues: Sequence[str], build_id: str, ramp_percent: float | None) -> bool:
        for queue, kind in ((queue, kind) for queue in queues for kind in _WORK):
            known = (await self._describe_queue(queue, kind)).versioning_info
            ramping, percent = known.ramping_deployment_version.build_id, known.ramping_version_percentage
            if ramp_percent is None:
                told = (known.current_deployment_version.build_id, ramping) == (build_id, "")
            else:
                told = ramping == build_id and isclose(percent, ramp_percent, rel_tol=1e-5)  # 32 bits there
            if not told:
                return False
        return True

    async def _describe_queue(self, queue: str, kind: TaskQueueType.ValueType) -> DescribeTaskQueueResponse:
        request = DescribeTaskQueueRequest(
            namespace=self._client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
        return await self._client.workflow_service.describe_task_queue(request, retry=True, timeout=_PATIENCE)

    async def _in_progress(self) -> bool:
        state = (await self._describe()).worker_deployment_info.routing_config_update_state
        return state == RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS

    async def _describe(self) -> DescribeWorkerDeploymentResponse:
        request = DescribeWorkerDeploymentRequest(namespace=self._client.namespace, deployment_name=self._name)
        try:
            return await self._client.workflow_service.describe_worker_deployment(
                request, retry=True, timeout=_PATIENCE
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise NotFound(
                    f"there is no deployment {self._name!r}: start a worker with JOURNEYS_BUILD_ID set"
                ) from error
            raise

    def _known(self, info: WorkerDeploymentInfo, build_id: str) -> tuple[str, int]:
        try:
            return _states(info)[build_id]
        except KeyError:
            raise NotFound(
                f"deployment {self._name!r} has no build {build_id!r}: start a worker with JOURNEYS_BUILD_ID={build_id}"
            ) from None

    async def _build(self, build_id: str, state: str, workers: Mapping[str, int]) -> Build:
        mine = f"TemporalWorkerDeploymentVersion = '{self._name}:{build_id}'"
        pinned = await self._count(mine, _PINNED) if state in _IN_USE else {}
        return Build(build_id=build_id, state=state, workers=workers.get(build_id, 0), pinned=pinned)

    async def _queues(self, build_id: str) -> set[tuple[str, int]]:
        """Name the task queues that are put down to a build, with the kind of their work."""
        request = DescribeWorkerDeploymentVersionRequest(
            namespace=self._client.namespace,
            deployment_version=VersionName(deployment_name=self._name, build_id=build_id),
        )
        version = await self._client.workflow_service.describe_worker_deployment_version(
            request, retry=True, timeout=_PATIENCE
        )
        return {(queue.name, queue.type) for queue in version.version_task_queues}

    async def _workers(self, task_queue: str) -> dict[str, int]:
        """Count, by build, the processes that ask a task queue for both kinds of work."""
        alive = (self._clock() - _SILENCE).timestamp()
        asking: list[set[tuple[str, str]]] = []
        for kind in _WORK:
            answer = await self._describe_queue(task_queue, kind)
            asking.append({
                (poller.deployment_options.build_id, poller.identity)
                for poller in answer.pollers
                if poller.last_access_time.ToSeconds() > alive
                and poller.deployment_options.deployment_name == self._name
            })  # fmt: skip
        both = [build_id for build_id, _ in set.intersection(*asking)]
        return {build_id: both.count(build_id) for build_id in both}

    async def _count(self, *conditions: str) -> dict[str, int]:
        """Count open runs by workflow: one after the other, for Temporal can neither group nor bear many at once."""
        query = " and ".join((_OPEN, *conditions))
        left = await self._count_one(query)
        counts: dict[str, int] = {}
        for name in self._workflows:
            if left <= 0:
                break
            counts[name] = await self._count_one(f"{query} and WorkflowType = '{name}'")
            left -= counts[name]
        return {name: count for name, count in {**counts, "other": left}.items() if count > 0}

    async def _count_one(self, query: str) -> int:
        return (await self._client.count_workflows(query, rpc_timeout=_PATIENCE)).count


def _states(info: WorkerDeploymentInfo) -> dict[str, tuple[str, int]]:
    """Return, by build, its state and when it first connected."""
    prefix = "WORKER_DEPLOYMENT_VERSION_STATUS_"
    return {
        summary.deployment_version.build_id: (
            WorkerDeploymentVersionStatus.Name(summary.status).removeprefix(prefix).lower(),
            summary.create_time.ToNanoseconds(),
        )
        for summary in info.version_summaries
    }


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn what Temporal answers into our errors, by status."""
    try:
        yield
    except RPCError as error:
        if error.status in DOWN:
            raise Unavailable(f"Temporal: {error.status.name} {error.message}") from error
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFound(f"Temporal does not know it: {error.message}") from error
        if error.status is RPCStatusCode.UNIMPLEMENTED:
            raise ConfigurationError("this Temporal server has no Worker Deployments; upgrade it") from error
        if error.status in {
            RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED,
            RPCStatusCode.UNAUTHENTICATED,
        }:  # fmt: skip
            raise ConfigurationError(f"Temporal refuses: {error.message}") from error
        raise
