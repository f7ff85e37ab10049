"""Carts as they are stored: one row for each customer who has ever held anything.

A customer who fills a cart sends one event after the other. A batch keeps what they leave and writes each cart once:
at its end, or before whoever reads the table itself.
"""

from collections.abc import Iterable
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.at_once import Asked, asked_at_once
from adapters.postgres.batch import Batch
from adapters.postgres.statements import built_once
from adapters.postgres.tables import carts
from domain.cart import Cart

# One document in place of an array for each column: an array of texts has every quote of a cart escaped once more.
_SAVE: LiteralString = """
    insert into carts (store_id, customer_id, cart, total_minor, changed_at)
    select %(store_id)s, each.*
      from jsonb_to_recordset(%(rows)s)
           as each (customer_id uuid, cart jsonb, total_minor bigint, changed_at timestamptz)
    on conflict (store_id, customer_id) do update
       set cart = excluded.cart, total_minor = excluded.total_minor, changed_at = excluded.changed_at
"""


async def held(connection: AsyncConnection, store_id: str, customer_id: UUID, batch: Batch) -> Cart | None:
    """Return a customer's cart, as the batch has left it; None if there has never been one."""
    left = batch.carts.get((store_id, customer_id))
    if left is not None:
        return left
    found = await connection.scalar(*_cart(store_id, customer_id))
    return None if found is None else Cart.model_validate(found)


async def write(connection: AsyncConnection, store_id: str, batch: Batch) -> None:
    """Write the carts that a batch has left at a store, whose customers' rows are locked."""
    await asked_at_once(connection, *written(store_id, batch))


def written(store_id: str, batch: Batch) -> list[Asked]:
    """Return what writes the carts that a batch has left at a store, and has none left then."""
    mine = [key for key in batch.carts if key[0] == store_id]
    return [saved(store_id, [(key[1], batch.carts.pop(key)) for key in mine])] if mine else []


def saved(store_id: str, held_by: Iterable[tuple[UUID, Cart]]) -> Asked:
    """Return what writes carts, each of another customer."""
    rows = [
        {
            "customer_id": str(customer_id),
            "cart": cart.model_dump(mode="json"),
            "total_minor": cart.total_minor,
            "changed_at": None if cart.changed_at is None else cart.changed_at.isoformat(),
        }
        for customer_id, cart in held_by
    ]
    return _SAVE, {"store_id": store_id, "rows": Jsonb(rows)}


@built_once
def _cart(store_id: str, customer_id: UUID) -> Select[Any]:
    return select(carts.c.cart).where(carts.c.store_id == store_id, carts.c.customer_id == customer_id)
