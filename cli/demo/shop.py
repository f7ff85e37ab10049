"""The demo shop: real orders and credit notes, and around them the life that the data set does not record.

The orders, their lines, prices and times, the customers' ids and the credit notes are those of the excerpt. Browsing,
carts, sign-ups, names, consent, stock requests and restocks are generated from them with the fixed seed `SEED`, so the
same excerpt always gives the same events. No address is real: all are `@example.com` (RFC 2606).
"""

import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cli.demo.excerpt import Invoice, Row, read, taken_back

SEED = 20110301
SHOP_URL = "https://shop.example"
CURRENCY = "GBP"
MINUTE, HOUR = 1 / 1440, 1 / 24

CONSENT = 0.7
"""Share of the customers who take the newsletter."""
SIGN_UPS = 0.55
"""Share who make an account some days before their first order; the others check out as guests."""
ANONYMOUS = 0.4
"""Share of those whose first visit is remembered from before they told us who they are."""
LOOKED_AROUND = 0.3
"""Share of the orders before which somebody was seen looking at the goods."""
CARTS_BOUGHT_AT_ONCE, CARTS_BOUGHT_LATER = 0.1, 0.2
"""Shares of the orders before which a cart is seen: minutes before, and days before."""
CARTS_NEVER_BOUGHT = 0.25
"""Share of the customers who fill another cart after their last order, for good."""
SOLD_OUT, RESTOCKED, REQUESTS_EACH = 8, 6, 5
"""How many products sell out, how many of them come back, and how many customers ask for each."""
UNDECIDED, LOOKS = 25, 3
"""How many customers look at one product again and again, and how often."""
REDUCED, WATCHERS_EACH, REDUCTION = 3, 6, Decimal("0.75")
"""How many products become cheaper, how many customers watch each, and what is left of the price."""

FIRST_NAMES = ("Amara", "Ben", "Chloe", "Elif", "Femi", "Grace", "Hugo", "Ines", "Kavya", "Liam", "Mia", "Noah", "Zoe")


@dataclass(frozen=True)
class TimedEvent:
    """An event as a Segment client would send it, and when.

    Attributes:
        at_day: Days after the beginning of the replay.
        body: The event without its timestamp.
    """

    at_day: float
    body: dict[str, Any]


def address(customer: str) -> str:
    """Return the e-mail address of a customer of the excerpt."""
    return f"shopper-{customer}@example.com"


def generated(invoices: list[Invoice] | None = None) -> list[TimedEvent]:
    """Return the shop's events, oldest first; each has a `messageId` that is the same in every run."""
    return _Shop(read() if invoices is None else invoices).events()


class _Shop:
    """Writes down what happens; one method per kind of behaviour."""

    def __init__(self, invoices: list[Invoice]) -> None:
        self._random = random.Random(SEED)
        self._orders = [invoice for invoice in invoices if not invoice.is_credit_note]
        self._notes = [invoice for invoice in invoices if invoice.is_credit_note]
        self._midnight = datetime.combine(self._orders[0].at, datetime.min.time(), UTC)
        self._last_day = max(self._day(invoice.at) for invoice in invoices)
        self._goods = {row.product: row for order in self._orders for row in order.goods}
        self._happened: list[TimedEvent] = []

    def events(self) -> list[TimedEvent]:
        by_customer: dict[str, list[Invoice]] = {}
        for order in self._orders:
            by_customer.setdefault(order.customer, []).append(order)
        for customer, orders in by_customer.items():
            self._become_known(customer, orders[0])
            for order in orders:
                self._shop_for(order)
                self._buy(order)
            if self._chance(CARTS_NEVER_BOUGHT):
                self._leave_a_cart(orders[-1])
        for note in self._notes:
            self._give_back(note)
        self._sell_out(list(by_customer))
        self._look_again_and_again([orders[-1] for orders in by_customer.values()])
        self._reduce(list(by_customer))
        # Sorting is stable: what happens at the same moment stays in the order in which it was written down.
        events = sorted(self._happened, key=lambda event: event.at_day)
        return [
            TimedEvent(event.at_day, event.body | {"messageId": f"demo-{number:05}"})
            for number, event in enumerate(events, start=1)
        ]

    def _become_known(self, customer: str, first: Invoice) -> None:
        """Let a customer sign up days before the first order, or be known from the checkout on."""
        ordered = self._day(first.at)
        signs_up = self._chance(SIGN_UPS)
        at = max(ordered - self._random.uniform(2, 24), ordered * 0.3) if signs_up else ordered - 2 * HOUR
        browser = f"browser-{customer}" if signs_up and self._chance(ANONYMOUS) else None
        if browser is not None:
            for row in self._some(first.goods, 1):
                self._view(at - self._random.uniform(5, 30) * MINUTE, {"anonymousId": browser}, row)
        who = {"userId": customer} | ({"anonymousId": browser} if browser else {})
        traits = {
            "email": address(customer),
            "firstName": self._random.choice(FIRST_NAMES),
            "address": {"country": first.country},
        }
        self._write(at, {"type": "identify", **who, "traits": traits})
        if signs_up:
            self._track(at + MINUTE, who, "Signed Up", {"type": "account"})
        if self._chance(CONSENT):
            source, asked = ("sign-up", at) if signs_up else ("checkout", ordered)
            self._track(asked + 2 * MINUTE, who, "Newsletter Subscribed", {"source": source})

    def _shop_for(self, order: Invoice) -> None:
        """Look at some of what will be bought, and sometimes fill a cart: minutes or days before buying it."""
        ordered = self._day(order.at)
        who = {"userId": order.customer}
        for row in self._some(order.goods, 2) if self._chance(LOOKED_AROUND) else ():
            self._view(ordered - self._random.uniform(25, 60) * MINUTE, who, row)
        drawn = self._random.random()
        if drawn < CARTS_BOUGHT_AT_ONCE:
            self._fill_cart(ordered - 20 * MINUTE, order)
        elif drawn < CARTS_BOUGHT_AT_ONCE + CARTS_BOUGHT_LATER:
            days = self._random.uniform(2, 9)
            if self._known_since(order.customer) < ordered - days:
                self._fill_cart(ordered - days, order)

    def _leave_a_cart(self, last: Invoice) -> None:
        """Fill a cart days after the last order, with something else, and never come back for it."""
        at = self._day(last.at) + self._random.uniform(2, 12)
        if at < self._last_day:
            others = [order for order in self._orders if order.customer != last.customer]
            self._fill_cart(at, self._random.choice(others), last.customer)

    def _fill_cart(self, at: float, order: Invoice, customer: str | None = None) -> None:
        """Put the first goods of an order into a cart, one by one, and start the checkout."""
        who = {"userId": customer or order.customer}
        rows = order.goods[:2]
        for number, row in enumerate(rows):
            self._track(at + number * 2 * MINUTE, who, "Product Added", _product(row) | {"currency": CURRENCY})
        checkout = {"checkout_url": f"{SHOP_URL}/checkout", "products": [_product(row) for row in rows]}
        self._track(at + 8 * MINUTE, who, "Checkout Started", checkout | {"currency": CURRENCY, "value": _total(rows)})

    def _buy(self, order: Invoice) -> None:
        """Place the real order."""
        properties = {
            "order_id": order.number,
            "currency": CURRENCY,
            "total": _total(order.rows),
            "products": [_product(row) for row in order.goods],
        }
        self._track(self._day(order.at), {"userId": order.customer}, "Order Completed", properties)

    def _give_back(self, note: Invoice) -> None:
        """Refund the order that a real credit note is about."""
        order = taken_back(note, self._orders)
        if order is not None:
            properties = {"order_id": order.number, "currency": CURRENCY, "total": _total(note.rows, sign=-1)}
            self._track(self._day(note.at), {"userId": note.customer}, "Order Refunded", properties)

    def _sell_out(self, customers: list[str]) -> None:
        """Sell out the most popular goods; customers ask for them, and most come back days later."""
        sales = Counter(row.product for order in self._orders for row in order.goods)
        popular = [product for product, _ in sales.most_common(SOLD_OUT)]
        for number, product in enumerate(popular):
            gone = self._last_day * (0.15 + 0.05 * number)
            self._stock(gone, product, 0)
            for customer in self._random.sample([c for c in customers if self._known_since(c) < gone], REQUESTS_EACH):
                asked = gone + self._random.uniform(0.2, 4)
                self._track(asked, {"userId": customer}, "Back In Stock Requested", _product(self._goods[product]))
            if number < RESTOCKED:
                self._stock(gone + self._random.uniform(10, 16), product, self._random.randint(1, 12))

    def _look_again_and_again(self, last_orders: list[Invoice]) -> None:
        """Come back days after the last order to look at something, a few times within hours, and leave without it."""
        for last in self._random.sample(last_orders, UNDECIDED):
            at = self._day(last.at) + self._random.uniform(1, 6)
            product = self._goods[self._random.choice(sorted(self._goods))]
            for look in range(LOOKS):
                self._view(at + look * 2 * HOUR, {"userId": last.customer}, product)

    def _reduce(self, customers: list[str]) -> None:
        """Make some goods cheaper that customers watch; half of them have named a target price."""
        sales = Counter(row.product for order in self._orders for row in order.goods)
        for number, (product, _) in enumerate(sales.most_common(SOLD_OUT + REDUCED)[SOLD_OUT:]):
            listed = _product(self._goods[product]) | {"currency": CURRENCY}
            del listed["quantity"]
            reduced = str((self._goods[product].price * REDUCTION).quantize(Decimal("0.01")))
            cut = self._last_day * (0.5 + 0.1 * number)
            for watcher, customer in enumerate(
                self._random.sample([c for c in customers if self._known_since(c) < cut - 5], WATCHERS_EACH)
            ):
                target = {"target_price": reduced} if watcher % 2 else {}
                at = cut - self._random.uniform(1, 4)
                self._track(at, {"userId": customer}, "Product Added to Wishlist", listed | target)
            self._track(cut, {}, "Product Updated", listed | {"price": reduced})

    def _stock(self, at: float, product: str, units: int) -> None:
        """Report a product's stock, as the shop's own back office would."""
        properties = _product(self._goods[product]) | {"currency": CURRENCY, "stock": units}
        del properties["quantity"]
        self._track(at, {}, "Product Updated", properties)

    def _view(self, at: float, who: dict[str, str], row: Row) -> None:
        properties = _product(row) | {"currency": CURRENCY}
        del properties["quantity"]
        self._track(at, who, "Product Viewed", properties)

    def _track(self, at: float, who: dict[str, str], event: str, properties: dict[str, Any]) -> None:
        self._write(at, {"type": "track", **who, "event": event, "properties": properties})

    def _write(self, at: float, body: dict[str, Any]) -> None:
        self._happened.append(TimedEvent(round(max(at, 0.0), 6), body))

    def _known_since(self, customer: str) -> float:
        """When the customer was identified."""
        moments = (e.at_day for e in self._happened if e.body["type"] == "identify" and e.body["userId"] == customer)
        return next(moments)

    def _day(self, moment: datetime) -> float:
        return (moment - self._midnight) / timedelta(days=1)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _some(self, rows: tuple[Row, ...], most: int) -> list[Row]:
        return self._random.sample(rows, min(most, len(rows)))


def _product(row: Row) -> dict[str, Any]:
    """Describe a line in the words of Segment's e-commerce spec."""
    return {
        "product_id": row.product,
        "name": row.description.title(),
        "price": str(row.price),
        "quantity": abs(row.quantity),
        "url": f"{SHOP_URL}/products/{row.product}",
    }


def _total(rows: tuple[Row, ...], sign: int = 1) -> str:
    return str(sign * sum((row.price * row.quantity for row in rows), Decimal(0)))
