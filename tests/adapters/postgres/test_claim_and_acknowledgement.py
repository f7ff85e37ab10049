"""What "acknowledged before the claim" means: the two exclude each other, customer by customer (G4)."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import plans
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.tables import customers
from adapters.postgres.tenancy import as_store
from domain.events import Event, EventType, Who
from domain.plans import validated
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock


def event(store: Shop, clock: SteppedClock, who: Who, name: str | None, kind: EventType = "track") -> Event:
    """An event of this instant."""
    payload = {"type": kind, "event": name}
    return Event(
        store_id=store.store_id, id=new_id(), message_id=uuid4().hex, type=kind, name=name, who=who, payload=payload,
        at=clock(), received_at=clock(),
    )  # fmt: skip


async def a_customer(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> None:
    """Ada, who has a row and an identity."""
    async with as_owner(engine) as connection:
        customer = new_id()
        keys = {"s": store.store_id, "c": customer, "now": clock()}
        await connection.execute(
            text("insert into customers (store_id, customer_id, created_at) values (:s, :c, :now)"), keys
        )
        await connection.execute(text("insert into identities values (:s, 'user', 'ada', :c)"), keys)


async def waiting_for_a_lock(engine: AsyncEngine) -> bool:
    """Tell whether somebody waits for somebody else's lock."""
    async with as_owner(engine) as connection:
        query = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%told as%'")
        return bool(await connection.scalar(query))


@pytest.mark.parametrize("name", ["Order Completed", "purchase", "Unsubscribed"])
async def test_an_order_is_not_acknowledged_while_its_customer_is_being_claimed(
    engine: AsyncEngine, store: Shop, clock: SteppedClock, name: str
) -> None:
    """The claim that did not see the order has committed before the shop hears 200."""
    await a_customer(engine, store, clock)
    ingest = EventStore(engine)
    async with as_store(engine, store.store_id) as claim:
        await claim.execute(select(customers).with_for_update())
        accepted = asyncio.create_task(ingest.accept([event(store, clock, Who(user_id="ada"), name)]))
        async with asyncio.timeout(60):
            while not await waiting_for_a_lock(engine):
                await asyncio.sleep(0.01)

        assert not accepted.done()

    assert await accepted == 1
    await ingest.close()


async def test_an_exit_of_a_follow_up_is_not_acknowledged_either(
    engine: AsyncEngine, store: Shop, clock: SteppedClock
) -> None:
    """Its names are the store's own; those of an earlier plan still end the runs that began with it."""
    await a_customer(engine, store, clock)
    step = {"name": "only", "template": "t", "topic": "newsletter"}
    for exits in (["Checked In"], ["page"]):
        plan = validated("follow-up/mine", {"event": "x", "exits": exits, "steps": [step]})
        await plans.put(engine, store.store_id, "follow-up/mine", plan, clock())
    ingest = EventStore(engine)
    calls: tuple[tuple[str | None, EventType], ...] = (("checked_in", "track"), (None, "page"), ("Page View", "track"))
    for name, kind in calls:
        async with as_store(engine, store.store_id) as claim:
            await claim.execute(select(customers).with_for_update())
            other = event(store, clock, Who(user_id="ada"), "x")
            assert await ingest.accept([other]) == 1
            accepted = asyncio.create_task(ingest.accept([event(store, clock, Who(user_id="ada"), name, kind)]))
            async with asyncio.timeout(60):
                while not await waiting_for_a_lock(engine):
                    await asyncio.sleep(0.01)

            assert not accepted.done()

        assert await accepted == 1
    await ingest.close()


async def test_what_cannot_forbid_anything_never_waits(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> None:
    """A view, or another customer's order, is acknowledged while a claim is under way."""
    await a_customer(engine, store, clock)
    ingest = EventStore(engine)
    async with as_store(engine, store.store_id) as claim:
        await claim.execute(select(customers).with_for_update())
        view = event(store, clock, Who(user_id="ada"), "Product Viewed")
        order = event(store, clock, Who(user_id="bob"), "Order Completed")

        assert await ingest.accept([view, order]) == 2
    await ingest.close()


async def test_the_router_is_not_in_the_way(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> None:
    """Its batches hold customers for long; orders are acknowledged meanwhile, and still seen as unapplied."""
    await a_customer(engine, store, clock)
    ingest = EventStore(engine)
    async with as_store(engine, store.store_id) as routing:
        await routing.execute(select(customers).with_for_update(key_share=True))

        assert await ingest.accept([event(store, clock, Who(user_id="ada"), "Order Completed")]) == 1
    await ingest.close()
