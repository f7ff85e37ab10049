"""What two routers apply at the same time, in transactions that do not see each other, is not lost (G2).

A product and those who ask for it are told of in different lanes.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.batch import Batch
from adapters.postgres.routing import prepare, route
from adapters.postgres.tables import events, products, waitlist, watchlist
from adapters.postgres.tenancy import act_as
from domain.commands import Command, ReleaseStock
from domain.events import Event, Who
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling

LATER = START + timedelta(minutes=1)


async def test_a_restock_and_a_request_at_the_same_time_find_each_other(mugs: Telling) -> None:
    """Whichever is committed first, the other begins the waves; the request was there before the stock."""
    for first in (0, 1):
        product = f"cup-{first}"
        request = mugs.event("Back In Stock Requested", START, Who(user_id="ada"), product_id=product)
        restock = mugs.event("Product Updated", LATER, Who(), product_id=product, stock=5)
        both = [request, restock] if first == 0 else [restock, request]

        assert any(isinstance(command, ReleaseStock) for command in await side_by_side(mugs, *both)), first


async def test_a_wish_and_the_price_that_fulfils_it_at_the_same_time_find_each_other(mugs: Telling) -> None:
    """One event for the watcher, whichever is committed first."""
    for first in (0, 1):
        product = f"cup-{first}"
        await mugs.apply([mugs.event("Product Updated", START - timedelta(1), Who(), product_id=product, price=10)])
        wish = mugs.event("Product Added to Wishlist", START, Who(user_id="ada"), product_id=product, target_price=5)
        price = mugs.event("Product Updated", LATER, Who(), product_id=product, price=4)
        await side_by_side(mugs, *([wish, price] if first == 0 else [price, wish]))

        told = [row.payload["properties"]["product_id"] for row in await mugs.rows(events)]
        assert told.count(product) == 1


@pytest.mark.parametrize("name", ["Back In Stock Requested", "Product Added to Wishlist"])
async def test_two_who_ask_for_a_product_do_not_wait_for_each_other(mugs: Telling, name: str) -> None:
    """A product that everybody asks for at once is no queue in which one router stands behind the other."""
    ada, bob = (mugs.event(name, START, Who(user_id=user), product_id="cup") for user in ("ada", "bob"))
    async with mugs.engine.connect() as one, mugs.engine.connect() as other:
        await act_as(one, mugs.store_id)
        await route(one, ada, LATER, Batch())
        await act_as(other, mugs.store_id)
        async with asyncio.timeout(60):
            await route(other, bob, LATER, Batch())
        await one.commit()
        await other.commit()

    asked = await mugs.rows(waitlist if name == "Back In Stock Requested" else watchlist)
    assert len(asked) == 2


async def test_two_who_work_on_the_same_products_in_another_order_do_not_wait_for_each_other(mugs: Telling) -> None:
    """Requests for a cup and a pot, and their restock, pot first: Postgres has no deadlock to end."""
    asked = [mugs.event("Back In Stock Requested", START, Who(user_id="ada"), product_id=p) for p in ("cup", "pot")]
    told = [mugs.event("Product Updated", LATER, Who(), product_id=p, stock=5) for p in ("pot", "cup")]
    async with mugs.engine.connect() as one, mugs.engine.connect() as other:
        mine, batch = await other.scalar(select(func.pg_backend_pid())), Batch()
        await act_as(one, mugs.store_id)
        await prepare(one, [(event, LATER) for event in asked], batch)
        await route(one, asked[0], LATER, batch)
        restocked = asyncio.create_task(together(mugs, other, told))
        async with asyncio.timeout(60):
            while not await waits_for_a_lock(mugs, mine):
                await asyncio.sleep(0.01)
        await route(one, asked[1], LATER, batch)
        await one.commit()
        commands = await restocked
        await other.commit()

    assert {c.product_id for c in commands if isinstance(c, ReleaseStock)} == {"cup", "pot"}


@pytest.mark.parametrize("turned", [False, True])
async def test_two_words_on_a_product_at_the_same_time_are_both_kept(mugs: Telling, turned: bool) -> None:
    """Neither overwrites when the other was told."""
    stock = mugs.event("Product Updated", START, Who(), product_id="cup", stock=5)
    name = mugs.event("Product Viewed", START, Who(user_id="ada"), product_id="cup", name="Cup")
    await side_by_side(mugs, *([name, stock] if turned else [stock, name]))

    (cup,) = await mugs.rows(products)
    assert (cup.stock, cup.name) == (5, "Cup")
    assert {"stock", "name"} <= cup.told_at.keys()


async def waits_for_a_lock(mugs: Telling, pid: int) -> bool:
    async with as_owner(mugs.engine) as watching:
        query = text("select wait_event_type = 'Lock' from pg_stat_activity where pid = :pid")
        return bool(await watching.scalar(query, {"pid": pid}))


async def together(mugs: Telling, connection: AsyncConnection, told: Sequence[Event]) -> list[Command]:
    """Apply events as one batch; return the commands."""
    batch = Batch()
    await act_as(connection, mugs.store_id)
    await prepare(connection, [(event, LATER) for event in told], batch)
    return [command for event in told for command in await route(connection, event, LATER, batch)]


async def side_by_side(mugs: Telling, first: Event, second: Event) -> list[Any]:
    """Apply two events in transactions that are open at the same time; return the commands of the second.

    The second has come as far as it can when it waits for a lock, or is done, while the first is still open.
    """
    async with mugs.engine.connect() as one, mugs.engine.connect() as other:
        mine = await other.scalar(select(func.pg_backend_pid()))
        await act_as(one, mugs.store_id)
        await act_as(other, mugs.store_id)
        await route(one, first, LATER, Batch())
        applied = asyncio.create_task(route(other, second, LATER, Batch()))
        async with asyncio.timeout(60):
            while not applied.done() and not await waits_for_a_lock(mugs, mine):
                await asyncio.sleep(0.01)
        await one.commit()
        commands = await applied
        await other.commit()
    return commands
