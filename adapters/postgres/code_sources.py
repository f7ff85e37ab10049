"""Shops that fill pools of discount codes, and their orders under way: written down before the shop is asked.

Whoever asks may die at any moment: an order without an answer is asked for again, under the same id, and brings the
same codes. Codes that the store has already are left alone, so an answer that is heard twice adds nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import audit, discounts
from adapters.postgres.identities import new_id
from adapters.postgres.tables import code_sources, discount_codes
from adapters.postgres.tenancy import across_stores, as_store
from domain.discounts import CodeOrder
from domain.operations import Operator
from domain.values import UtcTime, Value

PAUSE = timedelta(minutes=1)
"""How long a shop is left in peace after it was asked, whatever it answered."""


class CodeSource(Value):
    """A shop that fills a pool.

    Attributes:
        url: Where it takes orders.
        low: With fewer free codes than this the pool is filled up.
        batch: How many codes are ordered at once.
        problem: What went wrong with the last order.
    """

    pool: str
    url: str
    low: int
    batch: int
    problem: str | None = None
    tried_at: UtcTime | None = None


class CodeSources:
    """Keep the sources and their orders."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, store_id: str, source: CodeSource, now: datetime, *, by: Operator) -> None:
        """Have a shop fill a pool from now on; an order under way stays what it is."""
        values = source.model_dump(include={"url", "low", "batch"}) | {"set_at": now}
        row = {"store_id": store_id, "pool": source.pool, **values}
        statement = upsert(code_sources).values(row).on_conflict_do_update(
            index_elements=[code_sources.c.store_id, code_sources.c.pool], set_=values | {"problem": None}
        )  # fmt: skip
        async with as_store(self._engine, store_id) as connection:
            await connection.execute(statement)
            detail = {"url": source.url, "low": source.low, "batch": source.batch}
            await _note(connection, store_id, source.pool, "code_source_set", detail, by, now)

    async def forget(self, store_id: str, pool: str, now: datetime, *, by: Operator) -> bool:
        """Ask the shop no more; the codes that are there stay. Tell whether there was a source."""
        async with as_store(self._engine, store_id) as connection:
            gone = await connection.execute(delete(code_sources).where(_of(store_id, pool)))
            if gone.rowcount:
                await _note(connection, store_id, pool, "code_source_forgotten", {}, by, now)
            return bool(gone.rowcount)

    async def of(self, store_id: str) -> list[CodeSource]:
        """Return a store's sources."""
        query = select(code_sources).where(code_sources.c.store_id == store_id).order_by(code_sources.c.pool)
        async with as_store(self._engine, store_id) as connection:
            return [CodeSource.model_validate(dict(row._mapping)) for row in await connection.execute(query)]

    async def stores(self, now: datetime) -> list[str]:
        """Return the stores with a source that may be asked now."""
        query = select(code_sources.c.store_id).where(_rested(now)).distinct().order_by(code_sources.c.store_id)
        async with across_stores(self._engine) as connection:
            return list((await connection.execute(query)).scalars())

    async def orders(self, store_id: str, now: datetime, *, at_once: bool = False) -> list[CodeOrder]:
        """Write down what a store needs, and return it; each order is given to one caller until the pause is over.

        Args:
            store_id: The store.
            now: The time.
            at_once: Somebody asked for it: without the pause.
        """
        query = select(code_sources).where(code_sources.c.store_id == store_id).order_by(code_sources.c.pool)
        if not at_once:
            query = query.where(_rested(now))
        orders = []
        async with as_store(self._engine, store_id) as connection:
            for source in (await connection.execute(query.with_for_update(skip_locked=True))).all():
                if source.order_id is None and await _free(connection, source) >= source.low:
                    continue
                order_id: UUID = source.order_id or new_id()
                change = update(code_sources).where(_of(store_id, source.pool))
                await connection.execute(change.values(order_id=order_id, tried_at=now))
                asked = {"store_id": store_id, "pool": source.pool, "url": source.url, "count": source.batch}
                orders.append(CodeOrder(order_id=order_id, **asked))
        return orders

    async def filled(self, order: CodeOrder, codes: Sequence[str], now: datetime) -> int:
        """Add what the shop sent, and close the order; return how many codes are new."""
        async with as_store(self._engine, order.store_id) as connection:
            added = await discounts.add(connection, order.store_id, order.pool, codes, now)
            problem = None if added else "the shop sent no code that is new"
            await connection.execute(_under_way(order).values(order_id=None, problem=problem))
            if added:
                detail = {"added": added, "order": str(order.order_id)}
                await _note(connection, order.store_id, order.pool, "discounts_supplied", detail, "shop", now)
        return added

    async def failed(self, order: CodeOrder, problem: str) -> None:
        """Note what went wrong; the same order is tried again."""
        async with as_store(self._engine, order.store_id) as connection:
            await connection.execute(_under_way(order).values(problem=problem))


def _of(store_id: str, pool: str) -> ColumnElement[bool]:
    return and_(code_sources.c.store_id == store_id, code_sources.c.pool == pool)


def _rested(now: datetime) -> ColumnElement[bool]:
    return or_(code_sources.c.tried_at.is_(None), code_sources.c.tried_at <= now - PAUSE)


def _under_way(order: CodeOrder) -> Any:
    return update(code_sources).where(_of(order.store_id, order.pool), code_sources.c.order_id == order.order_id)


async def _free(connection: AsyncConnection, source: Row[Any]) -> int:
    """Count the free codes of a pool, as far as it matters."""
    here = (discount_codes.c.store_id == source.store_id, discount_codes.c.pool == source.pool)
    some = select(discount_codes.c.code).where(*here, discount_codes.c.message_id.is_(None)).limit(source.low)
    return await connection.scalar(select(func.count()).select_from(some.subquery())) or 0


async def _note(
    connection: AsyncConnection,
    store_id: str,
    pool: str,
    action: str,
    detail: dict[str, Any],
    by: Operator,
    at: datetime,
) -> None:
    key = f"{action}:{store_id}:{pool}:{at.isoformat()}"
    await audit.write(connection, store_id, key, by=by, action=action, subject=f"pool:{pool}", detail=detail, at=at)
