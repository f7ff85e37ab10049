"""Passages: one whole way through each journey, on which its costs are measured and its histories are recorded."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.errors import NotFound
from domain.facts import CartChanged, InterestShown, NewsletterSubscribed, OrderPlaced, PriceDropped, StockRequested
from rehearsal.shop import TimeSkippingShop

Way = Callable[[TimeSkippingShop], Awaitable[None]]

_START_AND_OUTCOME = 2
_TIMER_AND_ACTIVITY = 2


@dataclass(frozen=True)
class Passage:
    """A customer's way through a journey, from its entry to its last message.

    Attributes:
        journey: The workflow's name.
        messages: How many it sends.
        walk: Lives through it, in a shop that has no other journey.
        signals: How many events it waits for on its way.
        run_of: The journey as Postgres names its run; a follow-up's has two parts.
    """

    journey: str
    messages: int
    walk: Way
    signals: int
    run_of: str

    @property
    def budget(self) -> int:
        """How many Temporal actions it may cost: 8 for three messages, and one for each event it waits for."""
        return _START_AND_OUTCOME + _TIMER_AND_ACTIVITY * self.messages + self.signals


PASSAGES: dict[str, Passage] = {}
"""By journey; a test says which one is missing."""


def passage_of(journey: str) -> Passage:
    """Return the passage of a journey.

    Raises:
        NotFound: It has none.
    """
    if (found := PASSAGES.get(journey)) is None:
        raise NotFound(f"no journey {journey!r} has a passage; there are {', '.join(PASSAGES)}")
    return found


def passage(journey: str, *, messages: int, signals: int = 0, run_of: str | None = None) -> Callable[[Way], Way]:
    """Make a function the passage of a journey."""

    def add(walk: Way) -> Way:
        PASSAGES[journey] = Passage(journey, messages, walk, signals, run_of or journey)
        return walk

    return add


@passage("welcome", messages=3)
async def _welcome(shop: TimeSkippingShop) -> None:
    await shop.identify(email="ada@example.com")
    await shop.happened(NewsletterSubscribed)
    await shop.skip(days=5)


@passage("cart-recovery", messages=3)
async def _cart_recovery(shop: TimeSkippingShop) -> None:
    await shop.subscriber()
    await shop.happened(CartChanged)
    await shop.skip(days=3)


@passage("post-purchase", messages=4)
async def _post_purchase(shop: TimeSkippingShop) -> None:
    await shop.subscriber()
    await shop.happened(OrderPlaced)
    await shop.skip(days=15)


@passage("win-back", messages=3)
async def _win_back(shop: TimeSkippingShop) -> None:
    await shop.subscriber()
    await shop.happened(OrderPlaced)
    await shop.skip(days=105)


@passage("back-in-stock", messages=2, signals=1)
async def _back_in_stock(shop: TimeSkippingShop) -> None:
    await shop.subscriber()
    await shop.happened(StockRequested)
    await shop.track("Product Updated", "backend", product_id="mug", stock=5)
    await shop.sent()
    await shop.skip(days=2)


@passage("browse-abandonment", messages=2)
async def _browse_abandonment(shop: TimeSkippingShop) -> None:
    await shop.subscriber()
    await shop.happened(InterestShown)
    await shop.skip(days=2)


@passage("price-drop", messages=1)
async def _price_drop(shop: TimeSkippingShop) -> None:
    await shop.subscriber()
    await shop.happened(PriceDropped)


@passage("double-opt-in", messages=1, signals=1)
async def _double_opt_in(shop: TimeSkippingShop) -> None:
    await shop.plan("double-opt-in", enabled=True)
    await shop.subscriber()
    await shop.sent()
    await shop.confirm()


@passage("follow-up", messages=1, run_of="follow-up/related-services")
async def _follow_up(shop: TimeSkippingShop) -> None:
    steps = [{"name": "related", "template": "related-services", "topic": "product_recommendations", "delay": "P7D"}]
    await shop.plan("follow-up/related-services", event="Service Completed", steps=steps)
    await shop.subscriber()
    await shop.track("Service Completed", service_id="haircut")
    await shop.skip(days=8)
