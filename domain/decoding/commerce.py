"""Carts and orders: what the customer holds, and what became of it."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from domain.decoding.catalogue import ROWS, line_of, product_id, product_of, seen
from domain.decoding.fields import Fields
from domain.decoding.report import Report
from domain.facts import (
    AnyFact,
    CartLineChanged,
    CartReported,
    Line,
    OrderCancelled,
    OrderPlaced,
    OrderRefunded,
    OrderUpdated,
)
from domain.money import MAX_MINOR

_ORDER_IDS = ("order_id", "order_number", "transaction_id", "booking_id", "id")
_TOTALS = ("total", "revenue", "value", "total_price", "order_total", "cart_total", "amount", "subtotal")
_CART_IDS = ("cart_id", "cart_token", "checkout_id")
_REF = re.compile(r"jn_[0-9a-f]{32}", re.IGNORECASE)


def added(report: Report) -> Iterator[AnyFact]:
    """Product Added."""
    yield from _line_changed(report, removed=False)


def removed(report: Report) -> Iterator[AnyFact]:
    """Product Removed."""
    yield from _line_changed(report, removed=True)


def cart_reported(report: Report) -> Iterator[AnyFact]:
    """Cart Viewed, Cart Updated, Cart Abandoned, Checkout Started: the whole cart, if it is told."""
    cart = report.properties.opened("cart", "cart_data", "basket", "checkout")
    lines = _lines(cart, report.currency)
    if lines is not None:
        yield CartReported(
            at=report.at,
            lines=lines,
            currency=report.currency,
            total_minor=cart.money(report.currency, *_TOTALS),
            cart_id=cart.identifier(*_CART_IDS),
            checkout_url=cart.url("checkout_url", "cart_url", "abandoned_checkout_url", "recovery_url"),
        )


def cart_cleared(report: Report) -> Iterator[AnyFact]:
    """Cart Cleared."""
    cart_id = report.properties.identifier(*_CART_IDS)
    yield CartReported(at=report.at, lines=(), currency=report.currency, cart_id=cart_id)


def order_completed(report: Report) -> Iterator[AnyFact]:
    """Order Completed: a purchase counts even if the shop gave it no usable number."""
    order = _order(report)
    lines = _lines(order, report.currency) or ()
    yield OrderPlaced(
        at=report.at,
        order_id=order.identifier(*_ORDER_IDS, "checkout_id") or report.event.message_id,
        total_minor=_total(order, lines, report.currency),
        currency=report.currency,
        lines=lines,
        coupon=_coupon(order),
        ref=_ref(report),
    )


def order_updated(report: Report) -> Iterator[AnyFact]:
    """Order Updated."""
    order = _order(report)
    lines = _lines(order, report.currency) or ()
    if (order_id := order.identifier(*_ORDER_IDS, "checkout_id")) is not None:
        yield OrderUpdated(
            at=report.at,
            order_id=order_id,
            total_minor=_total(order, lines, report.currency),
            currency=report.currency,
            lines=lines,
            coupon=_coupon(order),
        )


def order_refunded(report: Report) -> Iterator[AnyFact]:
    """Order Refunded."""
    if (order_id := _order(report).identifier(*_ORDER_IDS)) is not None:
        yield OrderRefunded(at=report.at, order_id=order_id)


def order_cancelled(report: Report) -> Iterator[AnyFact]:
    """Order Cancelled."""
    if (order_id := _order(report).identifier(*_ORDER_IDS)) is not None:
        yield OrderCancelled(at=report.at, order_id=order_id)


def _line_changed(report: Report, *, removed: bool) -> Iterator[AnyFact]:
    one = report.properties.opened("product", "item", "service")
    rows = [one] if product_id(one) is not None else report.properties.rows(*ROWS) or [product_of(report.properties)]
    for fields in rows:
        line = line_of(fields, report.currency)
        if line is not None:
            yield from seen(fields, report)
            cart_id = report.properties.identifier(*_CART_IDS)
            yield CartLineChanged(at=report.at, line=line, removed=removed, currency=report.currency, cart_id=cart_id)


def _order(report: Report) -> Fields:
    return report.properties.opened("order", "transaction", "booking")


def _lines(fields: Fields, currency: str) -> tuple[Line, ...] | None:
    """Read a list of products. None: nothing usable was told, which is not the same as an empty cart."""
    rows = fields.rows(*ROWS)
    if rows is None or (rows and not any(product_id(row.opened("product")) for row in rows)):
        return None
    lines = (line_of(row.opened("product"), currency) for row in rows)
    return tuple(line for line in lines if line is not None)


def _total(order: Fields, lines: tuple[Line, ...], currency: str) -> int:
    total = order.money(currency, *_TOTALS)
    if total is None:
        total = sum((line.price_minor or 0) * line.quantity for line in lines)
    return min(MAX_MINOR, total)


def _coupon(order: Fields) -> str | None:
    names = ("coupon", "coupon_code", "discount_code", "discount_codes", "promo_code")
    return order.text(*names, limit=100) or order.under(*names).text("code", limit=100)


def _ref(report: Report) -> str | None:
    """Find the mark that our links leave: as the shop passes it on, or still in the address of the page."""
    said = report.properties.text("ref", limit=100)
    for ref in (said, *_refs(report.context.under("page").text("url", limit=4_000))):
        if ref is not None and _REF.fullmatch(ref):
            return ref
    return None


def _refs(url: str | None) -> list[str]:
    try:
        return parse_qs(urlsplit(url or "").query).get("ref", [])
    except ValueError:
        return []


DECODERS = {
    "Product Added": added,
    "Wishlist Product Added to Cart": added,
    "Product Removed": removed,
    "Cart Viewed": cart_reported,
    "Cart Updated": cart_reported,
    "Cart Abandoned": cart_reported,
    "Checkout Started": cart_reported,
    "Cart Cleared": cart_cleared,
    "Order Completed": order_completed,
    "Order Updated": order_updated,
    "Order Refunded": order_refunded,
    "Order Cancelled": order_cancelled,
}
