"""The vocabulary: every event name that is understood, and the one name it stands for.

`ALIASES` is the only table of names. docs/events.md explains it, and tests/domain/test_events_doc.py holds the
two against each other. Case, spaces, underscores, hyphens and camel case make no difference, so `Product Viewed`
also stands for `product_viewed`, `productViewed` and `PRODUCT-VIEWED`: only names with other words are listed.
"""

from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

ALIASES: dict[str, tuple[str, ...]] = {
    # The person
    "Signed Up": (
        "contact_created", "Sign Up", "User Signed Up", "Customer Signed Up", "Registered", "User Registered",
        "Customer Registered", "Complete Registration", "Registration Completed", "Account Created",
        "Created Account", "User Created", "Customer Created",
    ),
    "Profile Updated": (
        "contact_updated", "Account Updated", "User Updated", "Customer Updated",
        "Updated Profile",
    ),
    "Newsletter Subscribed": (
        "Newsletter Signed Up", "Newsletter Sign Up", "Subscribed to Newsletter", "Subscribed to Email Marketing",
        "Email Subscribed", "Subscribed to List",
    ),
    "Newsletter Unsubscribed": (
        "Unsubscribed", "Unsubscribe", "Unsubscribed from Newsletter", "Unsubscribed from Email Marketing",
        "Email Unsubscribed", "Unsubscribed from List",
    ),
    "Email Preferences Saved": ("Email Preferences Updated", "Preferences Saved"),
    "Marketing Paused": ("Marketing Snoozed", "Emails Paused", "Paused Emails", "Emails Snoozed", "Snoozed Emails"),
    "Marketing Resumed": ("Marketing Unpaused", "Emails Resumed", "Resumed Emails"),
    "Consent Confirmed": (),
    # Looking around
    "Products Searched": ("Product Searched", "Searched", "Search"),
    "Product List Viewed": ("Category Viewed", "Viewed Category", "Collection Viewed", "view_item_list"),
    "Product List Filtered": (),
    "Promotion Viewed": ("view_promotion",),
    "Promotion Clicked": ("select_promotion",),
    "Product Clicked": ("select_item",),
    "Product Viewed": (
        "Viewed Product", "Product View", "View Product", "Item Viewed", "Viewed Item", "view_item", "ViewContent",
        "service_viewed",
    ),
    "Product View Timed": ("Product View Duration", "Product View Ended"),
    "Product Shared": (),
    "Product Reviewed": (),
    # The cart
    "Product Added": (
        "Added to Cart", "Add to Cart", "Product Added to Cart", "Added Product to Cart", "Item Added",
        "Item Added to Cart", "Added to Basket", "Add to Basket", "Product Added to Basket", "basket_addition",
    ),
    "Product Removed": (
        "Removed from Cart", "Remove from Cart", "Product Removed from Cart", "Item Removed",
        "Item Removed from Cart", "Removed from Basket", "Product Removed from Basket",
    ),
    "Wishlist Product Added to Cart": (),
    "Cart Viewed": ("Viewed Cart", "View Cart", "Basket Viewed"),
    "Cart Updated": ("cart_created", "Updated Cart", "Created Cart", "Cart Changed", "Basket Updated"),
    "Cart Cleared": ("Cart Emptied", "Emptied Cart", "Cleared Cart", "Clear Cart", "Empty Cart", "Cart Deleted"),
    "Cart Abandoned": ("Abandoned Cart", "Checkout Abandoned", "Abandoned Checkout", "booking_abandoned"),
    "Cart Shared": (),
    "Coupon Entered": (),
    "Coupon Applied": (),
    "Coupon Denied": (),
    "Coupon Removed": (),
    # The checkout and the order
    "Checkout Started": (
        "Started Checkout", "Begin Checkout", "Start Checkout", "Initiate Checkout", "Checkout Initiated",
        "Checkout Created", "booking_started",
    ),
    "Checkout Step Viewed": (),
    "Checkout Step Completed": ("booking_step_completed",),
    "Payment Info Entered": ("add_payment_info",),
    "Order Completed": (
        "Placed Order", "Order Placed", "Completed Order", "Order Created", "Order Paid", "Purchase", "Purchased",
        "Purchase Completed", "Completed Purchase", "Checkout Completed", "Completed Checkout",
        "Transaction Completed", "service_booked", "booking_completed",
    ),
    "Order Updated": ("Updated Order",),
    "Order Refunded": ("Refunded Order", "Refund", "Refund Created"),
    "Order Cancelled": ("Order Canceled", "Cancelled Order", "Canceled Order"),
    # Waiting for a product
    "Back In Stock Requested": (
        "Subscribed to Back in Stock", "Back In Stock Subscribed", "Back In Stock Subscription",
        "Back In Stock Notification Requested", "Restock Requested", "Notify Me",
    ),
    "Product Added to Wishlist": (
        "Added to Wishlist", "Add to Wishlist", "Added Product to Wishlist", "Product Watched", "Watchlist Added",
        "Added to Watchlist", "Product Added to Watchlist",
    ),
    "Product Removed from Wishlist": (
        "Removed from Wishlist", "Remove from Wishlist", "Product Unwatched", "Watchlist Removed",
        "Removed from Watchlist", "Product Removed from Watchlist",
    ),
    # The catalogue
    "Product Updated": (
        "Product Created", "Product Changed", "Inventory Updated", "Stock Updated", "Inventory Level Updated",
        "Price Dropped", "Price Drop", "Product Price Dropped", "Price Changed", "Price Updated",
        "Product Price Updated",
    ),
    "Product Restocked": ("Back In Stock", "Product Back In Stock", "Restocked", "Item Restocked"),
    "Product Out of Stock": ("Out of Stock", "Product Sold Out", "Sold Out"),
    "Product Withdrawn": ("Product Discontinued", "Product Archived", "Product Deleted"),
    # What we tell ourselves
    "Watched Price Fell": (),
    "Watched Price Rose": (),
    # Our messages
    "Email Opened": ("Opened Email", "Email Open"),
    "Email Delivered": (),
    "Email Bounced": (),
    "Email Complained": (),
    "Email Link Clicked": ("Clicked Email", "Email Clicked", "Email Click", "Email Link Click"),
}  # fmt: skip
"""Canonical name -> the other names understood. The 28 events of Segment's e-commerce spec v2 keep its spelling."""

CATALOGUE = frozenset({"Product Updated", "Product Restocked", "Product Out of Stock", "Product Withdrawn"})
"""Events that a shop's back office sends about its products; they belong to no customer."""


T = TypeVar("T")


class Habits(dict[str, T], Generic[T]):
    """What is made of names, remembered: a shop's names repeat with every event.

    A dict and no function that remembers: nothing else is asked so often, and a dict is several times as quick.
    """

    LONGEST: ClassVar = 64
    """Characters of a name that is remembered: a long one is nobody's habit."""
    MOST: ClassVar = 8_192
    """Names that are remembered; then all are forgotten."""

    def __init__(self, make: Callable[[str], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> T:
        made = self._make(name)
        if len(name) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[name] = made
        return made


def _reduced(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


folded: Callable[[str], str] = Habits(_reduced).__getitem__
"""Reduces a name to what tells it apart: its letters and digits in lower case."""


_CANONICAL = {folded(name): canonical for canonical, others in ALIASES.items() for name in (canonical, *others)}


def canonical(name: str) -> str | None:
    """Return the name that an event name stands for, or None for a name nobody here knows."""
    return _CANONICAL.get(folded(name))


_CALLS = {f"{call}{ending}": call for call in ("page", "screen") for ending in ("", "view", "viewed")}


def known_as(name: str) -> str:
    """Return the one spelling of an event's name, also of one that nobody here knows; page and screen calls are both.

    A store's follow-ups may mention any event, so here an unknown name stands for itself.
    """
    return canonical(name) or _CALLS.get(folded(name)) or folded(name)


def heard_as(event_type: str, name: str | None) -> str | None:
    """Return what a follow-up knows an event as; None for a call that tells of nothing that happened."""
    if event_type in {"page", "screen"}:
        return event_type
    return known_as(name or "") if event_type == "track" else None


def is_catalogue(name: str) -> bool:
    """Tell whether an event is about the catalogue, not about a customer."""
    return canonical(name) in CATALOGUE
