"""Material: what a message may say, read in the claim's own transaction so that it is what was decided on."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import catalogue, watchers
from adapters.postgres.standing import Standing
from adapters.postgres.statements import built_once
from adapters.postgres.tables import orders, products
from domain.cart import Cart
from domain.delivery import PriceLow, Slot, Unconfirmed
from domain.facts import Line
from domain.message import Material, Product, StoreCard

_RECOMMENDED = 4


async def material(
    connection: AsyncConnection, slot: Slot, customer: Row[Any], known: Standing, message_id: UUID
) -> Material:
    """Gather what the templates of any journey may use."""
    about: dict[str, Any] = {"currency": known.store.currency}
    if slot.order_id is not None:
        about |= await _order(connection, slot.store_id, slot.order_id)
    elif slot.product_id is None:
        about |= await _cart(connection, slot.store_id, known.cart)
    if slot.product_id is not None:
        found = await _listed(connection, slot.store_id, [slot.product_id])
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
    about["recommended"] = await _recommended(connection, slot.store_id, known.category, shown)
    return Material(
        message_id=message_id,
        store=StoreCard.model_validate(known.store, from_attributes=True),
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


async def _cart(connection: AsyncConnection, store_id: str, cart: Cart) -> dict[str, Any]:
    lines = await _filled(connection, store_id, cart.lines)
    said = {"lines": lines, "total_minor": cart.total_minor, "checkout_url": cart.checkout_url}
    return said | ({"currency": cart.currency} if lines else {})


async def _order(connection: AsyncConnection, store_id: str, order_id: str) -> dict[str, Any]:
    row = (await connection.execute(*_bought(store_id, order_id))).one_or_none()
    if row is None:
        return {"order_id": order_id}
    lines = await _filled(connection, store_id, tuple(Line.model_validate(line) for line in row.lines))
    return {"order_id": order_id, "lines": lines, "total_minor": row.total_minor, "currency": row.currency}


async def _filled(connection: AsyncConnection, store_id: str, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Fill what the client left out of a line from the catalogue."""
    listed = await _listed(connection, store_id, [line.product_id for line in lines]) if lines else []
    products_of = {product.product_id: product for product in listed}
    filled = []
    for line in lines:
        product = products_of.get(line.product_id)
        fields = ("name", "url", "image_url", "price_minor")
        known = {} if product is None else {f: getattr(product, f) for f in fields if getattr(line, f) is None}
        filled.append(line.model_copy(update=known))
    return tuple(filled)


async def _recommended(
    connection: AsyncConnection, store_id: str, category: str | None, shown: set[str | None]
) -> tuple[Product, ...]:
    """Best sellers in the category the customer looked at last, else of the whole shop; nothing shown twice."""
    count = _RECOMMENDED + len(shown)
    found: list[Product] = []
    if category is not None:
        found = _products((await connection.execute(*_best_of(store_id, category, count))).all())
    if len(found) < _RECOMMENDED:
        found += _products((await connection.execute(*_best(store_id, count + len(found)))).all())
    fresh = {p.product_id: p for p in found if p.product_id not in shown}
    return tuple(fresh.values())[:_RECOMMENDED]


async def _listed(connection: AsyncConnection, store_id: str, product_ids: list[str]) -> list[Product]:
    return _products(await catalogue.listed(connection, store_id, product_ids))


def _products(rows: Iterable[Row[Any]]) -> list[Product]:
    return [Product.model_validate(row, from_attributes=True) for row in rows]


@built_once
def _bought(store_id: str, order_id: str) -> Select[Any]:
    return select(orders).where(orders.c.store_id == store_id, orders.c.order_id == order_id)


@built_once
def _best(store_id: str, count: int) -> Select[Any]:
    return _best_sellers(store_id).limit(count)


@built_once
def _best_of(store_id: str, category: str, count: int) -> Select[Any]:
    return _best_sellers(store_id).where(products.c.category == category).limit(count)


def _best_sellers(store_id: str) -> Select[Any]:
    sellable = (products.c.store_id == store_id, products.c.name.is_not(None), products.c.withdrawn.is_(False))
    return select(products).where(*sellable).order_by(products.c.sold.desc(), products.c.product_id)
