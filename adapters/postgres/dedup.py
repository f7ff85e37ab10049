"""Dedup keys: which events a store has had, by what their clients call them.

An event that is deleted takes its key along, so that nothing is left of what a client called it. One kind of key is
a memory of its own and outlives its event: a customer hears of a price once (watchers.py).
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, not_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import dedup_keys, events
from domain.retention import Week
from domain.values import Value

_remembered = func.coalesce(
    and_(events.c.customer_id.is_not(None), events.c.name == "Watched Price Fell"), False
).label("remembered")
"""Only events of ours name a customer by our id, so no client can have its keys remembered."""
_FORGET = text("""
    delete from dedup_keys d
     using unnest(cast(:message_ids as text[]), cast(:event_ids as uuid[])) as k (message_id, id)
     where d.store_id = :store_id and d.message_id = k.message_id and d.event_id = k.id
""")


class DedupKey(Value):
    """The key of an event.

    Attributes:
        remembered: It outlives the event.
    """

    store_id: str
    message_id: str
    event_id: UUID
    remembered: bool


async def delete_events(
    connection: AsyncConnection, store_id: str, where: ColumnElement[bool], *, remember_prices: bool = False
) -> int:
    """Delete events of a store and their dedup keys.

    Args:
        connection: In a transaction.
        store_id: Whose events.
        where: Which of them.
        remember_prices: Keep the keys of price alerts, as everywhere but in an erasure.

    Returns:
        How many events.
    """
    doomed = delete(events).where(events.c.store_id == store_id, where)
    gone = doomed.returning(events.c.message_id, events.c.id, _remembered).cte("gone")
    keys = delete(dedup_keys).where(dedup_keys.c.store_id == store_id, dedup_keys.c.message_id == gone.c.message_id)
    keys = keys.where(dedup_keys.c.event_id == gone.c.id)
    forgotten = (keys.where(not_(gone.c.remembered)) if remember_prices else keys).cte("forgotten")
    return await connection.scalar(select(func.count()).select_from(gone).add_cte(forgotten)) or 0


async def page(connection: AsyncConnection, week: Week, after: UUID, limit: int) -> list[DedupKey]:
    """Return the dedup keys of a week's events, of all stores, in order of the events.

    Args:
        connection: In a transaction that looks across stores.
        week: Which events.
        after: The event after which the page begins.
        limit: How many events.
    """
    query = (
        select(events.c.store_id, events.c.message_id, events.c.id.label("event_id"), _remembered)
        .where(events.c.id > after, events.c.id >= week.since, events.c.id < week.until)
        .order_by(events.c.id)
        .limit(limit)
    )
    return [DedupKey.model_validate(row, from_attributes=True) for row in (await connection.execute(query)).all()]


async def forget(connection: AsyncConnection, store_id: str, keys: Sequence[DedupKey]) -> None:
    """Delete dedup keys of a store, whose events are about to go with their table."""
    asked = {"message_ids": [key.message_id for key in keys], "event_ids": [key.event_id for key in keys]}
    await connection.execute(_FORGET, {"store_id": store_id, **asked})
