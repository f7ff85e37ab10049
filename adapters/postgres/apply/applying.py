"""Applying one event: whose it is, what it is written with, and the facts that it makes true."""

from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.batch import Batch
from adapters.postgres.statements import put
from domain.events import Event
from domain.facts import AnyFact, Fact
from domain.plans import Plan
from domain.snapshot import offered
from domain.values import Value

PlanT = TypeVar("PlanT", bound=Plan)


class Derived(Value):
    """A fact that became true, and for whom (None: for no customer in particular)."""

    customer_id: UUID | None
    fact: AnyFact


class Applying:
    """One event being applied to one customer's state, under the customer's lock."""

    def __init__(
        self,
        connection: AsyncConnection,
        event: Event,
        customer_id: UUID | None,
        now: datetime,
        batch: Batch,
    ) -> None:
        self.connection = connection
        self.event = event
        self.store_id = event.store_id
        self.now = now
        self.batch = batch
        self._customer_id = customer_id

    @property
    def customer_id(self) -> UUID:
        """The customer the event is about."""
        if self._customer_id is None:
            raise ValueError("a fact about a customer needs one")
        return self._customer_id

    def me(self, *facts: Fact) -> list[Derived]:
        """Derive facts about this customer."""
        return [Derived(customer_id=self.customer_id, fact=fact) for fact in facts]

    def plan(self, journey: str, model: type[PlanT]) -> PlanT:
        """Return the store's plan for a journey."""
        return offered(self.batch.terms[self.store_id].plans, journey, model)

    async def put(self, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
        """Insert or update one row of this store."""
        row = {"store_id": self.store_id, **key, **values}
        await self.connection.execute(put(table, ("store_id", *key), tuple(values)), row)


def newer(told: dict[str, Any], stamps: dict[str, str], at: datetime) -> dict[str, Any]:
    """Keep the fields that nobody has told us about since."""
    return {f: v for f, v in told.items() if f not in stamps or datetime.fromisoformat(stamps[f]) <= at}
