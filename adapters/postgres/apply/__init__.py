"""Apply: what a fact changes in the database, and which facts that makes true in turn.

Everything here gives the same state whatever the order in which facts arrive (G2): fields keep the newest word,
carts are a snapshot and the changes after it, orders know their status before they know themselves. A repeated
fact returns nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from adapters.postgres.apply import browsing, catalogue, confirmation, feedback, people, purchases
from adapters.postgres.apply.applying import Applying, Derived
from domain.facts import (
    CartLineChanged,
    CartReported,
    ConsentChanged,
    ConsentConfirmed,
    Fact,
    LinkClicked,
    MarketingPaused,
    MarketingResumed,
    MessageBounced,
    MessageComplained,
    MessageDelivered,
    MessageOpened,
    NewsletterSubscribed,
    OrderCancelled,
    OrderPlaced,
    OrderRefunded,
    OrderUpdated,
    PriceDropped,
    PriceRose,
    ProductChanged,
    ProductUnwatched,
    ProductViewed,
    ProductWatched,
    ProfileChanged,
    SignedUp,
    StockRequested,
    Unsubscribed,
    ViewTimed,
)

__all__ = ["Applying", "Derived", "apply"]

_CHANGES: dict[type[Fact], Callable[[Applying, Any], Awaitable[list[Derived]]]] = {
    ProfileChanged: people.profile,
    ConsentChanged: people.consent,
    Unsubscribed: people.unsubscribed,
    MarketingPaused: people.marketing_pause,
    MarketingResumed: people.marketing_pause,
    ConsentConfirmed: confirmation.confirmed,
    SignedUp: people.told_as_is,
    NewsletterSubscribed: people.told_as_is,
    ProductViewed: browsing.viewed,
    ViewTimed: browsing.view_timed,
    CartLineChanged: purchases.cart_change,
    CartReported: purchases.cart_change,
    OrderPlaced: purchases.ordered,
    OrderUpdated: purchases.ordered,
    OrderRefunded: purchases.order_undone,
    OrderCancelled: purchases.order_undone,
    ProductChanged: catalogue.product,
    StockRequested: catalogue.stock_requested,
    ProductWatched: catalogue.watched,
    ProductUnwatched: catalogue.watched,
    PriceDropped: catalogue.price_dropped,
    PriceRose: catalogue.price_rose,
    MessageOpened: browsing.opened,
    LinkClicked: browsing.clicked,
    MessageDelivered: feedback.delivered,
    MessageBounced: feedback.bounced,
    MessageComplained: feedback.complained,
}


async def apply(on: Applying, fact: Fact) -> list[Derived]:
    """Apply a fact; a kind that changes nothing derives nothing."""
    change = _CHANGES.get(type(fact))
    return [] if change is None else await change(on, fact)
