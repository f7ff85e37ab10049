"""An operator's hand on one run: an Update to its workflow, answered when it is done."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from adapters.postgres import why
from adapters.postgres.audit import PostgresOperations
from adapters.temporal.engine import DOWN
from domain.errors import NotFound, OperationRefused, Unavailable
from domain.operations import Leave, Note, Operator, SkipWait
from domain.plans import StepName
from domain.ports import Clock
from domain.runs import Outcome
from domain.values import Value

_PATIENCE = timedelta(seconds=20)
"""While its message is with the mail server a run hears of an Update after 8 s, and of what it notes 8 s later."""


class Skipped(Value):
    """A wait is over.

    Attributes:
        skipped: What was being waited for.
    """

    run_id: UUID
    skipped: str


class Left(Value):
    """A run is over: as asked, or by what came first."""

    run_id: UUID
    outcome: str


class RunOperator:
    """What an operator of a store may do to a run under way.

    Args:
        engine: The database; it says which run is meant, and whether it is under way.
        connect: Connects to Temporal; not called before the first operation.
    """

    def __init__(self, engine: AsyncEngine, connect: Callable[[], Awaitable[Client]], clock: Clock) -> None:
        self._engine = engine
        self._connect = connect
        self._clock = clock
        self._client: Client | None = None

    async def skip_wait(self, store_id: str, name: str, by: Operator, step: StepName | None = None) -> Skipped:
        """End the wait that a run is in; the gate still decides about the message.

        A request that is repeated because its answer was lost skips nothing more, if it names the step whose wait is
        meant; if not, it is the same Update only until the run has decided about a message since.

        Raises:
            NotFound: The store has no such run.
            OperationRefused: It is over, does not wait for a time, or does not wait for that step.
            Unavailable: Temporal or the database is down, or no worker answers in time.
        """
        run = await self._open(store_id, name)
        state = await why.state(self._engine, store_id, run.run_id)
        update_id = f"skip-wait:{run.run_id}:{hashlib.sha256(state.encode()).hexdigest()[:16]}"
        command = SkipWait(by=by, run_id=run.run_id, step=step)
        try:
            skipped: str = await self._update(run, "skip_wait", command, update_id)
        except _Gone:
            raise
        except OperationRefused:
            # Perhaps of a moment ago, when a message was going out: Temporal repeats the answer to the same Update.
            skipped = await self._update(run, "skip_wait", command, f"{update_id}:{uuid4().hex}")
        return Skipped(run_id=run.run_id, skipped=skipped)

    async def leave(self, store_id: str, name: str, by: Operator, because: str | None = None) -> Left:
        """Take the customer out of a run; once this returns, nothing more is sent by it.

        Raises:
            NotFound: The store has no such run.
            OperationRefused: It is over.
            Unavailable: Temporal or the database is down, or no worker answers in time.
        """
        run = await self._open(store_id, name)
        command = Leave(by=by, run_id=run.run_id, **({} if because is None else {"because": because}))
        try:
            outcome: str = await self._update(run, "leave", command, f"leave:{run.run_id}")
        except _Gone:
            # Not begun yet, or terminated by hand: with its row closed the gate lets nothing out.
            note = Note(store_id=store_id, run_id=run.run_id, by=by, action="leave", detail=command.because)
            operations = PostgresOperations(self._engine)
            await operations.note(note, f"leave:{run.run_id}", self._clock())
            outcome = Outcome.LEFT
        return Left(run_id=run.run_id, outcome=outcome)

    async def _open(self, store_id: str, name: str) -> Row[Any]:
        run = await why.find(self._engine, store_id, name)
        if run.ended_at is not None:
            raise OperationRefused(f"the run is over: {run.outcome}")
        return run

    async def _update(self, run: Row[Any], name: str, command: Value, update_id: str) -> Any:
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                self._client = self._client or await self._connect()
                handle = self._client.get_workflow_handle(run.workflow_id)
                return await handle.execute_update(name, command, id=update_id, rpc_timeout=_PATIENCE)
        except WorkflowUpdateFailedError as refusal:
            elsewhere = isinstance(refusal.cause, ApplicationError) and refusal.cause.type == NotFound.__name__
            raise (_Gone if elsewhere else OperationRefused)(str(refusal.cause)) from refusal
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as problem:
            raise Unavailable("no worker answered in time; it may still be done, so ask again") from problem
        except RPCError as problem:
            if problem.status is RPCStatusCode.NOT_FOUND:
                raise _Gone("Temporal does not have this run, or has it no more") from problem
            if problem.status in DOWN:
                raise Unavailable(f"Temporal: {problem.status.name}") from problem
            raise
        except (RuntimeError, OSError) as problem:
            raise Unavailable("Temporal does not answer") from problem


class _Gone(OperationRefused):
    """Temporal has no such run: not yet, or no more."""
