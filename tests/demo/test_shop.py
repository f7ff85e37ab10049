"""The demo's data and the shop generated around it."""

import csv
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from api.envelope import Arrival, understood
from cli.demo import shop
from cli.demo.excerpt import COLUMNS, EXCERPT, Invoice, Row, read, taken_back
from cli.demo.shop import TimedEvent, generated
from domain import vocabulary
from domain.decoding import facts
from domain.facts import ConsentChanged, OrderPlaced, OrderRefunded, ProductChanged, StockRequested, Topic

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def events() -> list[TimedEvent]:
    return generated()


def named(events: list[TimedEvent], name: str) -> list[TimedEvent]:
    return [event for event in events if event.body.get("event") == name]


def test_the_excerpt_is_small_and_has_the_columns_of_the_data_set() -> None:
    """The repository carries an excerpt, not the data set: real columns, bounded size."""
    with EXCERPT.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert EXCERPT.stat().st_size < 400_000
    assert max(Counter(row["InvoiceNo"] for row in rows).values()) <= 6
    assert {row["InvoiceDate"][:10] for row in rows} <= {f"2011-0{m}-{d:02}" for m in (3, 4) for d in range(1, 32)}


def test_the_excerpt_is_attributed_as_its_licence_asks() -> None:
    """CC BY 4.0: name the author, the source and the licence, and say what was changed."""
    notice = (EXCERPT.parent / "README.md").read_text()
    for needed in ("Chen, D. (2015)", "https://doi.org/10.24432/C5BW33", "CC BY 4.0", "What was changed"):
        assert needed in notice


def test_the_excerpt_holds_what_the_notice_says() -> None:
    """The counts in the notice are those of the file."""
    orders = [invoice for invoice in read() if not invoice.is_credit_note]
    notes = [invoice for invoice in read() if invoice.is_credit_note]
    per_customer = Counter(order.customer for order in orders)
    notice = (EXCERPT.parent / "README.md").read_text()
    assert f"{len(per_customer)} customers: {len({note.customer for note in notes})} with a credit note" in notice
    assert f"their orders ({len(orders)}), and the credit notes ({len(notes)})" in notice
    assert sum(count > 1 for count in per_customer.values()) >= 50
    assert all(taken_back(note, orders) for note in notes)


def test_the_same_seed_gives_the_same_events() -> None:
    """The replay is repeatable: same excerpt, same seed, same events."""
    assert generated() == generated()


def test_another_seed_gives_another_shop(monkeypatch: pytest.MonkeyPatch, events: list[TimedEvent]) -> None:
    """What is generated depends on the seed and on nothing else."""
    monkeypatch.setattr(shop, "SEED", shop.SEED + 1)
    assert generated() != events


def test_every_event_is_one_that_the_api_accepts_and_the_router_understands(events: list[TimedEvent]) -> None:
    """No event of the demo is refused, and every name is one that Journeys knows."""
    for event in events:
        arrival = Arrival(store_id="demo", received_at=NOW, sent_at=NOW)
        accepted = understood(event.body | {"timestamp": NOW.isoformat()}, arrival)
        assert facts(accepted), event
        assert accepted.type == "identify" or vocabulary.canonical(accepted.name or "") == accepted.name


def test_message_ids_are_unique_and_events_are_in_order(events: list[TimedEvent]) -> None:
    """A messageId stands for one event, and the list is a timeline that begins with the replay."""
    assert len({event.body["messageId"] for event in events}) == len(events)
    assert events[0].at_day >= 0
    assert all(before.at_day <= after.at_day for before, after in pairwise(events))


def test_the_real_orders_are_in_it_line_by_line(events: list[TimedEvent]) -> None:
    """Orders are not invented: number, customer, goods and amounts are the excerpt's."""
    real = {order.number: order for order in read() if not order.is_credit_note}
    replayed = {event.body["properties"]["order_id"]: event.body for event in named(events, "Order Completed")}
    assert replayed.keys() == real.keys()
    for number, order in real.items():
        assert replayed[number]["userId"] == order.customer
        lines = [(p["product_id"], p["price"]) for p in replayed[number]["properties"]["products"]]
        assert lines == [(row.product, str(row.price)) for row in order.goods]


def test_each_journey_has_what_it_begins_with(events: list[TimedEvent]) -> None:
    """Sign-ups, carts, orders, looks, wishes, and stock requests of which some are answered by a restock."""
    found = Counter(event.body.get("event", event.body["type"]) for event in events)
    assert found["Signed Up"] > 80
    assert found["Newsletter Subscribed"] > 120
    assert 60 <= found["Checkout Started"] <= 160
    assert found["Back In Stock Requested"] == 40
    assert found["Order Refunded"] == 20
    assert found["Product Added to Wishlist"] == shop.REDUCED * shop.WATCHERS_EACH
    looks = Counter((e.body.get("userId"), e.body["properties"]["product_id"]) for e in named(events, "Product Viewed"))
    assert sum(count >= shop.LOOKS for count in looks.values()) >= shop.UNDECIDED
    assert len(events) <= 2_600


def test_some_customers_never_consent(events: list[TimedEvent]) -> None:
    """The gate has something to refuse: not everybody takes the newsletter."""
    known = {event.body["userId"] for event in events if event.body["type"] == "identify"}
    consenting = {event.body["userId"] for event in named(events, "Newsletter Subscribed")}
    assert 0.05 < len(known - consenting) / len(known) < 0.3


def test_some_carts_are_bought_and_some_are_never_bought(events: list[TimedEvent]) -> None:
    """A cart is followed by its order, at once or days later, or by nothing."""
    ordered = [(event.body["userId"], event.at_day) for event in named(events, "Order Completed")]
    after = [
        min((at - cart.at_day for who, at in ordered if who == cart.body["userId"] and at >= cart.at_day), default=None)
        for cart in named(events, "Checkout Started")
    ]
    assert sum(days is None for days in after) >= 20
    assert sum(days is not None and days > 1.5 for days in after) >= 20
    assert sum(days is not None and days < 0.1 for days in after) >= 10


def test_a_cart_that_is_bought_is_filled_before_its_order(events: list[TimedEvent]) -> None:
    """No cart of an order comes after it: the goods of a cart are ordered later, or by nobody in this cart."""
    first_order = {event.body["userId"]: event for event in reversed(named(events, "Order Completed"))}
    for added in named(events, "Product Added"):
        order = first_order[added.body["userId"]]
        if added.at_day > order.at_day:
            continue
        later = [e for e in named(events, "Order Completed") if e.at_day > added.at_day]
        bought = [
            p for e in later if e.body["userId"] == added.body["userId"] for p in e.body["properties"]["products"]
        ]
        assert added.body["properties"]["product_id"] in {product["product_id"] for product in bought}


def test_customers_are_introduced_before_they_do_anything_under_their_name(events: list[TimedEvent]) -> None:
    """`identify` comes first, so that no step lacks an address; a browser comes before the person behind it."""
    introduced: set[str] = set()
    browsers: set[str] = set()
    for event in events:
        who = event.body.get("userId")
        if event.body["type"] == "identify":
            introduced.add(who)
            if "anonymousId" in event.body:
                assert event.body["anonymousId"] in browsers
        elif who is None:
            browsers.add(event.body.get("anonymousId", ""))
        elif event.body["event"] != "Product Viewed":
            assert who in introduced, event
    assert len(browsers) > 20


def test_a_refund_names_an_earlier_order_of_the_same_customer(events: list[TimedEvent]) -> None:
    """A credit note becomes the refund of an order that was placed before it."""
    placed = {event.body["properties"]["order_id"]: event for event in named(events, "Order Completed")}
    for refund in named(events, "Order Refunded"):
        order = placed[refund.body["properties"]["order_id"]]
        assert order.at_day < refund.at_day
        assert order.body["userId"] == refund.body["userId"]


def test_a_restock_comes_after_the_requests_and_some_products_never_return(events: list[TimedEvent]) -> None:
    """Sold out, asked for, then back; the customers of two products wait in vain."""
    stock: dict[str, list[tuple[float, int]]] = {}
    for event in named(events, "Product Updated"):
        properties = event.body["properties"]
        if "stock" in properties:
            stock.setdefault(properties["product_id"], []).append((event.at_day, properties["stock"]))
    restocked = {product: told[1] for product, told in stock.items() if len(told) == 2}
    assert (len(stock), len(restocked)) == (8, 6)
    assert all(told[0][1] == 0 for told in stock.values())
    for event in named(events, "Back In Stock Requested"):
        product = event.body["properties"]["product_id"]
        back, units = restocked.get(product, (math.inf, 1))
        assert stock[product][0][0] < event.at_day < back
        assert units > 0


def test_events_mean_what_the_shop_means_by_them(events: list[TimedEvent]) -> None:
    """Decoded, an order carries its amount in pence, a newsletter its consent, a product its stock."""

    def decoded(name: str) -> list[object]:
        arrival = Arrival(store_id="demo", received_at=NOW)
        return list(facts(understood(named(events, name)[0].body | {"timestamp": NOW.isoformat()}, arrival)))

    order = next(fact for fact in decoded("Order Completed") if isinstance(fact, OrderPlaced))
    assert order.currency == "GBP"
    assert order.total_minor == sum((line.price_minor or 0) * line.quantity for line in order.lines) > 0
    consent = [fact for fact in decoded("Newsletter Subscribed") if isinstance(fact, ConsentChanged)]
    assert [(fact.topic, fact.granted) for fact in consent] == [(Topic.MARKETING, True)]
    assert any(isinstance(fact, ProductChanged) and fact.stock == 0 for fact in decoded("Product Updated"))
    assert any(isinstance(fact, StockRequested) for fact in decoded("Back In Stock Requested"))
    assert any(isinstance(fact, OrderRefunded) for fact in decoded("Order Refunded"))


def test_a_credit_note_is_about_the_newest_earlier_order_with_one_of_its_products() -> None:
    """Not a later order, not another customer's, not one without the product."""

    def invoice(number: str, customer: str, day: int, product: str) -> Invoice:
        at = NOW + timedelta(days=day)
        row = Row(number, product, "MUG", 1, at, shop.Decimal("1.00"), customer, "France")
        return Invoice(number, customer, "France", at, (row,))

    note = invoice("C9", "1", 9, "22423")
    right = invoice("5", "1", 5, "22423")
    wrong = [
        invoice("4", "1", 4, "22423"),
        invoice("6", "1", 6, "99999"),
        invoice("7", "2", 7, "22423"),
        invoice("10", "1", 10, "22423"),
    ]
    assert taken_back(note, [*wrong, right]) is right
    assert taken_back(note, wrong[1:]) is None
