"""What is true now: all that the gate decides on, read in the claim's transaction under the customer's lock."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import interest, watchers
from adapters.postgres.standing import Standing
from adapters.postgres.statements import built_once
from adapters.postgres.tables import messages, products
from adapters.postgres.traffic import traffic
from domain import ids
from domain.cart import Cart
from domain.consent import allows, awaiting
from domain.delivery import CartQuiet, InStock, OrderStands, PriceLow, Result, Slot, Unconfirmed, Undecided
from domain.gate import Truth


async def truth(connection: AsyncConnection, slot: Slot, customer: Any, known: Standing, now: datetime) -> Truth:
    """Gather everything that the gate decides on: what is known, and what only some messages need."""
    store_id, customer_id = slot.store_id, customer.customer_id
    seen: dict[str, Any] = {"ended": known.ended, "address": customer.email}
    seen["pauses"] = known.pauses
    if customer.email is not None:
        seen["unsubscribed"] = "unsubscribed" in known.reasons
        seen["suppressed"] = min(known.reasons - {"unsubscribed"}, default=None)
    seen["consented"] = allows(known.consents, slot.step.topic, customer.email)
    if awaiting(known.consents, customer.email):
        seen["unconfirmed"] = True
    if slot.gap:
        seen["last_marketing_at"] = known.last_marketing_at
    seen |= await traffic(connection, slot, customer, known, now)
    for condition in slot.requires:
        match condition:
            case CartQuiet():
                seen |= _cart_truth(known.cart)
            case InStock(product_id=product_id):
                seen |= await _stock_truth(connection, store_id, product_id)
            case OrderStands(order_id=order_id):
                order = known.order
                seen["order_stands"] = order is not None and (order.order_id, order.status) == (order_id, "placed")
            case Undecided(product_id=product_id):
                seen |= _cart_truth(known.cart)
                seen |= await _stock_truth(connection, store_id, product_id)
                seen["viewed_at"] = await interest.last_look(connection, store_id, customer_id, product_id)
            case Unconfirmed():
                seen["asked_at"] = await _asked_at(connection, slot, customer.email)
            case PriceLow(product_id=product_id, percent=percent):
                seen |= await _stock_truth(connection, store_id, product_id)
                seen |= await _price_truth(connection, store_id, customer_id, product_id, percent)
    return Truth(**seen)


def _cart_truth(cart: Cart) -> dict[str, Any]:
    return {"cart_lines": len(cart.lines), "cart_changed_at": cart.changed_at}


async def _stock_truth(connection: AsyncConnection, store_id: str, product_id: str) -> dict[str, Any]:
    row = (await connection.execute(*_stock(store_id, product_id))).one_or_none()
    return {} if row is None else {"stock": row.stock, "withdrawn": row.withdrawn}


@built_once
def _stock(store_id: str, product_id: str) -> Select[Any]:
    here = (products.c.store_id == store_id, products.c.product_id == product_id)
    return select(products.c.stock, products.c.withdrawn).where(*here)


async def _price_truth(
    connection: AsyncConnection, store_id: str, customer_id: UUID, product_id: str, percent: int
) -> dict[str, Any]:
    row = await watchers.wanted(connection, store_id, customer_id, product_id, percent)
    return {} if row is None else {"price_minor": row.price_minor, "wanted_minor": row.wanted_minor}


async def _asked_at(connection: AsyncConnection, slot: Slot, address: str | None) -> datetime | None:
    """Read when another run of the journey last wrote to an address, whichever customer's it was.

    Of two that ask at the same moment, each under its own customer's lock, one has to see the other: the second waits
    here until the first has decided.
    """
    key = ids.lock_key(slot.store_id, "asked", address or "")
    await connection.execute(select(func.pg_advisory_xact_lock(key)))
    query = select(func.max(messages.c.claimed_at)).where(
        messages.c.store_id == slot.store_id,
        messages.c.address == address,
        messages.c.journey == slot.journey,
        messages.c.run_id != slot.run_id,
        messages.c.state.in_([Result.SENT, Result.UNKNOWN, "claimed", "sending"]),
    )
    asked_at: datetime | None = await connection.scalar(query)
    return asked_at
