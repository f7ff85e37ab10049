"""Material: what a message may say, read in the claim's own transaction so that it is what was decided on."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import watchers
from adapters.postgres.tables import carts, orders, products, stores, views
from domain.cart import Cart
from domain.delivery import PriceLow, Slot, Unconfirmed
from domain.facts import Line
from domain.message import Material, Product, StoreCard

_RECOMMENDED = 4


async def material(connection: AsyncConnection, slot: Slot, customer: Row[Any], message_id: UUID) -> Material:
    """Gather what the templates of any journey may use."""
    store = (await connection.execute(select(stores).where(stores.c.store_id == slot.store_id))).one()
    about: dict[str, Any] = {"currency": store.currency}
    if slot.order_id is not None:
        about |= await _order(connection, slot.store_id, slot.order_id)
    elif slot.product_id is None:
        about |= await _cart(connection, slot.store_id, customer.customer_id)
    if slot.product_id is not None:
        found = await _products(connection, slot.store_id, products.c.product_id == slot.product_id, 1)
        about["product"] = found[0] if found else Product(product_id=slot.product_id)
        for condition in slot.requires:
            if isinstance(condition, PriceLow):
                about["product"] = await _with_old_price(
                    connection, slot, customer.customer_id, condition, about["product"]
                )
    for condition in slot.requires:
        if isinstance(condition, Unconfirmed):
            about["confirm_by"] = condition.by
    shown = {line.product_id for line in about.get("lines", ())} | {slot.product_id}
    about["recommended"] = await _recommended(connection, slot.store_id, customer.customer_id, shown)
    return Material(
        message_id=message_id,
        store=StoreCard.model_validate(store, from_attributes=True),
        email=customer.email,
        first_name=customer.first_name,
        last_name=customer.last_name,
        locale=customer.locale or "en",
        journey=slot.journey,
        step=slot.step.name,
        template=slot.step.template,
        transactional=slot.step.transactional,
        discount_code=slot.step.discount_code,
        **about,
    )


async def _with_old_price(
    connection: AsyncConnection, slot: Slot, customer_id: UUID, condition: PriceLow, product: Product
) -> Product:
    row = await watchers.wanted(connection, slot.store_id, customer_id, product.product_id, condition.percent)
    return product if row is None else product.model_copy(update={"old_price_minor": row.old_minor})


async def _cart(connection: AsyncConnection, store_id: str, customer_id: UUID) -> dict[str, Any]:
    query = select(carts.c.cart).where(carts.c.store_id == store_id, carts.c.customer_id == customer_id)
    found = await connection.scalar(query)
    if found is None:
        return {}
    cart = Cart.model_validate(found)
    lines = await _filled(connection, store_id, cart.lines)
    said = {"lines": lines, "total_minor": cart.total_minor, "checkout_url": cart.checkout_url}
    return said | ({"currency": cart.currency} if lines else {})


async def _order(connection: AsyncConnection, store_id: str, order_id: str) -> dict[str, Any]:
    query = select(orders).where(orders.c.store_id == store_id, orders.c.order_id == order_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return {"order_id": order_id}
    lines = await _filled(connection, store_id, tuple(Line.model_validate(line) for line in row.lines))
    return {"order_id": order_id, "lines": lines, "total_minor": row.total_minor, "currency": row.currency}


async def _filled(connection: AsyncConnection, store_id: str, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Fill what the client left out of a line from the catalogue."""
    listed = products.c.product_id.in_([line.product_id for line in lines])
    catalogue = {p.product_id: p for p in await _products(connection, store_id, listed, len(lines))} if lines else {}
    filled = []
    for line in lines:
        product = catalogue.get(line.product_id)
        fields = ("name", "url", "image_url", "price_minor")
        known = {} if product is None else {f: getattr(product, f) for f in fields if getattr(line, f) is None}
        filled.append(line.model_copy(update=known))
    return tuple(filled)


async def _recommended(
    connection: AsyncConnection, store_id: str, customer_id: UUID, shown: set[str | None]
) -> tuple[Product, ...]:
    """Best sellers in the category the customer looked at last, else of the whole shop; nothing shown twice."""
    category = await connection.scalar(
        select(views.c.category)
        .where(views.c.store_id == store_id, views.c.customer_id == customer_id, views.c.category.is_not(None))
        .order_by(views.c.at.desc())
        .limit(1)
    )
    sellable = products.c.name.is_not(None) & products.c.withdrawn.is_(False)
    wanted = sellable if category is None else sellable & (products.c.category == category)
    found = await _products(connection, store_id, wanted, _RECOMMENDED + len(shown))
    if category is not None and len(found) < _RECOMMENDED:
        found += await _products(connection, store_id, sellable, _RECOMMENDED + len(shown) + len(found))
    fresh = {p.product_id: p for p in found if p.product_id not in shown}
    return tuple(fresh.values())[:_RECOMMENDED]


async def _products(connection: AsyncConnection, store_id: str, which: Any, limit: int) -> list[Product]:
    query = select(products).where(products.c.store_id == store_id, which)
    rows = (await connection.execute(query.order_by(products.c.sold.desc(), products.c.product_id).limit(limit))).all()
    return [Product.model_validate(row, from_attributes=True) for row in rows]
