"""Rollouts on Temporal: begin one, follow it, and reach the runs that it is about."""

from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal.engine import DOWN, STORE_ID, Engine
from domain import ids
from domain.commands import ReleaseStock
from domain.errors import Unavailable
from domain.operations import Replan
from domain.rollouts import Answer, Order, ReplanOrder, Tally
from workflows.rollout import Rollout
from workflows.turns import turn

_PATIENCE = timedelta(seconds=10)


class TemporalRuns:
    """Implements `domain.ports.RunsUnderWay`."""

    def __init__(self, client: Client, engine: Engine) -> None:
        self._client = client
        self._engine = engine

    async def replan(self, workflow_id: str, command: Replan) -> Answer:
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            await handle.execute_update("replan", command, rpc_timeout=_PATIENCE)
        except WorkflowUpdateFailedError as refusal:
            return Answer(result="later", because=str(refusal.cause))
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            return Answer(result="later", because="no worker answers for it")
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return Answer(result="ended")
            if error.status in DOWN:
                raise Unavailable(f"Temporal: {error.status.name}") from error
            raise
        return Answer(result="done")

    async def resumed(self, workflow_id: str) -> bool:
        try:
            await self._client.get_workflow_handle(workflow_id).signal("resumed", rpc_timeout=_PATIENCE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            if error.status in DOWN:
                raise Unavailable(f"Temporal: {error.status.name}") from error
            raise
        return True

    async def release(self, store_id: str, waves: ReleaseStock) -> None:
        await self._engine.execute(store_id, waves)


async def begin(client: Client, task_queue: str, order: Order) -> WorkflowHandle[Rollout, Tally]:
    """Begin a rollout; the same order again finds the one under way.

    Raises:
        Unavailable: Temporal is down.
    """
    what = f"v{order.version}" if isinstance(order, ReplanOrder) else f"resume-{order.pause_id}"
    try:
        return await client.start_workflow(
            Rollout.run,
            order,
            id=ids.rollout_id(order.store_id, order.journey, what),
            task_queue=task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=TypedSearchAttributes([SearchAttributePair(STORE_ID, order.store_id)]),
            static_summary=f"{order.kind} {order.journey}",
            priority=turn(order.store_id, urgency=1),  # somebody waits for it
            rpc_timeout=_PATIENCE,
        )
    except RPCError as error:
        if error.status in DOWN:
            raise Unavailable(f"Temporal: {error.status.name}") from error
        raise
