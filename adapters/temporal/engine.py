"""Carry out the router's commands on Temporal; each may be repeated without harm."""

from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal.search_attributes import KEYWORDS
from domain import ids
from domain.caps import PRIORITY
from domain.commands import Command, EndRun, JoinRun, NewRun, ReleaseStock, RestartRun, SignalRun, StartRun
from domain.errors import Unavailable
from domain.facts import AnyFact, Topic
from domain.runs import Outcome
from domain.values import Value
from workflows.turns import turn

STORE_ID, CUSTOMER_ID, JOURNEY_OUTCOME = (SearchAttributeKey.for_keyword(name) for name in KEYWORDS)
DOWN = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.ABORTED,
}
"""What Temporal answers, or the network in its place, when asking again later is all there is to do."""
_PATIENCE = timedelta(seconds=10)


class Engine:
    """The journeys that run on Temporal (implements `domain.ports.Runs`)."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def execute(self, store_id: str, command: Command) -> bool:
        """Carry out one command.

        Returns:
            False if the run it is about has ended.

        Raises:
            Unavailable: Temporal cannot be reached now; the command stands.
        """
        try:
            match command:
                case StartRun(run=run):
                    await self._start(store_id, run)
                case RestartRun():
                    await self._restart(store_id, command)
                case ReleaseStock(product_id=product_id):
                    await self._release(store_id, product_id, command)
                case SignalRun(workflow_id=workflow_id, fact=fact):
                    return await self._signal(workflow_id, fact.kind, fact)
                case JoinRun(workflow_id=workflow_id):
                    return await self._signal(workflow_id, "joined", command)
                case EndRun(workflow_id=workflow_id):
                    return await self._signal(workflow_id, "ended", command)
        except RPCError as error:
            if error.status in DOWN:
                raise Unavailable(f"Temporal: {error.status.name}") from error
            raise
        return True

    async def tell(self, workflow_id: str, fact: AnyFact) -> None:
        """Send a fact to a run; a run that has ended is left alone."""
        await self._signal(workflow_id, fact.kind, fact)

    async def _start(self, store_id: str, run: NewRun) -> None:
        try:
            await self._start_workflow(store_id, run, WorkflowIDConflictPolicy.FAIL, start_delay=run.delay or None)
        except WorkflowAlreadyStartedError:
            # The customer's last run has ended here but not there yet (no worker has read its exit so far), or this
            # command is repeated: a run that is told of itself ignores it.
            await self._restart(store_id, RestartRun(run_id=run.run_id, ends=Outcome.RESTARTED, run=run))

    async def _restart(self, store_id: str, command: RestartRun) -> None:
        signal = {"start_signal": "restarted", "start_signal_args": [command]}
        try:
            await self._start_workflow(store_id, command.run, WorkflowIDConflictPolicy.USE_EXISTING, **signal)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:  # it closed just now; the next attempt starts afresh
                raise Unavailable("the run is closing") from error
            raise

    async def _start_workflow(
        self, store_id: str, run: NewRun, on_conflict: WorkflowIDConflictPolicy, **how: Any
    ) -> None:
        attributes = [
            SearchAttributePair(STORE_ID, store_id),
            SearchAttributePair(CUSTOMER_ID, str(run.customer_id)),
            SearchAttributePair(JOURNEY_OUTCOME, Outcome.RUNNING.value),
        ]
        await self._client.start_workflow(
            run.workflow,
            run.entry,
            id=run.workflow_id,
            task_queue=self._task_queue,
            id_conflict_policy=on_conflict,
            search_attributes=TypedSearchAttributes(attributes),
            static_summary=run.summary,
            static_details=run.details,
            priority=turn(store_id, run.urgency),
            rpc_timeout=_PATIENCE,
            **how,
        )

    async def _release(self, store_id: str, product_id: str, command: ReleaseStock) -> None:
        await self._client.start_workflow(
            "stock-waves",
            store_id,
            id=ids.waves_id(store_id, product_id),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="restocked",
            start_signal_args=[command],
            static_summary="Stock waves",
            priority=turn(store_id, PRIORITY[Topic.BACK_IN_STOCK]),
            rpc_timeout=_PATIENCE,
        )

    async def _signal(self, workflow_id: str, name: str, argument: Value) -> bool:
        try:
            await self._client.get_workflow_handle(workflow_id).signal(name, argument, rpc_timeout=_PATIENCE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True
