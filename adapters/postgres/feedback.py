"""Feedback, matched: whose message it is about, as events that go through the same door as all others.

A message is found by its own id, else by the newest one to the address. What is about nobody we know is nothing:
providers tell of all mail of an account. Only such events name a customer by our id, so no client can forge them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.identities import new_id
from adapters.postgres.tables import customers, messages
from adapters.postgres.tenancy import as_store
from domain.bounces import Feedback, Kind
from domain.errors import Unavailable
from domain.events import Event, Who
from domain.values import Value

_NAMES = {
    Kind.DELIVERED: "Email Delivered",
    Kind.COMPLAINED: "Email Complained",
    Kind.GONE: "Email Bounced",
    Kind.NOT_NOW: "Email Bounced",
    Kind.REFUSED: "Email Bounced",
}


class _Found(Value):
    """Who and what feedback is about; without a message only the address is known."""

    customer_id: UUID
    message_id: UUID | None = None


async def events(engine: AsyncEngine, store_id: str, told: Sequence[Feedback], now: datetime) -> list[Event]:
    """Turn feedback into events of a store; a delay is none.

    Raises:
        Unavailable: The database cannot be reached.
    """
    try:
        async with as_store(engine, store_id) as connection:
            found = [(one, await _about(connection, store_id, one)) for one in told if one.kind in _NAMES]
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable("the message could not be looked up now; send this again") from problem
    return [_event(store_id, one, row, now) for one, row in found if row is not None]


def _event(store_id: str, told: Feedback, row: _Found, now: datetime) -> Event:
    properties: dict[str, Any] = {"bounce": told.kind, "detail": told.detail}
    if row.message_id is not None:
        properties["message_id"] = str(row.message_id)
    else:
        properties["address"] = told.recipient
    name = _NAMES[told.kind]
    return Event(
        store_id=store_id,
        id=new_id(),
        message_id=f"feedback:{told.key}",
        type="track",
        name=name,
        who=Who(customer_id=row.customer_id),
        payload={"type": "track", "event": name, "properties": properties},
        at=min(told.at or now, now),
        received_at=now,
    )


async def _about(connection: AsyncConnection, store_id: str, told: Feedback) -> _Found | None:
    owner = and_(customers.c.store_id == messages.c.store_id, customers.c.customer_id == messages.c.customer_id)
    whose = func.coalesce(customers.c.merged_into, messages.c.customer_id).label("customer_id")
    mine = select(messages.c.message_id, whose).join(customers, owner, isouter=True)
    mine = mine.where(messages.c.store_id == store_id)
    known = select(func.coalesce(customers.c.merged_into, customers.c.customer_id).label("customer_id"))
    known = known.where(customers.c.store_id == store_id, customers.c.email == told.recipient).limit(1)
    queries: list[Select[Any]] = []
    if told.message_id is not None:
        queries.append(mine.where(messages.c.message_id == told.message_id))
    if told.recipient is not None and told.kind is not Kind.DELIVERED:  # of which message, an address does not say
        newest = mine.where(messages.c.address == told.recipient).order_by(messages.c.claimed_at.desc())
        queries += [newest.limit(1), known]
    for query in queries:
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is not None:
            return _Found.model_validate(dict(row))
    return None
