"""G7: a store sees only itself, though every id a client chooses is the same in both."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import plans, queue
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import events, messages, metadata, runs, stores
from adapters.postgres.tenancy import as_store
from adapters.postgres.waitlist import PostgresWaitlist
from domain.delivery import CartQuiet, Slot
from domain.events import Event, Who
from domain.plans import Step, validated
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling

MINUTE = timedelta(minutes=1)
NOW = START + timedelta(hours=2)
TABLES = [table for table in metadata.sorted_tables if table.name not in {"stores", "keys", "events", "plans", "audit"}]


@pytest.fixture
async def pots(engine: AsyncEngine, mugs: Telling) -> Telling:
    """Another store in the same database."""
    async with as_owner(engine) as connection:
        row = (await connection.execute(select(stores).where(stores.c.store_id == mugs.store_id))).one()
        await connection.execute(insert(stores).values({**row._asdict(), "store_id": "pots", "name": "Pots"}))
    return Telling(engine, "pots")


def a_life(mugs: Telling) -> list[Event]:
    browser, both = Who(anonymous_id="b-1"), Who(user_id="ada", anonymous_id="b-1")
    bought = [{"product_id": "cup", "price": 5}]
    return [
        mugs.event("Product Updated", START, Who(), product_id="cup", stock=0, name="Cup"),
        mugs.event("Product Added", START + MINUTE, browser, product_id="pot", price=3),
        mugs.event("Product Viewed", START + 2 * MINUTE, browser, product_id="cup"),
        mugs.event(None, START + 3 * MINUTE, both, "identify", email="ada@x.test", marketing_consent=True),
        mugs.event("Back In Stock Requested", START + 4 * MINUTE, product_id="cup"),
        mugs.event("Product Added to Wishlist", START + 5 * MINUTE, product_id="cup"),
        mugs.event("Order Completed", START + 6 * MINUTE, order_id="o-1", products=bought, coupon="CART10"),
        mugs.event("Order Refunded", START + 7 * MINUTE, order_id="o-1"),
        mugs.event("Newsletter Unsubscribed", START + 8 * MINUTE),
        mugs.event("Product Added", START + 9 * MINUTE, product_id="pot"),
        mugs.event("Back In Stock Requested", START + 10 * MINUTE, product_id="cup"),
    ]


async def everything(store: Telling) -> dict[str, list[str]]:
    """All rows of a store, without the ids that we make ourselves."""

    def plain(row: Any) -> str:
        values = row._asdict()
        return str(
            {
                name: value
                for name, value in values.items()
                if not isinstance(value, UUID) and name not in {"store_id", "workflow_id"}
            }
        )

    return {table.name: sorted(plain(row) for row in await store.rows(table)) for table in TABLES}


async def test_a_store_that_shares_every_id_with_another_is_as_if_alone(mugs: Telling, pots: Telling) -> None:
    """The same life told to two stores, and then more to one of them only, mixes nothing."""
    life = a_life(mugs)
    await mugs.apply(life, NOW)
    alone = await everything(mugs)
    assert all(not rows for rows in (await everything(pots)).values())

    await pots.apply(life, NOW)
    assert await everything(mugs) == alone
    assert await everything(pots) == alone
    assert await mugs.customer() != await pots.customer()

    await pots.apply([pots.event("Order Completed", NOW, order_id="o-2", products=[{"product_id": "cup"}])], NOW)
    await pots.apply([pots.event(None, NOW, kind="alias", previousId="bob")], NOW)
    assert await everything(mugs) == alone


async def test_the_queue_of_one_store_is_not_the_other_s(mugs: Telling, pots: Telling, engine: AsyncEngine) -> None:
    """The same message id is a new event in each; what is parked is seen and retried by its own store only."""
    door = EventStore(engine)
    event = mugs.event("Product Viewed", product_id="cup")
    for store_id in ("mugs", "pots"):
        assert await door.accept([event._replace(store_id=store_id, id=new_id())]) == 1
    await door.close()
    async with as_store(engine, "mugs") as connection:
        (mine,) = (await connection.execute(select(events.c.id).where(events.c.store_id == "mugs"))).scalars()
        await queue.mark_failed(connection, mine, "broken", None)
    assert await queue.parked(engine, "pots") == []
    assert await queue.retry(engine, "pots") == await queue.retry(engine, "pots", mine) == 0
    assert [parked.id for parked in await queue.parked(engine, "mugs")] == [mine]
    assert await queue.retry(engine, "mugs") == 1


async def test_messages_waves_and_plans_stay_in_their_store(mugs: Telling, pots: Telling, engine: AsyncEngine) -> None:
    """What one store sent, stocks or decided has no effect on a claim or a wave of the other."""
    for store in (mugs, pots):
        await store.apply([store.event(None, kind="identify", email="ada@x.test", marketing_consent=True)])
        await store.apply([store.event("Product Added", product_id="cup")])
        await store.apply([store.event("Back In Stock Requested", product_id="cup")])
    step = Step(name="reminder-1", template="cart-reminder")
    slot = Slot(
        store_id="mugs", customer_id=await mugs.customer(), run_id=uuid4(), journey="cart-recovery", step=step,
        gap=timedelta(hours=4), due=NOW, waited_from=NOW, requires=(CartQuiet(quiet=MINUTE),),
    )  # fmt: skip
    await pots.sent_message(await pots.customer(), NOW)
    await pots.apply([pots.event("Newsletter Unsubscribed", NOW), pots.event("Cart Cleared", NOW)], NOW)
    await pots.apply([pots.event("Product Updated", NOW, Who(), product_id="cup", stock=9)], NOW)
    assert (await PostgresLedger(engine).claim(slot, NOW)).material is not None
    waves = PostgresWaitlist(engine)
    assert (await waves.next_wave("mugs", "cup", 1.0, NOW)).workflow_ids == ()
    wave = await waves.next_wave("pots", "cup", 1.0, NOW)
    (told,) = wave.workflow_ids
    assert wave.fact is not None
    await waves.wave_told("mugs", wave.fact, [told], NOW)
    assert (await waves.next_wave("pots", "cup", 1.0, NOW)).workflow_ids == (told,)

    assert await plans.put(engine, "pots", "welcome", validated("welcome", {"enabled": False}), NOW) == 1
    async with as_store(engine, "mugs") as connection:
        assert await plans.current(connection, "mugs") == {}
    assert await plans.put(engine, "pots", "welcome", validated("welcome", {}), NOW) == 2
    assert await plans.put(engine, "mugs", "welcome", validated("welcome", {}), NOW) == 1


async def test_a_click_in_one_store_cannot_touch_a_message_of_another(mugs: Telling, pots: Telling) -> None:
    """A message id is no key to a foreign store."""
    await mugs.apply([mugs.event(None, kind="identify", email="ada@x.test")])
    message = await mugs.sent_message(await mugs.customer(), START)
    for name in ("Email Opened", "Email Link Clicked"):
        await pots.apply([pots.event(name, NOW, message_id=message.hex, url="https://mugs.test/")], NOW)
    (row,) = await mugs.rows(messages)
    assert row.opened_at is None
    assert row.clicked_at is None
    assert await pots.rows(runs) == []
