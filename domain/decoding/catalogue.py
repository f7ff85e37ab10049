"""Products: what events say about them, whether the back office tells us or a customer's event carries it along."""

from collections.abc import Iterator
from typing import Any

from domain.decoding.fields import Fields
from domain.decoding.report import Report
from domain.facts import (
    AnyFact,
    ConsentChanged,
    Line,
    PriceDropped,
    PriceRose,
    ProductChanged,
    ProductUnwatched,
    ProductViewed,
    ProductWatched,
    StockRequested,
    Topic,
    ViewTimed,
)

ROWS = ("products", "items", "line_items", "cart_items", "lines")
_IDS = ("product_id", "item_id", "service_id", "added_item_product_id", "id", "sku", "variant_id")
_PRICES = ("price", "new_price", "current_price", "unit_price", "item_price", "added_item_price")
_STOCK = ("stock", "inventory", "quantity", "inventory_quantity", "available_quantity", "stock_quantity")
_MOST_UNITS = 1_000_000
_MOST_STOCK = 1_000_000_000
_DAY_S = 86_400


def product_of(properties: Fields) -> Fields:
    """Find the one product that an event is about: in its properties, or in an object or a list inside them."""
    fields = properties.opened("product", "item", "service")
    rows = properties.rows(*ROWS) if product_id(fields) is None else None
    return rows[0].over(fields) if rows else fields


def product_id(fields: Fields) -> str | None:
    """Read which product this is."""
    return fields.identifier(*_IDS)


def line_of(fields: Fields, currency: str) -> Line | None:
    """Read one line of a cart or an order; None when it names no product or holds no units."""
    product, units = product_id(fields), fields.number("quantity", "qty", "added_item_quantity")
    if product is None or (units is not None and units <= 0):
        return None
    quantity = 1 if units is None else max(1, min(_MOST_UNITS, int(units)))
    return Line(product_id=product, quantity=quantity, **_described(fields, currency))


def seen(fields: Fields, report: Report) -> Iterator[ProductChanged]:
    """Take note of a product that a customer's event describes."""
    product, described = product_id(fields), _described(fields, report.currency)
    if product is not None and any(value is not None for value in described.values()):
        priced = {"currency": report.currency} if described["price_minor"] is not None else {}
        yield ProductChanged(at=report.at, product_id=product, seen=True, **described, **priced)


def viewed(report: Report) -> Iterator[AnyFact]:
    """Product Viewed."""
    fields = product_of(report.properties)
    yield from seen(fields, report)
    if (product := product_id(fields)) is not None:
        told = _described(fields, report.currency)
        priced = {"price_minor": told["price_minor"], "currency": _of(report.currency, told["price_minor"])}
        yield ProductViewed(at=report.at, product_id=product, category=told["category"], **priced)


def clicked(report: Report) -> Iterator[AnyFact]:
    """Product Clicked: the view that follows is reported by itself."""
    yield from seen(product_of(report.properties), report)


def view_timed(report: Report) -> Iterator[AnyFact]:
    """Product View Timed."""
    product = product_id(product_of(report.properties))
    seconds = report.properties.number("duration", "duration_s", "duration_seconds", "seconds", "view_duration")
    if product is not None and seconds is not None and seconds >= 0:
        yield ViewTimed(at=report.at, product_id=product, duration_s=min(_DAY_S, int(seconds)))


def stock_requested(report: Report) -> Iterator[AnyFact]:
    """Back In Stock Requested: to ask for the alert is to consent to it."""
    fields = product_of(report.properties)
    yield from seen(fields, report)
    if (product := product_id(fields)) is not None:
        source = "back_in_stock_request"
        yield ConsentChanged(topic=Topic.BACK_IN_STOCK, granted=True, source=source, **report.evidence)
        yield StockRequested(at=report.at, product_id=product)


def watched(report: Report) -> Iterator[AnyFact]:
    """Product Added to Wishlist."""
    fields = product_of(report.properties)
    yield from seen(fields, report)
    if (product := product_id(fields)) is not None:
        on_price_drop, on_restock = fields.flag("notify_on_price_drop"), fields.flag("notify_on_restock")
        target, price = fields.money(report.currency, "target_price"), fields.money(report.currency, *_PRICES)
        percent = fields.number("drop_percent", "price_drop_percent", "percentage", "percent")
        yield ProductWatched(
            at=report.at,
            product_id=product,
            target_price_minor=target,
            drop_percent=int(percent) if percent is not None and 1 <= percent < 100 else None,
            price_minor=price,
            currency=_of(report.currency, target, price),
            notify_on_price_drop=on_price_drop is not False,
            notify_on_restock=on_restock is True,
        )


def unwatched(report: Report) -> Iterator[AnyFact]:
    """Product Removed from Wishlist."""
    if (product := product_id(product_of(report.properties))) is not None:
        yield ProductUnwatched(at=report.at, product_id=product)


def price_fell(report: Report) -> Iterator[AnyFact]:
    """Watched Price Fell: counts only from ourselves."""
    if (product := _of_our_own(report)) is not None:
        yield PriceDropped(at=report.at, product_id=product)


def price_rose(report: Report) -> Iterator[AnyFact]:
    """Watched Price Rose: counts only from ourselves."""
    if (product := _of_our_own(report)) is not None:
        yield PriceRose(at=report.at, product_id=product)


def updated(report: Report) -> Iterator[AnyFact]:
    """Product Updated."""
    yield from _told(report)


def restocked(report: Report) -> Iterator[AnyFact]:
    """Product Restocked: without a number there is at least one."""
    yield from _told(report, stock=1)


def out_of_stock(report: Report) -> Iterator[AnyFact]:
    """Product Out of Stock."""
    yield from _told(report, stock=0)


def withdrawn(report: Report) -> Iterator[AnyFact]:
    """Product Withdrawn."""
    yield from _told(report, withdrawn=True)


def _told(report: Report, stock: int | None = None, withdrawn: bool | None = None) -> Iterator[ProductChanged]:
    fields = product_of(report.properties)
    product, described = product_id(fields), _described(fields, report.currency)
    if product is None:
        return
    told_stock, told_withdrawn = _stock(fields), fields.flag("discontinued", "withdrawn", "archived")
    yield ProductChanged(
        at=report.at,
        product_id=product,
        currency=report.currency if described["price_minor"] is not None else None,
        stock=stock if told_stock is None else told_stock,
        withdrawn=withdrawn if told_withdrawn is None else told_withdrawn,
        **described,
    )


def _of_our_own(report: Report) -> str | None:
    """Read the product of an event that nobody outside can have sent: only we know customers by our own ids."""
    return product_id(report.properties) if report.ours else None


def _of(currency: str, *amounts: int | None) -> str | None:
    return currency if any(amount is not None for amount in amounts) else None


def _stock(fields: Fields) -> int | None:
    """Read how many units can be sold; a bare "in stock" means at least one."""
    available = fields.flag("in_stock", "available", "availability", "is_available")
    if available is False:
        return 0
    units = fields.number(*_STOCK)
    if units is not None:
        return max(0, min(_MOST_STOCK, int(units)))
    return 1 if available else None


def _described(fields: Fields, currency: str) -> dict[str, Any]:
    return {
        "name": fields.text("name", "title", "product_name", "item_name", "service_name", "added_item_product_name"),
        "category": fields.text(
            "category", "product_category", "item_category", "categories", "added_item_categories", limit=200
        ),
        "url": fields.url("url", "product_url", "added_item_url"),
        "image_url": fields.url("image_url", "image", "product_image", "images", "added_item_image_url"),
        "price_minor": fields.money(currency, *_PRICES),
    }


DECODERS = {
    "Product Viewed": viewed,
    "Product Clicked": clicked,
    "Product View Timed": view_timed,
    "Back In Stock Requested": stock_requested,
    "Product Added to Wishlist": watched,
    "Product Removed from Wishlist": unwatched,
    "Watched Price Fell": price_fell,
    "Watched Price Rose": price_rose,
    "Product Updated": updated,
    "Product Restocked": restocked,
    "Product Out of Stock": out_of_stock,
    "Product Withdrawn": withdrawn,
}
