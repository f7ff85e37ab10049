"""Carts and orders: what a customer holds, and what became of it."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, and_, case, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres import attribution, carts, waitlist
from adapters.postgres.apply.applying import Applying, Derived
from adapters.postgres.statements import built_once
from adapters.postgres.tables import orders
from domain.cart import Cart
from domain.facts import (
    CartChanged,
    CartEmptied,
    CartLineChanged,
    CartReported,
    OrderCancelled,
    OrderPlaced,
    OrderRefunded,
    OrderUpdated,
)

_ONLY_UNDONE = datetime.fromtimestamp(0, UTC)
"""When an order was told of which we know a refund or cancellation only."""


async def _cart(on: Applying) -> Cart:
    return await carts.held(on.connection, on.store_id, on.customer_id, on.batch) or Cart()


async def cart_change(on: Applying, fact: CartLineChanged | CartReported) -> list[Derived]:
    """Keep the cart, and say whether it is another one now."""
    known = on.batch.snapshots.get((on.store_id, on.customer_id))
    old = await _cart(on) if known is None else known.cart
    new = old.with_change(on.event.id, fact) if isinstance(fact, CartLineChanged) else old.with_report(fact)
    if new == old:
        return []
    on.batch.carts[on.store_id, on.customer_id] = new
    if known is not None:
        on.batch.snapshots[on.store_id, on.customer_id] = known.model_copy(update={"cart": new})
    if lines := new.lines:
        at = new.changed_at or fact.at
        items = sum(line.quantity for line in lines)
        return on.me(CartChanged(at=at, total_minor=new.total_minor, currency=new.currency, items=items))
    return on.me(CartEmptied(at=fact.at)) if old.lines else []


async def ordered(on: Applying, fact: OrderPlaced | OrderUpdated) -> list[Derived]:
    """Keep an order, and say once that it was placed."""
    here = and_(orders.c.store_id == on.store_id, orders.c.order_id == fact.order_id)
    known = (await on.connection.execute(*_order(on.store_id, fact.order_id))).one_or_none()
    unheard_of = known is None or known.updated_at == _ONLY_UNDONE
    placed_before = known is not None and known.placed_at is not None
    values = _contents(fact, known)
    if unheard_of or (isinstance(fact, OrderPlaced) and not placed_before):
        values["customer_id"] = on.customer_id
    if isinstance(fact, OrderPlaced):
        values["placed_at"] = min(known.placed_at, fact.at) if placed_before and known is not None else fact.at
    if known is None:
        row = {"store_id": on.store_id, "order_id": fact.order_id, "status": "placed", **values}
        await on.connection.execute(insert(orders), row)
    elif values:
        await on.connection.execute(update(orders).where(here).values(values))
    if placed_before and known is not None and (isinstance(fact, OrderUpdated) or known.customer_id == on.customer_id):
        return []  # told before, by another event, or news about a purchase that has had its effect
    if isinstance(fact, OrderUpdated) and not unheard_of:
        return []
    if isinstance(fact, OrderPlaced) and not placed_before:
        for line in fact.lines:
            on.batch.sales[on.store_id, line.product_id] += line.quantity
        await attribution.credit(on.connection, on.store_id, on.customer_id, fact)
    on.batch.carts[on.store_id, on.customer_id] = (await _cart(on)).with_order(fact.at)
    await waitlist.leave(on.connection, on.store_id, on.customer_id, [line.product_id for line in fact.lines], fact.at)
    # An update of an order we have not seen is a purchase too: it ends what a purchase ends, and begins nothing.
    return on.me(fact if isinstance(fact, OrderPlaced) else OrderPlaced(**fact.model_dump(exclude={"kind"})))


@built_once
def _order(store_id: str, order_id: str) -> Select[Any]:
    return select(orders).where(orders.c.store_id == store_id, orders.c.order_id == order_id).with_for_update()


def _contents(fact: OrderPlaced | OrderUpdated, known: Row[Any] | None) -> dict[str, Any]:
    """Say what is to be written of an order's contents: the newest that came with lines; an update often has none."""
    contents = {
        "total_minor": fact.total_minor,
        "currency": fact.currency,
        "lines": [line.model_dump(mode="json") for line in fact.lines],
        "coupon": fact.coupon,
        "updated_at": fact.at,
    }
    if known is None or known.updated_at == _ONLY_UNDONE:
        return contents
    # Told of the same instant, the update is the later word.
    newer = fact.at > known.updated_at or (fact.at == known.updated_at and isinstance(fact, OrderUpdated))
    if fact.lines:
        return contents if newer or not known.lines else {}
    bare = isinstance(fact, OrderPlaced) and not known.lines and (newer or known.placed_at is None)
    return contents if bare else {}


async def order_undone(on: Applying, fact: OrderRefunded | OrderCancelled) -> list[Derived]:
    """Note what became of an order, also before we hear of it."""
    status = "refunded" if isinstance(fact, OrderRefunded) else "cancelled"
    row = {"store_id": on.store_id, "order_id": fact.order_id, "customer_id": on.customer_id}
    statement = upsert(orders).values(**row, status=status, lines=[], updated_at=_ONLY_UNDONE)
    key = [orders.c.store_id, orders.c.order_id]
    # The refund may come before the order; then the order finds its status already there. What was cancelled and
    # paid back is refunded, whichever we hear first.
    strongest = case((orders.c.status == "refunded", "refunded"), else_=status)
    change = statement.on_conflict_do_update(index_elements=key, set_={"status": strongest})
    owner = (await on.connection.execute(change.returning(orders.c.customer_id))).scalar_one()
    return [Derived(customer_id=owner, fact=fact)]
