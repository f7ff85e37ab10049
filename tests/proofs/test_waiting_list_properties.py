"""Correctness properties of requirements/3 about the waiting list, on a real database: a hundred drawn lists each.

The docstrings carry the tags; docs/properties.md lists them.
"""

from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.batch import Batch
from adapters.postgres.identities import new_id
from adapters.postgres.routing import route
from adapters.postgres.tables import customers, identities, runs, waitlist
from adapters.postgres.tenancy import as_store
from adapters.postgres.waitlist import PostgresWaitlist
from domain import ids
from domain.commands import Command, ReleaseStock, SignalRun
from domain.events import Who
from domain.plans import BackInStockPlan
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import Shop

PLAN = BackInStockPlan()
AN_HOUR = timedelta(hours=1)
RESTOCKED = START + timedelta(days=1)
MOST_IN_AN_HOUR = int(PLAN.wave_ratio) * (AN_HOUR // PLAN.wave_interval + 1)
"""Customers for each unit in stock."""
_MINUTE = timedelta(minutes=1)
_fresh = count()

hundred = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Shelf:
    """Products that nobody asked for before, and the customers who wait for them."""

    def __init__(self, mugs: Telling) -> None:
        self.mugs = mugs
        self.line = PostgresWaitlist(mugs.engine)

    def new_product(self) -> str:
        return f"cup-{next(_fresh)}"

    async def asked_for(self, *products: str, by: int) -> list[UUID]:
        """New customers, whose user ids are their ids, ask a minute after each other; their runs wait."""
        mine, line = {"store_id": self.mugs.store_id}, [new_id() for _ in range(by)]
        asked = [(product, one, START + n * _MINUTE) for product in products for n, one in enumerate(line)]
        people = [mine | {"customer_id": one, "created_at": START} for one in line]
        known = [mine | {"customer_id": one, "kind": "user", "value": str(one)} for one in line]
        places = [mine | {"product_id": what, "customer_id": one, "asked_at": at} for what, one, at in asked]
        waiting = [
            mine | {
                "run_id": new_id(), "journey": "back-in-stock", "customer_id": one, "product_id": what,
                "workflow_id": ids.workflow_id(self.mugs.store_id, "back-in-stock", one, what), "plan_version": 0,
                "since": at, "begun_at": at, "expires_at": at + PLAN.longest,
            }
            for what, one, at in asked
        ]  # fmt: skip
        async with as_store(self.mugs.engine, self.mugs.store_id) as connection:
            for table, rows in ((customers, people), (identities, known), (waitlist, places), (runs, waiting)):
                await connection.execute(insert(table), rows)
        return line

    async def waiting(self) -> set[tuple[str, UUID]]:
        """Who has an open place on which list."""
        still = await self.mugs.rows(waitlist, waitlist.c.told_at.is_(None), waitlist.c.left_at.is_(None))
        return {(row.product_id, row.customer_id) for row in still}

    async def told_by_waves(self, product_id: str) -> list[tuple[timedelta, UUID]]:
        """Who is told, and how long after the restock, as `workflows/stock_waves.py` goes on."""
        told, after = [], timedelta(0)
        while True:
            now = RESTOCKED + after
            wave = await self.line.next_wave(self.mugs.store_id, product_id, PLAN.wave_ratio, now)
            if wave.fact is not None:
                await self.line.wave_told(self.mugs.store_id, wave.fact, wave.workflow_ids, now)
            told += [(after, UUID(workflow_id.split("/")[2])) for workflow_id in wave.workflow_ids]
            if not (wave.workflow_ids and wave.waiting):
                return told
            after += PLAN.wave_interval

    async def happened(self, name: str, at: datetime, who: Who, **properties: Any) -> list[Command]:
        """An event is routed after the restock; return what Temporal is to do."""
        event = self.mugs.event(name, at, who, **properties)
        async with as_store(self.mugs.engine, self.mugs.store_id) as connection:
            return await route(connection, event, RESTOCKED, Batch())


@pytest.fixture
def shelf(engine: AsyncEngine, store: Shop) -> Shelf:
    """A store's."""
    return Shelf(Telling(engine, store.store_id))


@hundred
@given(waiting=st.integers(1, MOST_IN_AN_HOUR), units=st.integers(1, 50))
async def test_a_restock_is_told_to_all_who_wait_within_the_hour(waiting: int, units: int, shelf: Shelf) -> None:
    """By the default plan, first come first served, and to nobody twice; the event of the restock begins it.

    A list with more than 21 customers for each unit takes longer on purpose: most of them would come to an empty shelf.

    Feature: marketing-automation, Property 33: Back-in-stock notification timing.
    """
    product = shelf.new_product()
    line = await shelf.asked_for(product, by=waiting)
    commands = await shelf.happened("Product Updated", RESTOCKED, Who(), product_id=product, stock=units)
    assert [type(command) for command in commands] == [ReleaseStock]

    told = await shelf.told_by_waves(product)
    assert [who for _, who in told] == line
    assert told[-1][0] <= AN_HOUR


@hundred
@given(bought=st.sets(st.integers(0, 2)), buyer=st.integers(0, 1), after=st.booleans())
async def test_who_buys_a_product_waits_for_it_no_more(bought: set[int], buyer: int, after: bool, shelf: Shelf) -> None:
    """Off the lists of what was bought, and off no other; a purchase from before the request takes nobody off.

    Feature: marketing-automation, Property 34: Waitlist removal on purchase.
    """
    wanted = [shelf.new_product() for _ in range(3)]
    line = await shelf.asked_for(*wanted, by=2)
    basket = {wanted[number] for number in bought}
    lines = [{"product_id": product, "price": 5} for product in sorted({*basket, "something-else"})]
    order = {"order_id": shelf.new_product(), "total": 5, "products": lines}
    at = RESTOCKED if after else START - _MINUTE
    told = await shelf.happened("Order Completed", at, Who(user_id=str(line[buyer])), **order)

    left = {(product, line[buyer]) for product in basket if after}
    assert {(what, who) for what, who in await shelf.waiting() if what in wanted} == {
        (product, who) for product in wanted for who in line
    } - left
    ended = {command.workflow_id.split("/")[3] for command in told if isinstance(command, SignalRun)}
    assert ended == {product for product, _ in left}
