"""Erasure in the database: nothing names the customer any more, and nothing late brings them back."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import privacy, suppressions
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.privacy import Erased
from adapters.postgres.tables import customers, dedup_keys, events, messages, metadata, orders, runs
from adapters.postgres.tenancy import as_store
from domain.delivery import Delivery, Result, Slot
from domain.errors import NotFound
from domain.events import Event, Who
from domain.plans import Step
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import SteppedClock
from worker.router import Router

NOW = START + timedelta(hours=2)
MINUTE = timedelta(minutes=1)
ADDRESSES = ("ada@example.com", "countess@example.com")
SAYS_WHO = (*ADDRESSES, "Lovelace", "+441815", "ada-1815", "browser-1815", "Ockham", "order-1815")
"""What only Ada's events say."""


class Nobody:
    """Carries out nothing: what Temporal does is tried in tests/functional/test_forgotten.py."""

    async def execute(self, store_id: str, command: object) -> bool:
        return True


class Life:
    """A store whose events come in through the door, and are routed."""

    def __init__(self, mugs: Telling) -> None:
        self.mugs, self.engine, self.store_id = mugs, mugs.engine, mugs.store_id
        self.who = Who(user_id="ada-1815")

    async def take_in(self, *told: Event, route: bool = True) -> None:
        await EventStore(self.engine).accept(told)
        if route:
            await Router(self.engine, Nobody(), SteppedClock(NOW)).route_everything()

    def told(self, at: datetime = START) -> list[Event]:
        """All that a customer can leave behind: one browser, an account, two addresses, a purchase, a complaint."""
        tell, browser = self.mugs.event, Who(anonymous_id="browser-1815")
        both = Who(user_id="ada-1815", anonymous_id="browser-1815", email=ADDRESSES[0])
        traits = {"firstName": "Ada", "lastName": "Lovelace", "phone": "+441815", "address": {"city": "Ockham"}}
        line = {"product_id": "cup", "price": 5}
        return [
            tell("Product Viewed", at, browser, **line),
            tell("Product Added", at, browser, **line),
            tell(None, at + MINUTE, both, "identify", email=ADDRESSES[0], marketing_consent=True, **traits),
            tell("Back In Stock Requested", at + 2 * MINUTE, self.who, **line),
            tell("Product Added to Wishlist", at + 2 * MINUTE, self.who, **line),
            tell("Order Completed", at + 3 * MINUTE, self.who, order_id="order-1815", products=[line]),
            tell("Product Added", at + 4 * MINUTE, self.who, **line),
            tell(None, at + 5 * MINUTE, self.who, "identify", email=ADDRESSES[1]),
        ]  # fmt: skip

    async def erase(self, customer_id: UUID, at: datetime = NOW) -> Erased:
        async with as_store(self.engine, self.store_id) as connection:
            return await privacy.erase(connection, self.store_id, customer_id, at)

    async def found(self, words: Sequence[str] = SAYS_WHO) -> list[tuple[str, str]]:
        """Search every column of every table, whatever is added to the schema."""
        async with as_owner(self.engine) as connection:
            return [
                (table.name, word)
                for table in metadata.sorted_tables
                for row in (await connection.execute(text(f"select t::text from {table.name} t"))).scalars()  # noqa: S608
                for word in words
                if word.lower() in row.lower()
            ]


@pytest.fixture
def life(mugs: Telling) -> Life:
    return Life(mugs)


async def test_after_an_erasure_no_column_of_any_table_names_the_customer(life: Life) -> None:
    """Not in an event, a cart, an order, a message or a suppression; nor in what another customer's event says."""
    await life.take_in(*life.told())
    ada = await life.mugs.customer("ada-1815")
    await life.mugs.sent_message(ada, START + MINUTE, code="CODE-1815")
    await life.mugs.write(update(messages).values(address=ADDRESSES[0], because="550 <ada@example.com> no such user"))
    async with as_store(life.engine, life.store_id) as connection:
        await suppressions.suppress(connection, life.store_id, ADDRESSES[0], "complained", START, detail="order-1815")
    bob = life.mugs.event("Gift Sent", START, Who(user_id="bob"), to="Ada@Example.com")
    await life.take_in(bob, life.mugs.event("Product Viewed", START, Who(user_id="bob"), product_id="cup"))
    assert {table for table, _ in await life.found()} >= {"events", "customers", "identities", "orders", "messages"}

    erased = await life.erase(ada)

    assert await life.found([*SAYS_WHO, "CODE-1815"]) == []
    assert erased.rows["orders"] == 1
    assert [row.user_id for row in await life.mugs.rows(events)] == ["bob"]
    assert await life.mugs.customer("bob") != ada
    # What the store counts by is still there.
    assert len(await life.mugs.rows(messages)) == 1
    kept = await life.mugs.rows(runs)
    assert {row.workflow_id for row in kept} == set(erased.workflow_ids)
    assert all(row.ended_at is not None and row.order_id is None for row in kept)
    assert "left" in {row.outcome for row in kept}


async def test_what_a_client_called_the_events_is_forgotten_with_them(life: Life) -> None:
    """A dedup key may say anything; those of others stay, so that their repeated events stay known."""
    bob = life.mugs.event("Product Viewed", START, Who(user_id="bob"), product_id="cup")
    mine = life.told()[0]._replace(message_id="view-of-Lovelace")
    late = life.told(NOW - 5 * MINUTE)[-1]._replace(message_id="profile-of-Lovelace")
    await life.take_in(*life.told()[1:], mine, bob)
    assert ("dedup_keys", "Lovelace") in await life.found()

    await life.erase(await life.mugs.customer("ada-1815"))
    await life.take_in(late)

    assert await life.found() == []
    assert [row.event_id for row in await life.mugs.rows(dedup_keys)] == [bob.id]


def test_every_table_with_a_customer_is_treated() -> None:
    """Whoever adds one decides here what an erasure does with it."""
    treated = {table.name for table in privacy.DELETED} | {"customers", "runs", "messages", "events"}

    assert {table.name for table in metadata.tables.values() if "customer_id" in table.c} == treated


async def test_events_of_others_go_only_if_they_really_name_the_customer(life: Life) -> None:
    """An address within a longer one is somebody else's; one at the beginning of a line is the customer's."""
    others = ("joada@example.com", "ada@example.com.au", "ada@example.community", "x.ada@example.com", "ada")
    named = ("to ada@example.com.", "<ADA@example.com>", "hello\nada@example.com", "+441815, please")
    told = [life.mugs.event("Gift Sent", START, Who(user_id="bob"), note=note) for note in (*others, *named)]
    await life.take_in(*life.told(), *told)

    await life.erase(await life.mugs.customer("ada-1815"))

    assert {row.payload["properties"]["note"] for row in await life.mugs.rows(events)} == set(others)


async def test_late_events_of_an_erased_customer_bring_nothing_back(life: Life) -> None:
    """All that happened before the erasure and comes in after it is forgotten as soon as it is read."""
    await life.take_in(*life.told())
    await life.erase(await life.mugs.customer("ada-1815"))

    await life.take_in(*life.told(), *life.told(NOW - 10 * MINUTE))
    forged = life.mugs.event("Product Viewed", NOW + MINUTE, Who(user_id="new-id"), product_id="cup")
    alias = life.mugs.event(None, NOW - MINUTE, Who(user_id="new-id"), "alias", previousId="ada-1815")
    await life.take_in(forged, alias)

    assert await life.found() == []


async def test_events_that_wait_during_an_erasure_are_forgotten_with_the_rest(life: Life) -> None:
    """Accepted, not yet read."""
    await life.take_in(*life.told())
    await life.take_in(*life.told(NOW - 10 * MINUTE), route=False)

    await life.erase(await life.mugs.customer("ada-1815"))
    await life.take_in()

    assert await life.found() == []


async def test_who_signs_up_again_after_an_erasure_is_a_new_customer(life: Life) -> None:
    """The tombstone stops the past, not the future."""
    await life.take_in(*life.told())
    before = await life.mugs.customer("ada-1815")
    await life.erase(before)

    await life.take_in(life.mugs.event(None, NOW + MINUTE, life.who, "identify", email=ADDRESSES[0]))
    after = await life.mugs.customer("ada-1815")

    assert after != before
    assert await life.mugs.rows(orders, orders.c.customer_id == after) == []


async def test_an_erased_address_stays_suppressed_without_being_known(life: Life) -> None:
    """Who complained is not written to when they are imported again; the list holds a salted hash."""
    await life.take_in(*life.told())
    async with as_store(life.engine, life.store_id) as connection:
        await suppressions.suppress(connection, life.store_id, ADDRESSES[0], "complained", START)
    await life.erase(await life.mugs.customer("ada-1815"))

    async with as_owner(life.engine) as connection:
        reasons = [
            list(await suppressions.in_force(connection, life.store_id, address, NOW))
            for address in ("Ada@example.com", "bob@example.com")
        ]

    assert reasons == [["complained"], []]
    assert await life.found(ADDRESSES) == []


async def test_a_customer_who_was_two_is_erased_as_both(life: Life) -> None:
    """Whoever was merged into the customer goes, too, by whichever id one asks."""
    browser, merged = Who(anonymous_id="browser-1815"), Who(user_id="ada-1815", anonymous_id="browser-1815")
    await life.take_in(life.mugs.event("Product Viewed", START, browser, product_id="cup"))
    await life.take_in(*life.told(), life.mugs.event(None, START, merged, "identify", email=ADDRESSES[0]))
    ada = await life.mugs.customer("ada-1815")

    await life.erase(ada)
    again = await life.erase(ada, NOW + MINUTE)

    assert await life.found() == []
    assert (again.rows["events"], again.rows["identities"]) == (0, 0)
    with pytest.raises(NotFound):
        await life.erase(UUID(int=1))


async def test_a_step_that_asks_after_the_erasure_sends_nothing(life: Life) -> None:
    """A worker that still holds the run asks the gate, and the gate knows nobody to write to."""
    await life.take_in(*life.told())
    ada = await life.mugs.customer("ada-1815")
    run_id = await life.mugs.run(ada, "cart-recovery")
    await life.erase(ada)
    slot = Slot(
        store_id=life.store_id, customer_id=ada, run_id=run_id, journey="cart-recovery", due=NOW, waited_from=NOW,
        step=Step(name="reminder-1", template="cart-reminder"), gap=timedelta(0),
    )  # fmt: skip

    claim = await PostgresLedger(life.engine).claim(slot, NOW)

    assert (claim.material, claim.delivery.result) == (None, Result.EXITED)
    assert isinstance(claim.delivery, Delivery)


async def test_an_erasure_waits_for_events_under_way_and_stops_those_that_follow(
    life: Life, engine: AsyncEngine
) -> None:
    """Whatever a router does at that moment is either undone by the erasure or refused after it."""
    await life.take_in(*life.told())
    ada = await life.mugs.customer("ada-1815")
    stream = [life.told(NOW - timedelta(minutes=number)) for number in range(10, 30)]

    async def keep_coming() -> None:
        for told in stream:
            await life.take_in(*told)

    coming = asyncio.create_task(keep_coming())
    await life.erase(ada)
    await coming
    await life.take_in()

    async with as_owner(engine) as connection:
        shells = (await connection.execute(select(customers.c.email, customers.c.first_name))).all()
    assert {tuple(row) for row in shells} == {(None, None)}
    assert await life.found() == []
