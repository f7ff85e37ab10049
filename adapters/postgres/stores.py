"""Stores: the tenants, and what holds for all the keys of one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import audit
from adapters.postgres.tables import stores
from adapters.postgres.tenancy import as_store
from domain.errors import InvalidInput, NotFound
from domain.limits import Limit
from domain.message import StoreCard
from domain.operations import Operator


async def create(engine: AsyncEngine, card: StoreCard, now: datetime, *, by: Operator, timezone: str = "UTC") -> None:
    """Add a store.

    Raises:
        InvalidInput: There is a store with this id.
    """
    row = {**card.model_dump(), "timezone": timezone, "created_at": now}
    async with as_store(engine, card.store_id) as connection:
        if await connection.scalar(select(stores.c.store_id).where(stores.c.store_id == card.store_id)):
            raise InvalidInput("store_id", "there is a store with this id")
        await connection.execute(insert(stores).values(row))
        detail = {"currency": card.currency, "timezone": timezone}
        await _note(connection, card.store_id, "store_created", detail, by, now)


async def origins(engine: AsyncEngine, store_id: str) -> list[str] | None:
    """Return from whose pages browsers may use a store's write keys; None is any.

    Raises:
        NotFound: There is no such store.
    """
    query = select(stores.c.origins).where(stores.c.store_id == store_id)
    async with as_store(engine, store_id) as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"there is no store {store_id!r}")
    return None if row.origins is None else list(row.origins)


async def set_origins(
    engine: AsyncEngine, store_id: str, allowed: Sequence[str] | None, now: datetime, *, by: Operator
) -> None:
    """Set from whose pages browsers may use a store's write keys.

    Args:
        engine: The database.
        store_id: Whose they are.
        allowed: Checked (`domain.access.origins`); None is any, an empty list is none.
        now: For the audit log.
        by: Who does it.

    Raises:
        NotFound: There is no such store.
    """
    detail = {"origins": None if allowed is None else list(allowed)}
    async with as_store(engine, store_id) as connection:
        await _change(connection, store_id, detail)
        await _note(connection, store_id, "origins_set", detail, by, now)


async def set_limit(engine: AsyncEngine, store_id: str, limit: Limit | None, now: datetime, *, by: Operator) -> None:
    """Set what each key of a store may take; None is the default.

    Raises:
        NotFound: There is no such store.
    """
    detail = {"rate_limit": None if limit is None else limit.model_dump()}
    async with as_store(engine, store_id) as connection:
        await _change(connection, store_id, detail)
        await _note(connection, store_id, "limit_set", detail, by, now)


async def _change(connection: AsyncConnection, store_id: str, values: dict[str, Any]) -> None:
    query = update(stores).where(stores.c.store_id == store_id).values(values).returning(stores.c.store_id)
    if await connection.scalar(query) is None:
        raise NotFound(f"there is no store {store_id!r}")


async def _note(
    connection: AsyncConnection, store_id: str, action: str, detail: dict[str, Any], by: Operator, now: datetime
) -> None:
    await audit.write(
        connection, store_id, by=by, action=action, subject=f"store:{store_id}", detail=detail,
        at=now,
    )  # fmt: skip
