"""Carts as they are stored: one row for each customer who has ever held anything.

A customer who fills a cart sends one event after the other. A batch keeps what they leave and writes each cart once:
at its end, or before whoever reads the table itself.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.batch import Batch
from adapters.postgres.statements import built_once
from adapters.postgres.tables import carts
from domain.cart import Cart

# One document in place of an array for each column: an array of texts has every quote of a cart escaped once more.
_SAVE = text("""
    insert into carts (store_id, customer_id, cart, total_minor, changed_at)
    select :store_id, each.*
      from jsonb_to_recordset(:rows)
           as each (customer_id uuid, cart jsonb, total_minor bigint, changed_at timestamptz)
    on conflict (store_id, customer_id) do update
       set cart = excluded.cart, total_minor = excluded.total_minor, changed_at = excluded.changed_at
""").bindparams(bindparam("rows", type_=JSONB))


async def held(connection: AsyncConnection, store_id: str, customer_id: UUID, batch: Batch) -> Cart | None:
    """Return a customer's cart, as the batch has left it; None if there has never been one."""
    left = batch.carts.get((store_id, customer_id))
    if left is not None:
        return left
    found = await connection.scalar(*_cart(store_id, customer_id))
    return None if found is None else Cart.model_validate(found)


async def write(connection: AsyncConnection, store_id: str, batch: Batch) -> None:
    """Write the carts that a batch has left at a store, whose customers' rows are locked."""
    mine = [key for key in batch.carts if key[0] == store_id]
    if mine:
        await save(connection, store_id, [(customer_id, batch.carts.pop((s, customer_id))) for s, customer_id in mine])


async def save(connection: AsyncConnection, store_id: str, held_by: Iterable[tuple[UUID, Cart]]) -> None:
    """Write carts, each of another customer."""
    rows = [
        {
            "customer_id": str(customer_id),
            "cart": cart.model_dump(mode="json"),
            "total_minor": cart.total_minor,
            "changed_at": None if cart.changed_at is None else cart.changed_at.isoformat(),
        }
        for customer_id, cart in held_by
    ]
    await connection.execute(_SAVE, {"store_id": store_id, "rows": rows})


@built_once
def _cart(store_id: str, customer_id: UUID) -> Select[Any]:
    return select(carts.c.cart).where(carts.c.store_id == store_id, carts.c.customer_id == customer_id)
