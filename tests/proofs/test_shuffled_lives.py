"""G2 at the level of messages: a life told late, twice and in any order leads to the same messages.

Everything arrives within the grace window: before the first message after it comes due. What arrives later than that
cannot be unsaid (docs/delivery.md). What is inherent or not settled yet, and therefore not drawn here:
- A refund counts from when we hear of it. Told before its order, or before a sign-up that it precedes, it decides
  otherwise whether a welcome or the wait of a win-back begins, and of several orders which one is thanked for; so lives
  with a refund have one order, and of them only the cart's and the order's own messages are compared.
- Browse abandonment: a cart that is told after the looks that followed it ends what they began, to be on the safe side.
"""

from collections import Counter
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import stores
from adapters.postgres.at_once import asked_at_once
from adapters.postgres.batch import Batch
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.routing import route, unwritten
from adapters.postgres.tables import runs
from adapters.postgres.tenancy import as_store
from domain.delivery import CartQuiet, Condition, OrderStands, Result, Slot
from domain.events import Event, Who
from domain.message import StoreCard
from domain.plans import CartRecoveryPlan, Plan, PostPurchasePlan, WelcomePlan, WinBackPlan
from tests.adapters.postgres.conftest import START, Telling

GRACE = timedelta(minutes=30)
MUCH_LATER = START + timedelta(days=3)
"""Long after every quiet hour: what is asked then is decided by what is known, not by when it came due."""
MINUTE = timedelta(minutes=1)

USER, BROWSER, BOTH = Who(user_id="ada"), Who(anonymous_id="b-1"), Who(user_id="ada", anonymous_id="b-1")
PLANS: dict[str, Plan] = {
    "welcome": WelcomePlan(),
    "cart-recovery": CartRecoveryPlan(),
    "post-purchase": PostPurchasePlan(),
    "win-back": WinBackPlan(),
}
_numbers = count()

Deed = tuple[str, Who, dict[str, Any]]


def _deeds(name: str, **properties: st.SearchStrategy[Any]) -> st.SearchStrategy[Deed]:
    return st.tuples(st.just(name), st.sampled_from([USER, BROWSER, BOTH]), st.fixed_dictionaries(properties))


PRODUCTS = st.sampled_from(["cup", "pot"])
SIGN_UP: Deed = ("identify", BOTH, {"email": "ada@x.test", "marketing_consent": True})
"""Without an address and consent there is no message to compare; it also makes the browser Ada's."""
LIFE = st.lists(
    st.one_of(
        _deeds("Product Viewed", product_id=PRODUCTS),
        _deeds("Product Added", product_id=PRODUCTS, quantity=st.integers(1, 2), price=st.just(5)),
        _deeds("Product Removed", product_id=PRODUCTS, quantity=st.just(2)),
        _deeds("Checkout Started", product=PRODUCTS),
        _deeds("Order Completed", product=PRODUCTS),
        _deeds("Order Refunded"),
        _deeds("Signed Up"),
        _deeds("Newsletter Subscribed"),
        _deeds("Newsletter Unsubscribed"),
    ),
    min_size=1,
    max_size=6,
).flatmap(lambda deeds: st.permutations([SIGN_UP, *deeds]))


def told(deeds: list[Deed], teller: Telling) -> list[Event]:
    """Turn a drawn life into events, a minute apart."""
    events: list[Event] = []
    placed: list[str] = []
    for minute, (name, who, said) in enumerate(deeds):
        at = START + minute * MINUTE
        body = dict(said)
        if name in {"Checkout Started", "Order Completed"}:
            body = {"products": [{"product_id": said["product"], "quantity": 1, "price": 5}], "total": 5}
        if name == "Order Completed":
            placed.append(f"o-{minute}")
        if name in {"Order Completed", "Order Refunded"}:
            if not placed:
                continue
            body["order_id"] = placed[-1]
        if name == "identify":
            named = who._replace(email=body["email"])
            events.append(teller.event(None, at, named, "identify", **body))
        else:
            events.append(teller.event(name, at, who, **body))
    return events if len(placed) <= 1 else [event for event in events if event.name != "Order Refunded"]


async def messages_of(engine: AsyncEngine, arrivals: list[tuple[float, Event]]) -> Counter[tuple[str, str | None, str]]:
    """Tell a new store a life as it arrives, and let everybody who is in a journey be written to."""
    teller = Telling(engine, f"life-{next(_numbers)}-{uuid4().hex[:6]}")
    card = {"name": "L", "url": "https://l.test", "currency": "EUR", "sender_email": "l@l.test", "sender_name": "L"}
    await stores.create(engine, StoreCard(store_id=teller.store_id, **card), START, by="test")
    async with as_store(engine, teller.store_id) as connection:
        for seconds, event in sorted(arrivals, key=lambda arrival: arrival[0]):
            mine = event._replace(store_id=teller.store_id)
            batch = Batch()
            await route(connection, mine, START + timedelta(seconds=seconds), batch)
            await asked_at_once(connection, *unwritten(teller.store_id, batch))
    ledger, compared = PostgresLedger(engine), set(PLANS)
    if any(event.name == "Order Refunded" for _, event in arrivals):
        compared -= {"welcome", "win-back"}
    sent: Counter[tuple[str, str | None, str]] = Counter()
    for run in await teller.rows(runs, runs.c.ended_at.is_(None), runs.c.journey.in_(compared)):
        plan = PLANS[run.journey]
        for step in plan.steps:
            slot = Slot(
                store_id=teller.store_id, customer_id=run.customer_id, run_id=run.run_id, journey=run.journey,
                step=step, gap=timedelta(0), due=MUCH_LATER, waited_from=MUCH_LATER, order_id=run.order_id,
                requires=_requires(plan, run.order_id),
            )  # fmt: skip
            if (await ledger.claim(slot, MUCH_LATER)).delivery.result is Result.SENT:
                sent[run.journey, run.order_id, step.name] += 1
    return sent


def _requires(plan: Plan, order_id: str | None) -> tuple[Condition, ...]:
    """What the journey asks for besides the rules for every message."""
    if isinstance(plan, CartRecoveryPlan):
        return (CartQuiet(quiet=plan.quiet),)
    return (OrderStands(order_id=order_id or ""),) if isinstance(plan, PostPurchasePlan) else ()


@settings(max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck))
@given(deeds=LIFE, random=st.randoms(use_true_random=False))
async def test_a_life_told_in_any_order_leads_to_the_same_messages(
    engine: AsyncEngine, deeds: list[Deed], random: Random
) -> None:
    """Duplicated, delayed and permuted within the grace window."""
    life = told(deeds, Telling(engine))
    in_order = [((event.at - START).total_seconds(), event) for event in life]
    twice = [*life, *random.sample(life, min(2, len(life)))]
    shuffled = [(random.uniform((e.at - START).total_seconds(), GRACE.total_seconds()), e) for e in twice]
    expected = await messages_of(engine, in_order)
    story = [(round(s), e.name or e.type, e.who.lane) for s, e in sorted(shuffled, key=lambda arrival: arrival[0])]
    assert await messages_of(engine, shuffled) == expected, story
