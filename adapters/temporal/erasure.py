"""Erasure: a customer is forgotten by the database and by Temporal, and a receipt says so."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.postgres import audit, privacy, reports
from adapters.postgres.identities import new_id
from adapters.postgres.tenancy import as_store
from domain.errors import Unavailable
from domain.operations import Operator
from domain.ports import Clock
from domain.receipts import Notary, Receipt

_PATIENCE = timedelta(seconds=10)


class Erasure:
    """Erase customers.

    Args:
        engine: The database.
        connect: Connects to Temporal; not called for a customer without runs.
        notary: Signs the receipts.
    """

    def __init__(
        self, engine: AsyncEngine, connect: Callable[[], Awaitable[Client]], notary: Notary, clock: Clock
    ) -> None:
        self._engine = engine
        self._connect = connect
        self._notary = notary
        self._clock = clock

    async def erase(self, store_id: str, name: str, by: Operator) -> Receipt:
        """Erase a customer for good: all or nothing; to ask again after `Unavailable` does no harm.

        Args:
            store_id: The store asking.
            name: Our id of the customer, the shop's user id, an anonymous id or an e-mail address.
            by: Who asks, for the audit log.

        Raises:
            NotFound: The store has no such customer.
            Unavailable: The database or Temporal does not answer; nothing is erased.
        """
        customer_id, _ = await reports.journeys_of(self._engine, store_id, name)
        now = self._clock()
        try:
            async with as_store(self._engine, store_id) as connection:
                erased = await privacy.erase(connection, store_id, customer_id, now)
                receipt = Receipt(
                    store_id=store_id, customer_id=customer_id, erased_at=now, by=by, rows=erased.rows,
                    keys_destroyed=erased.keys_destroyed, runs_ended=await self._end(erased.workflow_ids),
                )  # fmt: skip
                await audit.write(
                    connection, store_id, f"erase:{new_id()}", by=by, action="erase", subject=f"customer:{customer_id}",
                    detail=receipt.model_dump(mode="json", include={"rows", "runs_ended", "keys_destroyed"}), at=now,
                )  # fmt: skip
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("nothing was erased: the database does not answer now") from problem
        return self._notary.signed(receipt)

    async def _end(self, workflow_ids: Sequence[str]) -> int:
        """Terminate workflows, for they can read nothing any more; return how many were open."""
        if not workflow_ids:
            return 0
        ended = 0
        try:
            client = await self._connect()
            for workflow_id in workflow_ids:
                try:
                    handle = client.get_workflow_handle(workflow_id)
                    await handle.terminate(reason="the customer was erased", rpc_timeout=_PATIENCE)
                    ended += 1
                except RPCError as problem:
                    if problem.status is not RPCStatusCode.NOT_FOUND:  # not found: it is over, or has yet to begin
                        raise
        except (RPCError, RuntimeError) as problem:
            raise Unavailable("nothing was erased: Temporal does not answer now") from problem
        return ended
