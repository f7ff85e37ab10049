"""Examples: the events by which a shop tells of each fact that a journey can be about."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.facts import (
    CartChanged,
    CartEmptied,
    Fact,
    InterestShown,
    NewsletterSubscribed,
    OrderCancelled,
    OrderPlaced,
    OrderRefunded,
    PriceDropped,
    SignedUp,
    StockRequested,
)

MUG: Mapping[str, Any] = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}
_ORDER: Mapping[str, Any] = {"order_id": "o-1", "total": 12.5, "currency": "EUR", "products": [dict(MUG)]}


_WATCHED = {**MUG, "notify_on_price_drop": True}
_CHEAP = {"product_id": "mug", "price": 9, "currency": "EUR"}


class Call(NamedTuple):
    """A `track` call of a shop."""

    event: str
    properties: Mapping[str, Any] = {}


EXAMPLES: Mapping[type[Fact], tuple[Call, ...]] = {
    SignedUp: (Call("Signed Up"),),
    NewsletterSubscribed: (Call("Newsletter Subscribed"),),
    InterestShown: (Call("Product Viewed", MUG),) * 3,
    CartChanged: (Call("Product Added", MUG),),
    CartEmptied: (Call("Product Added", MUG), Call("Cart Cleared")),
    OrderPlaced: (Call("Order Completed", _ORDER),),
    OrderRefunded: (Call("Order Completed", _ORDER), Call("Order Refunded", {"order_id": "o-1"})),
    OrderCancelled: (Call("Order Completed", _ORDER), Call("Order Cancelled", {"order_id": "o-1"})),
    StockRequested: (Call("Back In Stock Requested", MUG),),
    PriceDropped: (Call("Product Added to Wishlist", _WATCHED), Call("Product Updated", _CHEAP)),
}
"""The last call tells of the fact; those before it are what it needs to be true."""
