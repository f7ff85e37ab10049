"""G2: whatever the order in which a customer's life is told, and however often, what we know in the end is the same.

What is inherent, and therefore not drawn here:
- An `Order Updated` that overtakes its order counts as a purchase at its own time, so a cart that was touched
  between the two is taken for bought. (Here an update follows its order at once.)
- A request for a product after its purchase, when the purchase is told last: see adapters/postgres/waitlist.py.
- Two accounts that share a browser or an address: whoever names it last (first) has it.
- A product's price at the moment it was watched, and how long a view took, are known from what came before.
- Of a message that was clicked twice only the newest click is kept.
"""

from datetime import timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.tables import (
    carts,
    consents,
    customers,
    identities,
    messages,
    orders,
    products,
    suppressions,
    views,
    waitlist,
    watchlist,
)
from adapters.postgres.tenancy import act_as
from domain.cart import Cart
from domain.consent import ConsentRecord, allows
from domain.events import Event, Who
from domain.facts import Topic
from tests.adapters.postgres.conftest import START, Telling

USER, BROWSER, BOTH = Who(user_id="ada"), Who(anonymous_id="b-1"), Who(user_id="ada", anonymous_id="b-1")
GUEST, ADDRESS = Who(anonymous_id="b-1", email="ada@x.test"), Who(email="ada@x.test")
OLD = Who(user_id="old-ada")
ANYONE = st.sampled_from([USER, BROWSER, BOTH, GUEST, ADDRESS, OLD])
PRODUCTS = st.sampled_from(["cup", "pot"])
_numbers = count()

Op = tuple[str, Who, dict[str, Any]]


def _ops(name: str, **properties: st.SearchStrategy[Any]) -> st.SearchStrategy[Op]:
    return st.tuples(st.just(name), ANYONE, st.fixed_dictionaries(properties))


EMAILS = st.sampled_from(["ada@x.test", "new@x.test"])
INTRODUCTIONS: list[Op] = [
    ("identify", USER, {"email": "ada@x.test"}),
    ("identify", GUEST, {"first_name": "Ada"}),
    ("identify", BOTH, {"last_name": "L."}),
    ("alias", USER, {}),
]
"""Which identities turn out to be one person: drawn on top, or most lives would never get there."""
DOINGS = st.lists(
    st.one_of(
        _ops("identify", email=EMAILS, first_name=st.sampled_from(["Ada", "Augusta"]), plan=st.integers(1, 3)),
        _ops("identify", phone=st.sampled_from(["1", "2"]), marketing_consent=st.booleans()),
        _ops("Newsletter Subscribed"),
        _ops("Newsletter Unsubscribed"),
        _ops("Email Preferences Saved", abandoned_cart_emails=st.booleans(), price_drop_alerts=st.booleans()),
        _ops("Email Preferences Saved", timezone=st.just("Europe/Berlin")),
        _ops("identify", timezone=st.sampled_from(["Asia/Tokyo", "Asia/Kathmandu"])),
        _ops("Marketing Paused", days=st.integers(2, 30)),
        _ops("Marketing Resumed"),
        _ops("Product Added", product_id=PRODUCTS, quantity=st.integers(1, 3), price=st.just(5)),
        _ops("Product Removed", product_id=PRODUCTS, quantity=st.integers(1, 2)),
        _ops("Cart Viewed", product=PRODUCTS, quantity=st.integers(0, 2)),
        _ops("Order Completed", product=PRODUCTS, updated=st.booleans(), total=st.integers(1, 9)),
        _ops("Order Refunded"),
        _ops("Order Cancelled"),
        _ops("Back In Stock Requested", product_id=PRODUCTS),
        _ops("Product Updated", product_id=PRODUCTS, stock=st.integers(0, 3), discontinued=st.booleans()),
        _ops("Product Viewed", product_id=PRODUCTS),
        _ops("Product Added to Wishlist", product_id=PRODUCTS, notify_on_restock=st.booleans()),
        _ops("Product Removed from Wishlist", product_id=PRODUCTS),
        _ops("Email Link Clicked"),
    ),
    min_size=1,
    max_size=7,
)
LIFE = st.tuples(st.lists(st.sampled_from(INTRODUCTIONS), max_size=3, unique_by=str), DOINGS).flatmap(
    lambda drawn: st.permutations(_joined(drawn[0] + drawn[1]))
)


def _joined(ops: list[Op]) -> list[Op]:
    """Take an account that is never joined for hers: two accounts that share an address are not drawn here."""
    alias = any(name == "alias" for name, _, _ in ops)
    return ops if alias else [(name, USER if who == OLD else who, said) for name, who, said in ops]


def _events(ops: list[Op], teller: Telling, message_id: UUID) -> list[Event]:
    """Turn a drawn life into events, each at an instant of its own."""
    told: list[Event] = []
    bought: set[str] = set()
    clicked = False
    placed: list[str] = []
    for minute, (name, who, said) in enumerate(ops):
        at = START + timedelta(minutes=minute)
        if name == "identify":
            named = who._replace(email=said["email"]) if "email" in said else who
            told.append(teller.event(None, at, named, "identify", **said))
        elif name == "alias":
            told.append(teller.event(None, at, USER, "alias", previousId="old-ada"))
        elif name == "Cart Viewed":
            lines = [{"product_id": said["product"], "quantity": said["quantity"], "price": 5}]
            told.append(teller.event(name, at, who, products=lines))
        elif name == "Order Completed":
            order = {"order_id": f"o-{minute}", "products": [{"product_id": said["product"], "price": 5}]}
            told.append(teller.event(name, at, who, **order, total=said["total"]))
            bought.add(said["product"])
            placed.append(order["order_id"])
            if said["updated"]:
                later = at + timedelta(seconds=1)
                told.append(teller.event("Order Updated", later, who, **order, total=said["total"] + 1))
        elif name in {"Order Refunded", "Order Cancelled"}:
            if placed:
                told.append(teller.event(name, at, who, order_id=placed[minute % len(placed)]))
        elif name == "Back In Stock Requested" and said["product_id"] in bought:
            continue
        elif name == "Email Link Clicked":
            if not clicked:
                told.append(teller.event(name, at, USER, message_id=message_id.hex, url="https://mugs.test/"))
            clicked = True
        else:
            told.append(teller.event(name, at, who, **said))
    return told


async def _lived(
    connection: AsyncConnection, events: list[Event], message_id: UUID, *, known: bool, one_by_one: bool = False
) -> dict[str, Any]:
    """Tell a new store a life, in one batch or in many, and read what it knows then."""
    teller = Telling(None, f"life-{next(_numbers)}-{uuid4().hex[:8]}")  # type: ignore[arg-type]
    await act_as(connection, teller.store_id)
    now = START + timedelta(days=1)
    if known:  # else her account comes up with the first event that names it
        before = teller.event(None, START - timedelta(days=1), USER, "identify", locale="en")
        await teller.apply_in(connection, [before], START)
    await _sent(connection, teller.store_id, message_id, known)
    for batch in [[event] for event in events] if one_by_one else [events]:
        await teller.apply_in(connection, batch, now)
    return await _known(connection, teller.store_id)


async def _sent(connection: AsyncConnection, store_id: str, message_id: UUID, known: bool) -> None:
    if not known:
        return
    mine = (identities.c.store_id == store_id) & (identities.c.value == "ada")
    customer_id = await connection.scalar(select(identities.c.customer_id).where(mine))
    at = START - timedelta(hours=1)
    row = {
        "store_id": store_id, "message_id": message_id, "run_id": uuid4(), "customer_id": customer_id,
        "journey": "welcome", "step": "welcome-1", "template": "welcome", "transactional": False, "state": "sent",
        "claimed_at": at, "sending_at": at,
    }  # fmt: skip
    await connection.execute(insert(messages).values(row))


async def _known(connection: AsyncConnection, store_id: str) -> dict[str, Any]:
    """Everything a store knows, without our own opaque ids."""

    async def rows(table: Any) -> list[Any]:
        return list((await connection.execute(select(table).where(table.c.store_id == store_id))).all())

    everyone = {row.customer_id: row for row in await rows(customers)}
    names: dict[UUID, list[str]] = {customer_id: [] for customer_id in everyone}
    for row in await rows(identities):
        names[row.customer_id].append(f"{row.kind}:{row.value}")
    who = {customer_id: " ".join(sorted(known)) for customer_id, known in names.items()}
    silent = {row.address for row in await rows(suppressions) if row.reason == "unsubscribed"}
    people: dict[str, Any] = {
        who[customer_id]: {
            "profile": (row.email, row.phone, row.first_name, row.locale, row.timezone, sorted(row.traits.items())),
            "paused_until": row.marketing_paused_until,
            "silent": row.email in silent,
            "consent": [],
            "cart": {},
            "views": set(),
        }
        for customer_id, row in everyone.items()
        if row.merged_into is None
    }
    for customer_id, person in ((i, people[who[i]]) for i, row in everyone.items() if row.merged_into is None):
        said = [r for r in await rows(consents) if r.customer_id == customer_id and r.channel == "email"]
        records = [ConsentRecord.model_validate(record, from_attributes=True) for record in said]
        person["consent"] = [topic for topic in Topic if allows(records, topic)]
    for row in await rows(carts):
        cart = Cart.model_validate(row.cart)
        lines = {line.product_id: line.quantity for line in cart.lines}
        people[who[row.customer_id]]["cart"] = (lines, row.total_minor, row.changed_at) if lines else {}
    for row in await rows(views):
        people[who[row.customer_id]]["views"].add((row.product_id, row.at))
    return {
        "people": people,
        "orders": {
            row.order_id: (who[row.customer_id], row.status, row.placed_at, row.total_minor, str(row.lines))
            for row in await rows(orders)
        },
        "products": {
            row.product_id: (row.stock, row.withdrawn, row.sold, row.price_minor) for row in await rows(products)
        },
        "waiting": {
            (row.product_id, who[row.customer_id]): row.asked_at
            for row in await rows(waitlist)
            if row.told_at is None and row.left_at is None
        },
        "watching": {
            (row.product_id, who[row.customer_id]): (row.active, row.notify_on_restock, row.changed_at)
            for row in await rows(watchlist)
        },
        "messages": [(who[row.customer_id], row.clicked_at, row.order_id) for row in await rows(messages)],
    }


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(ops=LIFE, seed=st.randoms(use_true_random=False), known=st.booleans())
async def test_a_life_told_in_any_order_and_twice_leaves_the_same_state(
    ops: list[Op], seed: Random, known: bool, engine: AsyncEngine
) -> None:
    """G2 at the level of state: a permutation with duplicates gives what the order of events gives."""
    teller, message_id = Telling(engine), uuid4()
    life = _events(ops, teller, message_id)
    if not known:
        life = [event for event in life if event.name != "Email Link Clicked"]
    shuffled = [*life, *seed.sample(life, min(len(life), 2))]
    seed.shuffle(shuffled)
    async with engine.connect() as connection:
        in_order = await _lived(connection, life, message_id, known=known, one_by_one=True)
        out_of_order = await _lived(connection, shuffled, message_id, known=known)
        await connection.rollback()
    assert out_of_order == in_order, [(event.at.minute, event.name or event.type) for event in shuffled]
