"""Lives: what each customer does and how long they wait before it, drawn from the seed. Pure.

A life is lived in order: its next act begins only once the last one was acknowledged, so that it is clear which of two
things happened first. What is due of these acts is worked out elsewhere (`chaos.expected`), from what was acknowledged.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from chaos.record import Call

SHARED_BY = 25
"""How many customers, one after the other, may ask for the same product; it is restocked once all who do have asked."""
OFFICE = "back-office"
_LONGEST_PAUSE_S = 6.0
_ENDS = {"orders": 0.3, "orders twice": 0.08, "has it refunded": 0.08, "clears the cart": 0.07, "unsubscribes": 0.07}
"""What becomes of a cart, with its share; the others leave it behind."""


@dataclass(frozen=True)
class Act:
    """Some calls that go out in one request.

    Attributes:
        pause: Seconds before it.
        asks_for: The product that the customer asks to be told of by it.
    """

    pause: float
    calls: tuple[Call, ...]
    asks_for: str | None = None


@dataclass(frozen=True)
class Life:
    """What a customer does, in order."""

    customer: str
    acts: tuple[Act, ...]

    @property
    def asks_for(self) -> str | None:
        """The product that the customer asks to be told of, if any."""
        return next((act.asks_for for act in self.acts if act.asks_for is not None), None)


def address(customer: str) -> str:
    """Return a customer's e-mail address (RFC 2606: nobody's)."""
    return f"{customer}@example.com"


def drawn(seed: int, customers: int, pace: float = 1.0) -> list[Life]:
    """Draw the lives, in the order in which their customers come; a customer's is the same however many there are.

    Args:
        seed: The same seed gives the same lives.
        customers: How many.
        pace: What each pause is multiplied by.
    """
    return [_Customer(number, Random(f"{seed}:life:{number}"), pace).life() for number in range(customers)]


def restock(product: str) -> tuple[Call, ...]:
    """Put a product back into stock: enough for all who wait."""
    stock = {"product_id": product, "name": product.title(), "price": 18.5, "currency": "EUR", "stock": 10_000}
    return (_track(OFFICE, f"restock-{product}", "Product Updated", stock),)


def sought(lives: Iterable[Life]) -> dict[str, list[Life]]:
    """Return each product that somebody asks for, with those who do."""
    found: dict[str, list[Life]] = {}
    for life in lives:
        if life.asks_for is not None:
            found.setdefault(life.asks_for, []).append(life)
    return found


class _Customer:
    """Draws one life."""

    def __init__(self, number: int, random: Random, pace: float) -> None:
        self._me = f"shopper-{number:04}"
        self._sought = f"product-{number // SHARED_BY}"
        self._random = random
        self._pace = pace
        self._acts: list[Act] = []
        self._calls = self._orders = 0

    def life(self) -> Life:
        ways: Mapping[Callable[[], None], int] = {self._look: 15, self._fill_a_cart: 60, self._ask: 25}
        self._sign_up()
        (way,) = self._random.choices(list(ways), list(ways.values()))
        way()
        return Life(self._me, tuple(self._acts))

    def _sign_up(self) -> None:
        traits = {"email": address(self._me), "firstName": "Ada", "marketing_consent": True}
        who = {"type": "identify", "userId": self._me, "messageId": self._next_id(), "traits": traits}
        self._act(who, self._call("Signed Up", type="account"))

    def _look(self) -> None:
        for _ in range(self._random.randint(1, 3)):
            self._act(self._call("Product Viewed", **_product(f"thing-{self._random.randrange(40)}")))

    def _fill_a_cart(self) -> None:
        goods = [f"thing-{self._random.randrange(40)}" for _ in range(self._random.randint(1, 3))]
        self._act(*(self._call("Product Added", **_product(one), quantity=1) for one in goods))
        (end,) = self._random.choices([*_ENDS, "leaves"], [*_ENDS.values(), 1 - sum(_ENDS.values())])
        match end:
            case "orders":
                self._order(goods)
            case "orders twice":
                self._order(goods)
                self._act(self._call("Product Added", **_product(goods[0]), quantity=1))
                if self._random.random() < 0.5:  # the others leave the second cart behind
                    self._order(goods[:1])
            case "has it refunded":
                number = self._order(goods)
                self._act(self._call("Order Refunded", order_id=number, total=18.5, currency="EUR"))
            case "clears the cart":
                self._act(self._call("Cart Cleared"))
            case "unsubscribes":
                self._act(self._call("Newsletter Unsubscribed"))

    def _ask(self) -> None:
        self._act(self._call("Back In Stock Requested", **_product(self._sought)), asks_for=self._sought)
        if self._random.random() < 0.3:
            self._order([self._sought])

    def _order(self, goods: list[str]) -> str:
        self._orders += 1
        number = f"{self._me}-order-{self._orders}"
        lines = [{**_product(one), "quantity": 1} for one in goods]
        total = 18.5 * len(lines)
        self._act(self._call("Order Completed", order_id=number, total=total, currency="EUR", products=lines))
        return number

    def _act(self, *calls: Call, asks_for: str | None = None) -> None:
        pause = self._random.uniform(0, _LONGEST_PAUSE_S) * self._pace
        self._acts.append(Act(pause, calls, asks_for))

    def _call(self, event: str, **properties: Any) -> Call:
        return _track(self._me, self._next_id(), event, properties)

    def _next_id(self) -> str:
        self._calls += 1
        return f"{self._me}-{self._calls}"


def _product(product: str) -> dict[str, Any]:
    return {"product_id": product, "name": product.title(), "price": 18.5, "currency": "EUR"}


def _track(user: str, message_id: str, event: str, properties: dict[str, Any]) -> Call:
    return {"type": "track", "event": event, "userId": user, "messageId": message_id, "properties": properties}
