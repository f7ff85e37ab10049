"""Pools of discount codes: each code belongs to one message at most, taken in the transaction that claims it.

A code comes back only from a message that surely nobody got.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import and_, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import discount_codes, messages, runs
from domain import ids
from domain.delivery import Delivery, Result, Slot
from domain.discounts import exhausted, without_code
from domain.values import Value

_log = structlog.get_logger(__name__)
_AT_ONCE = 10_000


class Pool(Value):
    """How much is left of a pool.

    Attributes:
        waiting: Messages that wait for a code.
    """

    pool: str
    free: int
    given: int
    waiting: int = 0


async def settle(
    connection: AsyncConnection, slot: Slot, delivery: Delivery, put_off_at: datetime | None, now: datetime
) -> tuple[Slot, Delivery]:
    """Give a message that may be sent its code, and take it back from one that may not.

    Returns:
        The slot with the code as that of its step, and what is decided now.
    """
    pool, message_id = slot.step.discount_pool, ids.message_id(slot.run_id, slot.step.name)
    if pool is None:
        return slot, delivery
    if delivery.result is not Result.SENT:
        await give_back(connection, slot.store_id, message_id)
        return slot, delivery
    code = await _take(connection, slot.store_id, pool, message_id, now)
    if code is None:
        _log.warning("discount pool is empty", store_id=slot.store_id, pool=pool, journey=slot.journey)
        return slot, without_code(slot, delivery, put_off_at, now)
    return slot.model_copy(update={"step": slot.step.model_copy(update={"discount_code": code})}), delivery


async def give_back(connection: AsyncConnection, store_id: str, message_id: UUID) -> None:
    """Put the code of a message that nobody got back into its pool; of one sent again the first may have arrived."""
    message = and_(messages.c.store_id == store_id, messages.c.message_id == message_id)
    sent_again = select(messages.c.message_id).where(message, messages.c.resent_at.is_not(None)).exists()
    mine = and_(discount_codes.c.store_id == store_id, discount_codes.c.message_id == message_id, ~sent_again)
    freed = update(discount_codes).where(mine).values(message_id=None, given_at=None)
    if await connection.scalar(freed.returning(discount_codes.c.code)) is not None:
        await connection.execute(update(messages).where(message).values(discount_code=None))


async def add(connection: AsyncConnection, store_id: str, pool: str, codes: Sequence[str], now: datetime) -> int:
    """Add codes to a pool and return how many are new; one that the store has, in any pool, is left alone."""
    added = 0
    for start in range(0, len(codes), _AT_ONCE):
        rows = [
            {"store_id": store_id, "code": code, "pool": pool, "added_at": now, "place": place}
            for place, code in enumerate(codes[start : start + _AT_ONCE], start)
        ]
        statement = upsert(discount_codes).values(rows).on_conflict_do_nothing()
        added += len((await connection.execute(statement.returning(discount_codes.c.code))).all())
    return added


async def pools(connection: AsyncConnection, store_id: str) -> list[Pool]:
    """Return how much is left of each of a store's pools."""
    free = func.count().filter(discount_codes.c.message_id.is_(None))
    query = select(discount_codes.c.pool, free.label("free"), (func.count() - free).label("given"))
    counted = query.where(discount_codes.c.store_id == store_id).group_by(discount_codes.c.pool)
    waits = (
        select(messages.c.because, func.count())
        .where(messages.c.store_id == store_id, messages.c.state == Result.DEFERRED)
        .where(messages.c.because.startswith(exhausted("")))
        .group_by(messages.c.because)
    )
    waiting = {because.removeprefix(exhausted("")): count for because, count in (await connection.execute(waits)).all()}
    known = {row.pool: row for row in (await connection.execute(counted)).all()}
    return [
        Pool(
            pool=pool, free=known[pool].free if pool in known else 0, given=known[pool].given if pool in known else 0,
            waiting=waiting.get(pool, 0),
        )
        for pool in sorted(known.keys() | waiting.keys())
    ]  # fmt: skip


async def _take(connection: AsyncConnection, store_id: str, pool: str, message_id: UUID, now: datetime) -> str | None:
    """Return the message's code: the one it has from an earlier attempt, else the next free one."""
    theirs = select(discount_codes.c.code).filter_by(store_id=store_id, message_id=message_id)
    if (had := await connection.scalar(theirs)) is not None:
        return str(had)
    code = await _next_free(connection, store_id, pool, message_id, now)
    if code is None and await _reclaim(connection, store_id, pool):
        code = await _next_free(connection, store_id, pool, message_id, now)
    return code


async def _next_free(
    connection: AsyncConnection, store_id: str, pool: str, message_id: UUID, now: datetime
) -> str | None:
    free = (
        select(discount_codes.c.code)
        .where(discount_codes.c.store_id == store_id, discount_codes.c.pool == pool)
        .where(discount_codes.c.message_id.is_(None))
        .order_by(discount_codes.c.added_at, discount_codes.c.place)
        .limit(1)
        # Whoever claims at the same moment takes the next one, and waits for nobody.
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    this = and_(discount_codes.c.store_id == store_id, discount_codes.c.code == free)
    taken = update(discount_codes).where(this).values(message_id=message_id, given_at=now)
    code = await connection.scalar(taken.returning(discount_codes.c.code))
    return None if code is None else str(code)


async def _reclaim(connection: AsyncConnection, store_id: str, pool: str) -> bool:
    """Take the codes back from messages that were claimed and never handed over, and whose runs have ended.

    An attempt that is still under way finds its message no longer claimed, and may not hand it over.
    """
    left = (
        select(messages.c.message_id)
        .join(runs, and_(runs.c.store_id == messages.c.store_id, runs.c.run_id == messages.c.run_id))
        .join(
            discount_codes,
            and_(
                discount_codes.c.store_id == messages.c.store_id, discount_codes.c.message_id == messages.c.message_id
            ),
        )
        .where(messages.c.store_id == store_id, messages.c.state == "claimed")
        .where(messages.c.resent_at.is_(None), runs.c.ended_at.is_not(None), discount_codes.c.pool == pool)
        .with_for_update(of=messages, skip_locked=True)
    )
    message_ids = list((await connection.execute(left)).scalars())
    for message_id in message_ids:
        message = and_(messages.c.store_id == store_id, messages.c.message_id == message_id)
        ended = {"state": Result.EXITED, "because": "the run ended before it was sent"}
        await connection.execute(update(messages).where(message).values(ended))
        await give_back(connection, store_id, message_id)
    return bool(message_ids)
