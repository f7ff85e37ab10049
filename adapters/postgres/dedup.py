"""Dedup keys: which events a store has had, by what their clients call them.

An event that is deleted takes its key along, so that nothing is left of what a client called it. One kind of key is
a memory of its own and outlives its event: a customer hears of a price once (watchers.py).
"""

from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, not_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import dedup_keys, events
from domain.retention import Week

_REMEMBERED = and_(events.c.customer_id.is_not(None), events.c.name == "Watched Price Fell")
"""Only events of ours name a customer by our id, so no client can have its keys remembered."""
_FORGET = text("""
    with page as (
        select id, store_id, message_id, (customer_id is not null and name = 'Watched Price Fell') is true as remembered
          from events where id > :after and id >= :since and id < :until order by id limit :page
    ), gone as (
        delete from dedup_keys d using page p
         where d.store_id = p.store_id and d.message_id = p.message_id and d.event_id = p.id and not p.remembered
    )
    select id from page order by id desc limit 1
""")


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
    gone = doomed.returning(events.c.message_id, events.c.id, func.coalesce(_REMEMBERED, False).label("kept")).cte(
        "gone"
    )
    keys = delete(dedup_keys).where(dedup_keys.c.store_id == store_id, dedup_keys.c.message_id == gone.c.message_id)
    keys = keys.where(dedup_keys.c.event_id == gone.c.id)
    forgotten = (keys.where(not_(gone.c.kept)) if remember_prices else keys).cte("forgotten")
    return await connection.scalar(select(func.count()).select_from(gone).add_cte(forgotten)) or 0


async def forget(connection: AsyncConnection, week: Week, after: UUID, page: int) -> UUID | None:
    """Delete the dedup keys of a page of events, whose table is about to be dropped.

    Args:
        connection: In a transaction.
        week: The table.
        after: The event after which the page begins.
        page: How many events.

    Returns:
        The last event of the page; None if there is none.
    """
    asked = {"after": after, "since": week.since, "until": week.until, "page": page}
    last: UUID | None = await connection.scalar(_FORGET, asked)
    return last
