"""What is due: from the calls that were acknowledged and the plans, without asking the product. Pure.

A run is worked out from what the events mean (docs/events.md), as an *episode*: from the call that begins it to the one
that ends it. Its steps are due once each if nothing ends it. If something does, each may have gone out before, and none
may be claimed after the end was acknowledged.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from chaos.lives import address
from chaos.record import Acknowledged


def plans(pace: float = 1.0) -> dict[str, dict[str, Any]]:
    """Return the plans of the store: delays of seconds, no gaps, and nothing that life does not exercise.

    Args:
        pace: What each delay is multiplied by.
    """

    def wait(seconds: float) -> str:
        return f"PT{seconds * pace:g}S"

    def steps(*named: tuple[str, str, float], **more: Any) -> list[dict[str, Any]]:
        return [{"name": name, "template": template, "delay": wait(delay), **more} for name, template, delay in named]

    thanks = {"name": "thank-you", "template": "order-thank-you", "transactional": True}
    return {
        "welcome": {"gap": "PT0S", "steps": steps(("first", "welcome", 0), ("second", "welcome-best-sellers", 5))},
        "cart-recovery": {
            "quiet": wait(3), "cool_down": "PT0S",
            "steps": steps(("reminder-1", "cart-reminder", 0), ("reminder-2", "cart-reminder-2", 4)),
        },
        "post-purchase": {"gap": "PT0S", "steps": [thanks, *steps(("how-to", "order-how-to", 4))]},
        "back-in-stock": {
            "gap": "PT0S", "wave_interval": "PT1S",
            "steps": steps(("alert", "back-in-stock", 0), ("follow-up", "back-in-stock-follow-up", 3)),
        },
        "win-back": {"enabled": False}, "browse-abandonment": {"enabled": False}, "price-drop": {"enabled": False},
    }  # fmt: skip


STEPS = {name: tuple(step["name"] for step in plan["steps"]) for name, plan in plans().items() if "steps" in plan}
"""The steps of each journey that takes place."""


@dataclass
class Episode:
    """A customer's way through a journey, as it must have been.

    Attributes:
        begun_at: When the call that begins it was first sent: nothing is claimed before.
        ended_at: When the call that ends it was acknowledged: nothing is claimed after. None: nothing ends it.
        product: What it is about, if about one product.
        waits: For a restock that nobody was told of: nothing is due, and nothing may go out.
    """

    to: str
    journey: str
    begun_at: float
    ended_at: float | None = None
    because: str = ""
    order: str | None = None
    product: str | None = None
    waits: bool = False

    @property
    def due(self) -> bool:
        """Whether each step must go out; else it may."""
        return self.ended_at is None and not self.waits


@dataclass
class _Customer:
    """The episodes of one customer; those that nothing has ended yet by their journey."""

    to: str
    episodes: list[Episode] = field(default_factory=list)

    def begins(self, journey: str, by: Acknowledged, **about: Any) -> None:
        if not any(one.journey == journey for one in self._under_way()):
            self.episodes.append(Episode(self.to, journey, by.sent_at, **about))

    def ends(self, by: Acknowledged, because: str, *journeys: str, **about: str) -> None:
        for one in self._under_way():
            if one.journey in journeys and all(getattr(one, name) == value for name, value in about.items()):
                one.ended_at, one.because = by.at, because

    def _under_way(self) -> Iterator[Episode]:
        return (one for one in self.episodes if one.ended_at is None)


def episodes(acknowledged: Iterable[Acknowledged]) -> list[Episode]:
    """Work out every customer's episodes."""
    customers: dict[str, _Customer] = {}
    restocked: dict[str, float] = {}
    for one in sorted(acknowledged, key=lambda one: one.sent_at):  # of one customer: in the order of their life
        user = one.call["userId"]
        customer = customers.setdefault(user, _Customer(address(user)))
        _understand(customer, one, restocked)
    found = [episode for customer in customers.values() for episode in customer.episodes]
    for episode in found:
        if episode.product is not None:
            episode.waits = episode.product not in restocked
            episode.begun_at = max(episode.begun_at, restocked.get(episode.product, 0.0))
    return found


def _understand(customer: _Customer, one: Acknowledged, restocked: dict[str, float]) -> None:
    told = one.call.get("properties", {})
    match one.call.get("event"):
        case "Signed Up":
            customer.begins("welcome", one)
        case "Product Added":
            customer.begins("cart-recovery", one)
        case "Cart Cleared":
            customer.ends(one, "the cart was cleared", "cart-recovery")
        case "Order Completed":
            order, bought = told["order_id"], {line["product_id"] for line in told["products"]}
            customer.ends(one, order, "welcome", "cart-recovery", "post-purchase")
            for product in bought:
                customer.ends(one, order, "back-in-stock", product=product)
            customer.begins("post-purchase", one, order=order)
        case "Order Refunded":
            customer.ends(one, "the order was refunded", "post-purchase", order=told["order_id"])
        case "Newsletter Unsubscribed":
            customer.ends(one, "unsubscribed", *STEPS)
        case "Back In Stock Requested":
            customer.begins("back-in-stock", one, product=told["product_id"])
        case "Product Updated" if told["stock"]:
            restocked[told["product_id"]] = one.sent_at
