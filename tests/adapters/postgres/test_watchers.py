"""Watchers: whom a price concerns, and how they are told; by one statement for each thousand of them."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import plans, watchers
from adapters.postgres.identities import new_id
from adapters.postgres.queue import CHANNEL
from adapters.postgres.tables import customers, events, products, runs, watchlist
from adapters.postgres.tenancy import as_store
from domain.events import Who
from domain.plans import validated
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import statements

FELL, ROSE = "Watched Price Fell", "Watched Price Rose"


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


class Shop(Telling):
    """A store with a catalogue, one watched product, and one customer."""

    async def price(self, minute: int, price: float, currency: str = "EUR", **more: Any) -> None:
        product = {"product_id": "mug", "price": price, "currency": currency}
        await self.apply([self.event("Product Updated", at(minute), Who(), **product | more)], at(minute))

    async def tell(self, minute: int, name: str, who: str = "ada", **said: Any) -> None:
        await self.apply([self.event(name, at(minute), Who(user_id=who), product_id="mug", **said)], at(minute))

    async def watch(self, minute: int, **asked: Any) -> None:
        await self.tell(minute, "Product Added to Wishlist", **asked)

    async def told(self, name: str = FELL) -> int:
        """How many customers were told, so far."""
        return len(await self.rows(events, events.c.name == name))

    async def many_watch(self, count: int) -> None:
        """Have many customers watch the product."""
        mine = {"store_id": self.store_id}
        people = [{**mine, "customer_id": new_id(), "created_at": START} for _ in range(count)]
        watch = {"product_id": "mug", "price_when_watched_minor": 2000, "currency": "EUR", "changed_at": at(1)}
        flags = {"notify_on_price_drop": True, "notify_on_restock": False, "active": True}
        rows = [{**mine, "customer_id": person["customer_id"], **watch, **flags} for person in people]
        await self.write(insert(customers).values(people))
        await self.write(insert(watchlist).values(rows))


@pytest.fixture
def shop(engine: AsyncEngine, store: Any) -> Shop:
    return Shop(engine, store.store_id)


async def test_a_thousand_watchers_cost_as_many_statements_as_ten(shop: Shop, engine: AsyncEngine) -> None:
    """The transaction that applies a price writes events, page by page; nobody's state is read or locked in it."""
    await shop.price(0, 20)
    await shop.many_watch(10)
    with statements(engine) as few:
        await shop.price(2, 15)
    assert await shop.told() == 10

    await shop.many_watch(1_090)
    with statements(engine) as many:
        await shop.price(3, 14)

    assert await shop.told() == 10 + 1_100
    assert len(many) <= len(few) + 3  # one page more: read, written, notified
    assert not any("for update" in statement.lower() or "for no key" in statement.lower() for statement in many)


async def test_every_watcher_is_told_in_a_lane_of_its_own(shop: Shop, engine: AsyncEngine) -> None:
    """Events like any other: pending, in their customers' lanes, and each begins one run."""
    await shop.price(0, 20)
    await shop.many_watch(50)
    await shop.price(2, 15)
    rows = await shop.rows(events, events.c.name == FELL)

    assert len({row.customer_id for row in rows}) == 50
    assert len({row.shard for row in rows}) > 10
    assert {row.state for row in rows} == {"pending"}
    assert {row.at for row in rows} == {at(2)}

    told = [shop.event(FELL, row.at, Who(customer_id=row.customer_id), product_id="mug") for row in rows]
    await shop.apply(told, at(2))
    begun = await shop.rows(runs)
    assert {(row.customer_id, row.product_id, row.journey) for row in begun} == {
        (row.customer_id, "mug", "price-drop") for row in rows
    }


async def test_the_routers_are_woken(shop: Shop, engine: AsyncEngine) -> None:
    """Else the alerts would wait for the next poll."""
    await shop.price(0, 20)
    await shop.many_watch(1)
    with statements(engine) as sent:
        await shop.price(2, 15)

    assert any("pg_notify" in statement for statement in sent)
    assert CHANNEL == "journeys_events"


async def test_a_catalogue_told_again_and_again_tells_nobody_twice(shop: Shop) -> None:
    """A back office may repeat its whole catalogue every night."""
    await shop.price(0, 20)
    await shop.watch(1)
    for minute in (2, 3, 4):
        await shop.price(minute, 15)

    assert await shop.told() == 1


async def test_a_price_that_a_customers_event_carried_along_alerts_nobody(shop: Shop) -> None:
    """A browser can say anything about a price; nor can it hide one that the back office tells."""
    await shop.price(0, 20)
    await shop.watch(1)
    await shop.tell(2, "Product Viewed", "mallory", price=0.01, currency="EUR")
    assert await shop.told() == 0
    assert [row.price_minor for row in await shop.rows(products)] == [2000]

    await shop.tell(3, "Product Viewed", "bob", price=15, currency="EUR")
    await shop.price(4, 15)
    assert await shop.told() == 1


@pytest.mark.parametrize("name", [FELL, ROSE])
async def test_nobody_outside_can_tell_a_customer_of_a_price(shop: Shop, name: str) -> None:
    """Our own events name a customer by our own id, which no client can; any other one of that name means nothing."""
    await shop.price(0, 20)
    await shop.watch(1)
    await shop.price(2, 15)
    await shop.tell(3, name)

    assert await shop.rows(runs) == []


async def test_prices_in_different_currencies_are_never_compared(shop: Shop) -> None:
    """15 dollars are not less than 20 euros; the next euro price is compared with the euros that were seen."""
    await shop.price(0, 20, "EUR")
    await shop.watch(1, target_price=18, currency="EUR")
    await shop.price(2, 15, "USD")
    await shop.price(3, 12, "USD")
    assert await shop.told() == 0

    await shop.price(4, 17, "EUR")
    assert await shop.told() == 1


async def test_a_price_nobody_knew_before_counts_for_a_target_only(shop: Shop) -> None:
    """Without an old price there is nothing to be a percentage of."""
    await shop.watch(0, target_price=18, currency="EUR")
    await shop.tell(0, "Product Added to Wishlist", "bob", drop_percent=1)
    await shop.price(1, 17)

    assert [row.customer_id for row in await shop.rows(events, events.c.name == FELL)] == [await shop.customer("ada")]


@pytest.mark.parametrize(
    "how",
    [
        {"name": "Product Removed from Wishlist"},
        {"name": "Product Added to Wishlist", "notify_on_price_drop": False},
        {"name": "Order Completed", "order_id": "o-1", "products": [{"product_id": "mug"}]},
    ],
    ids=["unwatched", "refused", "bought"],
)
async def test_who_does_not_want_to_hear_of_it_is_not_told(shop: Shop, how: dict[str, Any]) -> None:
    """Also if it was said before, but told after the wish (G2)."""
    await shop.price(0, 20)
    await shop.watch(1)
    await shop.tell(2, **how)
    await shop.price(3, 15)

    assert await shop.told() == 0


async def test_a_price_that_was_there_before_the_wish_is_no_drop(shop: Shop) -> None:
    """Though the customer saw a higher one, on a page that was out of date: nothing has happened since."""
    await shop.price(0, 15)
    await shop.watch(1, price=20, currency="EUR")
    await shop.price(2, 15)

    assert await shop.told() == 0


@pytest.mark.parametrize("late", [False, True], ids=["in order", "wish told last"])
async def test_a_price_that_rose_is_no_drop(shop: Shop, late: bool) -> None:
    """Though the customer saw an even higher one; whichever we hear first (G2)."""
    await shop.price(0, 10)
    if not late:
        await shop.watch(1, price=20, currency="EUR")
    await shop.price(2, 15)
    if late:
        await shop.watch(1, price=20, currency="EUR")

    assert await shop.told() == 0


async def test_a_rise_is_told_to_those_with_a_run_under_way_only(shop: Shop) -> None:
    """Each rise once; who waits for a drop does not care."""
    await shop.price(0, 20)
    await shop.watch(1)
    await shop.tell(1, "Product Added to Wishlist", "bob")
    await shop.price(2, 15)
    ada = await shop.customer("ada")
    await shop.run(ada, "price-drop", "mug")
    await shop.run(await shop.customer("bob"), "price-drop", "cup")
    await shop.price(3, 19)

    assert [row.customer_id for row in await shop.rows(events, events.c.name == ROSE)] == [ada]


async def test_watchers_of_another_store_are_not_told(shop: Shop) -> None:
    """A store sees only itself (G7)."""
    other = Shop(shop.engine, "cups")
    await other.price(0, 20)
    await other.watch(1)
    await shop.price(0, 20)
    await shop.price(2, 15)

    assert await other.told() == 0
    assert await shop.told() == 0


async def test_a_store_without_the_journey_tells_nobody(shop: Shop) -> None:
    """A plan that is switched off costs no events."""
    await plans.put(shop.engine, shop.store_id, "price-drop", validated("price-drop", {"enabled": False}), START)
    await shop.price(0, 20)
    await shop.watch(1)
    await shop.price(2, 15)

    assert await shop.told() == 0


# What was seen, and when: at the wish (minute 0) and at looks after it; then the price drops.
SEEN = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), max_size=3, unique_by=lambda look: look[0])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    looks=SEEN,
    target=st.none() | st.integers(1, 40),
    percent=st.none() | st.integers(1, 99),
    price=st.integers(1, 40),
    order=st.randoms(use_true_random=False),
)
async def test_what_a_customer_wants_is_what_the_customer_said_measured_by_what_the_customer_saw(
    shop: Shop, looks: list[tuple[int, int]], target: int | None, percent: int | None, price: int, order: Any
) -> None:
    """Computed here a second time, in Python; the order in which looks arrive makes no difference."""
    mine = Shop(shop.engine, f"{shop.store_id}-{new_id()}")
    await mine.watch(0, price=30, currency="EUR", **_asked(target, percent))
    order.shuffle(looks)
    for minute, seen in looks:
        await mine.tell(minute, "Product Viewed", price=seen, currency="EUR")
    await mine.price(10, price)
    async with as_store(mine.engine, mine.store_id) as connection:
        row = await watchers.wanted(connection, mine.store_id, await mine.customer(), "mug", 5)

    old = max(looks, default=(0, 30))[1]
    share = percent if percent is not None or target is not None else 5
    goals = [goal for goal in (target, None if share is None else old * (100 - share) / 100) if goal is not None]
    assert row is not None
    assert row.old_minor == old * 100
    assert (row.price_minor <= row.wanted_minor) == (price <= max(goals) and price < old)


def _asked(target: int | None, percent: int | None) -> dict[str, int]:
    asked = {"target_price": target, "drop_percent": percent}
    return {name: value for name, value in asked.items() if value is not None}


async def test_the_statement_finds_watchers_by_an_index(shop: Shop) -> None:
    """A product that few watch, in a store with many wishes, costs a look into an index."""
    await shop.many_watch(2)
    async with as_owner(shop.engine) as connection:
        # So many that Postgres does not choose between plans that cost the same, and counted, whatever was here before.
        told = {column.name: column.name for column in watchlist.c} | {"product_id": "'other-' || n"}
        await connection.exec_driver_sql(
            f"insert into watchlist ({', '.join(told)}) select {', '.join(told.values())}"  # noqa: S608
            " from watchlist, generate_series(1, 5000) as n where product_id = 'mug'"
        )
        await connection.exec_driver_sql("analyze watchlist")
        query = select(func.count()).where(
            watchlist.c.store_id == shop.store_id, watchlist.c.product_id == "mug",
            watchlist.c.active, watchlist.c.notify_on_price_drop,
        )  # fmt: skip
        plan = await connection.exec_driver_sql(
            "explain " + str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
        )

        assert "ix_watchlist_product" in "\n".join(plan.scalars())
        await connection.rollback()


def _no_price_seen_twice(told: list[tuple[bool, int]]) -> bool:
    """A look that shows what is known already is not written down, or each look would write: nor that it was later."""
    seen = [price for listed, price in told if not listed]
    return len(seen) == len(set(seen))


TOLD = st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=2, max_size=5).filter(_no_price_seen_twice)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=TOLD, order=st.data())
async def test_a_price_is_the_newest_of_the_back_office_whatever_comes_first(
    shop: Shop, told: list[tuple[bool, int]], order: st.DataObject
) -> None:
    """Prices in customers' events serve until there is one (G2)."""
    mine = Shop(shop.engine, f"{shop.store_id}-{new_id()}")
    for minute, (listed, price) in order.draw(st.permutations(list(enumerate(told)))):
        if listed:
            await mine.price(minute, price)
        else:
            await mine.tell(minute, "Product Viewed", price=price, currency="EUR")
    row = (await mine.rows(products))[0]

    listed_prices = [price for listed, price in told if listed]
    assert row.price_minor == (listed_prices or [price for _, price in told])[-1] * 100
    assert (row.price_since is not None) == bool(listed_prices)
