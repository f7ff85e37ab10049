"""What the tests of the Postgres adapters share: events as the API would store them, routed by hand."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.at_once import asked_at_once
from adapters.postgres.batch import Batch
from adapters.postgres.identities import new_id
from adapters.postgres.routing import prepare, route, unwritten
from adapters.postgres.tables import identities, messages, runs
from adapters.postgres.tenancy import as_store
from domain import ids
from domain.events import Event, Who
from domain.facts import Topic
from domain.plans import Step

START = datetime(2026, 1, 15, 12, tzinfo=UTC)


class Telling:
    """A store that is told events; each is applied in the transaction of its batch."""

    def __init__(self, engine: AsyncEngine, store_id: str = "mugs") -> None:
        self.engine = engine
        self.store_id = store_id

    def event(
        self, name: str | None, /, at: datetime = START, who: Who | None = None, kind: Any = "track", **body: Any
    ) -> Event:
        """Make an event; `body` holds the properties of a track event, the traits of an identify."""
        event_id = new_id()
        who = who or Who(user_id="ada")
        content = {"properties": body} if kind == "track" else {"traits": body} if kind == "identify" else body
        payload = {"type": kind, "event": name, **content}
        return Event(
            store_id=self.store_id, id=event_id, message_id=str(event_id), type=kind, name=name, who=who,
            payload=payload, at=at, received_at=at,
        )  # fmt: skip

    async def apply(self, events: Iterable[Event], now: datetime = START) -> None:
        """Apply events to this store, whichever they were made for."""
        async with as_store(self.engine, self.store_id) as connection:
            await self.apply_in(connection, events, now)

    async def apply_in(self, connection: AsyncConnection, events: Iterable[Event], now: datetime = START) -> None:
        """Apply events in a transaction of the caller, as one batch."""
        batch = Batch()
        mine = [event._replace(store_id=self.store_id) for event in events]
        if mine:
            await prepare(connection, [(event, now) for event in mine], batch)
        for event in mine:
            await route(connection, event, now, batch)
        await asked_at_once(connection, *unwritten(self.store_id, batch))

    async def customer(self, value: str = "ada", kind: str = "user") -> UUID:
        """Return who an identity stands for."""
        query = select(identities.c.customer_id).where(
            identities.c.store_id == self.store_id, identities.c.kind == kind, identities.c.value == value
        )
        async with as_store(self.engine, self.store_id) as connection:
            return (await connection.execute(query)).scalar_one()

    async def run(self, customer_id: UUID, journey: str, product_id: str | None = None, **more: Any) -> UUID:
        """Write a run down as under way."""
        run_id = new_id()
        row = {
            "store_id": self.store_id, "run_id": run_id, "journey": journey, "customer_id": customer_id,
            "workflow_id": ids.workflow_id(self.store_id, journey, customer_id, product_id), "product_id": product_id,
            "plan_version": 0, "since": START, "begun_at": START, "expires_at": START.replace(year=2027),
        }  # fmt: skip
        await self.write(insert(runs).values(row | more))
        return run_id

    async def sent_message(
        self, customer_id: UUID, at: datetime, step: str = "reminder-1", code: str | None = None
    ) -> UUID:
        """Write a message down as sent."""
        message_id = new_id()
        row = {
            "store_id": self.store_id, "message_id": message_id, "run_id": new_id(), "customer_id": customer_id,
            "journey": "cart-recovery", "step": step, "template": "cart-reminder", "transactional": False,
            "state": "sent", "claimed_at": at, "sending_at": at, "settled_at": at, "discount_code": code,
        }  # fmt: skip
        await self.write(insert(messages).values(row))
        return message_id

    async def write(self, statement: Any) -> None:
        """Execute a statement."""
        async with as_store(self.engine, self.store_id) as connection:
            await connection.execute(statement)

    async def rows(self, table: Any, *where: Any) -> list[Any]:
        """Read this store's rows of a table."""
        async with as_store(self.engine, self.store_id) as connection:
            query = select(table).where(table.c.store_id == self.store_id, *where)
            return list((await connection.execute(query)).all())


@pytest.fixture
def mugs(engine: AsyncEngine, store: Any) -> Telling:
    """The store that is told things."""
    return Telling(engine, store.store_id)


@pytest.fixture
def reminder() -> Step:
    """A marketing step."""
    return Step(name="reminder-1", template="cart-reminder", topic=Topic.ABANDONED_CART)
