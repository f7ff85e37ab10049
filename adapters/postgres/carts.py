"""Carts as they are stored: one row for each customer who has ever held anything."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.statements import built_once, put
from adapters.postgres.tables import carts
from domain.cart import Cart

_SAVE = put(carts, ("store_id", "customer_id"), ("cart", "total_minor", "changed_at"))


async def held(connection: AsyncConnection, store_id: str, customer_id: UUID) -> Cart | None:
    """Read a customer's cart; None if there has never been one."""
    found = await connection.scalar(*_cart(store_id, customer_id))
    return None if found is None else Cart.model_validate(found)


async def save(connection: AsyncConnection, store_id: str, customer_id: UUID, cart: Cart) -> None:
    """Write a customer's cart."""
    row = {
        "store_id": store_id,
        "customer_id": customer_id,
        "cart": cart.model_dump(mode="json"),
        "total_minor": cart.total_minor,
        "changed_at": cart.changed_at,
    }
    await connection.execute(_SAVE, row)


@built_once
def _cart(store_id: str, customer_id: UUID) -> Select[Any]:
    return select(carts.c.cart).where(carts.c.store_id == store_id, carts.c.customer_id == customer_id)
