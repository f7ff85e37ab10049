"""What customers' events say of products: written once a batch, and nobody waits for it."""

import asyncio
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import sales
from adapters.postgres.at_once import asked_at_once
from adapters.postgres.batch import Batch
from adapters.postgres.routing import prepare, route, unwritten
from adapters.postgres.tables import products, watchlist
from adapters.postgres.tenancy import act_as, as_store
from domain.events import Event, Who
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import statements

_SAID = {
    "name": st.sampled_from(["Cup", "Blue cup"]),
    "category": st.sampled_from(["Kitchen", "Gifts"]),
    "url": st.just("https://shop.example/cup"),
    "price": st.sampled_from([5, 6, 7]),
    "currency": st.sampled_from(["EUR", "USD"]),
}
_WORD = st.tuples(
    st.sampled_from(["Product Viewed"] * 4 + ["Product Added", "Product Updated", "Product Added to Wishlist"]),
    st.fixed_dictionaries({"product_id": st.sampled_from(["cup", "pot"])}, optional=_SAID),
    st.integers(0, 3),
)


async def test_new_products_that_a_batch_looks_at_are_one_statement(mugs: Telling) -> None:
    """However many there are: the batches of other lanes, which look at the same ones, go on the sooner."""
    counted = []
    for many in (range(1), range(1, 9)):
        with statements(mugs.engine) as said:
            await mugs.apply([looked(mugs, f"u-{n}", f"cup-{n}") for n in many])
        counted.append(sum("products" in statement for statement in said))

    assert counted[0] == counted[1]
    assert sorted(row.name for row in await mugs.rows(products)) == [f"A cup-{n}" for n in range(9)]


async def test_a_batch_that_looks_at_a_new_product_keeps_no_other_from_it(mugs: Telling) -> None:
    """The first is not over, and the second is committed; of each field the newest word stands."""
    first = [mugs.event("Product Viewed", START, Who(user_id="ada"), product_id="cup", name="Cup", price=5)]
    second = [
        mugs.event("Product Viewed", START + timedelta(minutes=1), Who(user_id="bob"), product_id="cup", name="Mug")
    ]
    async with as_store(mugs.engine, mugs.store_id) as connection:
        batch = await routed(connection, first)
        await asyncio.wait_for(mugs.apply(second), 30)
        await asked_at_once(connection, *unwritten(mugs.store_id, batch))

    (cup,) = await mugs.rows(products)
    assert (cup.name, cup.price_minor) == ("Mug", 500)
    assert cup.told_at == {
        "name": second[0].at.isoformat(),
        **dict.fromkeys(("price_minor", "currency"), START.isoformat()),
    }


async def test_hearsay_of_a_price_counts_for_nothing_once_the_back_office_has_told_one(mugs: Telling) -> None:
    """Also where it is told between the look and the end of the look's batch."""
    async with as_store(mugs.engine, mugs.store_id) as connection:
        later = START + timedelta(minutes=1)
        look = mugs.event("Product Viewed", later, Who(user_id="ada"), product_id="cup", name="Cup", price=5)
        batch = await routed(connection, [look])
        await mugs.apply([mugs.event("Product Updated", product_id="cup", name="Mug", price=9)])
        await asked_at_once(connection, *unwritten(mugs.store_id, batch))

    (cup,) = await mugs.rows(products)
    assert (cup.name, cup.price_minor, cup.price_since) == ("Cup", 900, START)


async def test_two_batches_that_sell_what_the_other_has_heard_of_do_not_wait_in_a_circle(mugs: Telling) -> None:
    """Each looks at what the other sells: what a batch sells is written after what it has heard, in one order."""

    async def other() -> None:
        async with as_store(mugs.engine, mugs.store_id) as connection:
            batch = await routed(connection, look_and_buy(mugs, "bob", "pot", "cup"))
            await asked_at_once(connection, *unwritten(mugs.store_id, batch))
            await sales.write(connection, batch.sales)

    async with as_store(mugs.engine, mugs.store_id) as connection:
        batch = await routed(connection, look_and_buy(mugs, "ada", "cup", "pot"))
        await asked_at_once(connection, *unwritten(mugs.store_id, batch))
        second = asyncio.create_task(other())
        async with asyncio.timeout(30):
            while not await waits_for_a_lock(mugs.engine):
                await asyncio.sleep(0.02)
        await sales.write(connection, batch.sales)
    await asyncio.wait_for(second, 30)

    assert {row.product_id: (row.name, row.sold) for row in await mugs.rows(products)} == {
        "cup": ("A cup", 1),
        "pot": ("A pot", 1),
    }


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=st.lists(_WORD, min_size=1, max_size=6))
@example(
    words=[("Product Viewed", {"product_id": "cup", "price": 5}, 1), ("Product Updated", {"product_id": "cup"}, 0)]
)
@example(
    words=[
        ("Product Viewed", {"product_id": "cup", "price": 5}, 0),
        ("Product Added to Wishlist", {"product_id": "cup"}, 1),
    ]
)
async def test_what_a_batch_hears_of_products_comes_to_what_it_hears_word_by_word(
    words: list[tuple[str, dict[str, Any], int]], engine: AsyncEngine
) -> None:
    """Whoever says it, in whatever order, beside what the back office tells and customers ask for."""
    mugs = Telling(engine, "hearsay")
    told = [
        mugs.event(name, START + timedelta(minutes=at), Who(user_id=f"u-{place}"), **said)
        for place, (name, said, at) in enumerate(words)
    ]
    assert await heard(mugs, [told]) == await heard(mugs, [[event] for event in told])


async def heard(mugs: Telling, batches: list[list[Event]]) -> list[Any]:
    """Return all that is known of products, and what they cost when they were watched, after these batches alone."""
    async with mugs.engine.connect() as connection:
        await act_as(connection, mugs.store_id)
        for table in (products, watchlist):
            await connection.execute(delete(table).where(table.c.store_id == mugs.store_id))
        for events in batches:
            await mugs.apply_in(connection, events)
        known = (await connection.execute(products.select().where(products.c.store_id == mugs.store_id))).mappings()
        seen = await connection.execute(watchlist.select().where(watchlist.c.store_id == mugs.store_id))
        found = [
            *map(dict, known.all()),
            *((row.product_id, row.price_when_watched_minor, row.currency) for row in seen),
        ]
        await connection.rollback()
    return sorted(found, key=str)


async def routed(connection: Any, events: list[Event]) -> Batch:
    """Route a batch up to the moment before what it has left is written."""
    batch = Batch()
    await prepare(connection, [(event, START) for event in events], batch)
    for event in events:
        await route(connection, event, START, batch)
    return batch


def looked(mugs: Telling, user: str, product: str) -> Event:
    """Somebody looks at a product that the page names."""
    return mugs.event("Product Viewed", who=Who(user_id=user), product_id=product, name=f"A {product}", price=5)


def look_and_buy(mugs: Telling, user: str, looked_at: str, bought: str) -> list[Event]:
    """Somebody looks at one product and buys another."""
    order = {"order_id": f"o-{user}", "products": [{"product_id": bought}]}
    return [looked(mugs, user, looked_at), mugs.event("Order Completed", who=Who(user_id=user), **order)]


async def waits_for_a_lock(engine: AsyncEngine) -> bool:
    """Tell whether anybody waits for another transaction."""
    async with engine.connect() as connection:
        return bool(await connection.scalar(text("select count(*) from pg_locks where not granted")))
