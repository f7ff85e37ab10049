"""Dedup keys: an event that is deleted takes its key along, so that nothing is left of what a client called it."""

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import dedup_keys, events


async def delete_events(connection: AsyncConnection, store_id: str, where: ColumnElement[bool]) -> int:
    """Delete events of a store and their dedup keys.

    Returns:
        How many events.
    """
    doomed = delete(events).where(events.c.store_id == store_id, where)
    gone = doomed.returning(events.c.message_id, events.c.id).cte("gone")
    keys = delete(dedup_keys).where(dedup_keys.c.store_id == store_id, dedup_keys.c.message_id == gone.c.message_id)
    forgotten = keys.where(dedup_keys.c.event_id == gone.c.id).cte("forgotten")
    return await connection.scalar(select(func.count()).select_from(gone).add_cte(forgotten)) or 0
