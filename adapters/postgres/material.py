"""Material: what a message may say, read in the claim's own transaction so that it is what was decided on."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import watchers
from adapters.postgres.shelf import shelf
from adapters.postgres.standing import Bought, Standing
from domain import ids
from domain.cart import Cart
from domain.delivery import PriceLow, Slot, Unconfirmed
from domain.facts import Line
from domain.message import Material, Product, StoreCard


async def material(connection: AsyncConnection, slot: Slot, customer: Any, known: Standing) -> Material:
    """Gather what the templates of any journey may use."""
    about: dict[str, Any] = {"currency": known.store.currency}
    if slot.order_id is not None:
        about |= _order(slot.order_id, known.order)
    elif slot.product_id is None:
        about |= _cart(known.cart)
    lines: tuple[Line, ...] = about.get("lines", ())
    shown = [line.product_id for line in lines] + ([] if slot.product_id is None else [slot.product_id])
    listed, about["recommended"] = await shelf(connection, slot.store_id, shown, known.category)
    if lines:
        about["lines"] = tuple(_filled(line, listed.get(line.product_id)) for line in lines)
    if slot.product_id is not None:
        about["product"] = listed.get(slot.product_id, Product(product_id=slot.product_id))
    for condition in slot.requires:
        if isinstance(condition, PriceLow) and slot.product_id is not None:
            about["product"] = await _with_old_price(
                connection, slot, customer.customer_id, condition, about["product"]
            )
        elif isinstance(condition, Unconfirmed):
            about["confirm_by"] = condition.by
    return Material(
        message_id=ids.message_id(slot.run_id, slot.step.name),
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


def _cart(cart: Cart) -> dict[str, Any]:
    said = {"lines": cart.lines, "total_minor": cart.total_minor, "checkout_url": cart.checkout_url}
    return said | ({"currency": cart.currency} if cart.lines else {})


def _order(order_id: str, bought: Bought | None) -> dict[str, Any]:
    if bought is None:
        return {"order_id": order_id}
    lines = tuple(Line.model_validate(line) for line in bought.lines)
    return {"order_id": order_id, "lines": lines, "total_minor": bought.total_minor, "currency": bought.currency}


def _filled(line: Line, product: Product | None) -> Line:
    """Fill what the client left out of a line from the catalogue."""
    fields = ("name", "url", "image_url", "price_minor")
    known = {} if product is None else {f: getattr(product, f) for f in fields if getattr(line, f) is None}
    return line.model_copy(update=known)
