"""What "acknowledged before the claim" means: the two exclude each other, customer by customer (G4)."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import plans
from adapters.postgres.at_once import asked_at_once, begun, unbegun
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import customers, events
from adapters.postgres.tenancy import as_store
from domain.delivery import Slot
from domain.errors import EventsPending
from domain.events import Event, EventType, Who
from domain.plans import Step, validated
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


async def test_a_claim_that_had_to_wait_for_its_customer_sees_what_was_committed_meanwhile(
    engine: AsyncEngine, store: Shop, clock: SteppedClock
) -> None:
    """Lock and reading are asked for at once, and what is read is as it was once the lock was free."""
    await a_customer(engine, store, clock)
    mine = text("select customer_id from identities where value = 'ada'")
    async with as_owner(engine) as connection:
        customer_id = await connection.scalar(mine)
    slot = Slot(
        store_id=store.store_id, customer_id=customer_id, run_id=new_id(), journey="cart-recovery",
        step=Step(name="reminder-1", template="cart-reminder"), gap=timedelta(0), due=clock(), waited_from=clock(),
    )  # fmt: skip
    order = event(store, clock, Who(user_id="ada"), "Order Completed")
    async with unbegun(engine).connect() as storing:
        await asked_at_once(storing, *begun(store.store_id))
        await storing.execute(select(customers).with_for_update(read=True, key_share=True))
        claim = asyncio.create_task(PostgresLedger(engine).claim(slot, clock()))
        async with asyncio.timeout(60), as_owner(engine) as watching:
            waiting = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
            while not await watching.scalar(waiting):
                await asyncio.sleep(0.01)
        await storing.execute(
            insert(events).values(
                store_id=store.store_id, id=order.id, message_id=order.message_id, type=order.type, name=order.name,
                user_id="ada", payload={}, at=order.at, received_at=order.received_at, shard=0,
            )
        )  # fmt: skip
        await storing.commit()
        with pytest.raises(EventsPending):
            await claim


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
