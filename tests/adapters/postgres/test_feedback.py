"""What came back for messages: who is suppressed by it, for how long, and that the order does not matter."""

import itertools
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import feedback, suppressions
from adapters.postgres import tables as t
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tenancy import as_store
from domain.bounces import SOFT_LIMIT, SOFT_SUPPRESSION, Feedback, Kind
from domain.delivery import Delivery, Result, Slot
from domain.errors import EventsPending
from domain.plans import Step
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling

ADA = "ada@x.test"
HOUR = timedelta(hours=1)


@pytest.fixture
async def ada(mugs: Telling) -> UUID:
    """A customer who may be written to."""
    await mugs.apply([mugs.event(None, kind="identify", email=ADA, marketing_consent=True)])
    return await mugs.customer()


@pytest.fixture
async def pots(engine: AsyncEngine, mugs: Telling) -> Telling:
    """Another store."""
    async with as_owner(engine) as connection:
        row = (await connection.execute(select(t.stores).where(t.stores.c.store_id == "mugs"))).one()
        await connection.execute(insert(t.stores).values({**row._asdict(), "store_id": "pots", "name": "Pots"}))
    return Telling(engine, "pots")


async def sent(mugs: Telling, customer: UUID, count: int = 1, state: str = "sent") -> list[UUID]:
    """Write down messages to Ada, an hour apart."""
    made = []
    for number in range(count):
        message = await mugs.sent_message(customer, START + number * HOUR, f"step-{number}")
        await mugs.write(update(t.messages).where(t.messages.c.message_id == message).values(address=ADA, state=state))
        made.append(message)
    return made


async def tell(mugs: Telling, kind: Kind, message: UUID | None, at: datetime = START, **more: Any) -> None:
    """Tell feedback as an intake does, and route it."""
    told = Feedback(kind=kind, key=uuid4().hex, message_id=message, at=at, **more)
    await mugs.apply(await feedback.events(mugs.engine, mugs.store_id, [told], at + HOUR), at + HOUR)


async def in_force(mugs: Telling, now: datetime = START + HOUR, address: str = ADA) -> list[tuple[str, bool]]:
    """Return why an address gets nothing, and whether for good."""
    async with as_store(mugs.engine, mugs.store_id) as connection:
        found = await suppressions.listed(connection, mugs.store_id, now, address=address)
    return sorted((one.reason, one.expires_at is None) for one in found)


def slot(customer: UUID, *, transactional: bool = False) -> Slot:
    """A message that wants to go out."""
    step = Step(name="now", template="cart-reminder", transactional=transactional)
    return Slot(
        store_id="mugs", customer_id=customer, run_id=uuid4(), journey="cart-recovery", step=step, gap=timedelta(0),
        due=START, waited_from=START,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.GONE, [("bounced", True)]),
        (Kind.COMPLAINED, [("complained", True)]),
        (Kind.NOT_NOW, []),
        (Kind.REFUSED, []),
        (Kind.DELAYED, []),
        (Kind.DELIVERED, []),
    ],
)
async def test_only_what_is_about_the_address_suppresses_it(
    mugs: Telling, ada: UUID, kind: Kind, expected: list[tuple[str, bool]]
) -> None:
    """A refusal of ours, a full mailbox or a delay does not."""
    (message,) = await sent(mugs, ada)
    await tell(mugs, kind, message)

    assert await in_force(mugs) == expected
    claim = await PostgresLedger(mugs.engine).claim(slot(ada, transactional=True), START + 2 * HOUR)
    assert (claim.material is None) is bool(expected)


async def test_a_complaint_that_is_not_applied_yet_already_stops_a_message(
    mugs: Telling, ada: UUID, engine: AsyncEngine
) -> None:
    """Acknowledged is enough, as with an order (G4)."""
    (message,) = await sent(mugs, ada)
    told = Feedback(kind=Kind.COMPLAINED, key="c", message_id=message)
    door = EventStore(engine)
    await door.accept(await feedback.events(engine, "mugs", [told], START))
    await door.close()

    with pytest.raises(EventsPending):
        await PostgresLedger(engine).claim(slot(ada), START + HOUR)


async def test_five_messages_in_a_row_that_came_back_suppress_for_a_while(mugs: Telling, ada: UUID) -> None:
    """Four do not; and when the time is over mail goes out again."""
    messages = await sent(mugs, ada, SOFT_LIMIT)
    for message in messages[:-1]:
        await tell(mugs, Kind.NOT_NOW, message)
    assert await in_force(mugs) == []

    await tell(mugs, Kind.NOT_NOW, messages[-1])
    assert await in_force(mugs) == [("bounced", False)]
    ledger = PostgresLedger(mugs.engine)
    assert (await ledger.claim(slot(ada), START + 2 * HOUR)).delivery.result is Result.SUPPRESSED
    assert (await ledger.claim(slot(ada), START + SOFT_SUPPRESSION + 2 * HOUR)).delivery.result is Result.SENT


async def test_one_message_that_arrived_begins_the_count_anew(mugs: Telling, ada: UUID) -> None:
    """In a row means in a row: nothing was heard of the third of six, so it arrived."""
    messages = await sent(mugs, ada, SOFT_LIMIT + 1)
    for message in messages[:2] + messages[3:]:
        await tell(mugs, Kind.NOT_NOW, message)

    assert await in_force(mugs) == []


async def test_the_same_bounce_told_many_times_counts_once(mugs: Telling, ada: UUID) -> None:
    """By the webhook, by the mail, and by the webhook again."""
    (message,) = await sent(mugs, ada)
    for _ in range(SOFT_LIMIT):
        await tell(mugs, Kind.NOT_NOW, message)

    assert await in_force(mugs) == []


async def test_feedback_is_stored_once_by_its_key(mugs: Telling, ada: UUID, engine: AsyncEngine) -> None:
    """The provider's own id of the event is the dedup key."""
    (message,) = await sent(mugs, ada)
    door = EventStore(engine)
    told = [Feedback(kind=Kind.GONE, key="ses:1", message_id=message)]
    new = [await door.accept(await feedback.events(engine, "mugs", told, START)) for _ in range(2)]
    await door.close()

    assert new == [1, 0]


@pytest.mark.parametrize("state", ["sent", "unknown"])
async def test_the_order_in_which_things_are_told_does_not_matter(mugs: Telling, ada: UUID, state: str) -> None:
    """Delivered, a soft and a hard bounce, and a complaint: every order ends the same (G2)."""
    ends = set()
    for order in itertools.permutations([Kind.DELIVERED, Kind.NOT_NOW, Kind.GONE, Kind.COMPLAINED]):
        (message,) = await sent(mugs, ada, state=state)
        for number, kind in enumerate(order):
            await tell(mugs, kind, message, START + number * timedelta(minutes=1))
        (row,) = await mugs.rows(t.messages, t.messages.c.message_id == message)
        noted = (row.delivered_at, row.bounced_at, row.complained_at)
        ends.add((row.state, row.bounce, all(noted), tuple(await in_force(mugs))))
        await mugs.write(t.suppressions.delete())

    assert ends == {("bounced", "gone", True, (("bounced", True), ("complained", True)))}


async def test_a_delivery_settles_a_message_of_which_nobody_knew(mugs: Telling, ada: UUID) -> None:
    """The record was lost between the provider and the ledger; now it is told."""
    (message,) = await sent(mugs, ada, state="unknown")
    await tell(mugs, Kind.DELIVERED, message)

    assert [row.state for row in await mugs.rows(t.messages)] == ["sent"]


async def test_without_a_message_the_address_is_found_in_the_store_only(
    mugs: Telling, ada: UUID, pots: Telling
) -> None:
    """First the newest message to it, then a customer's; an address that the store does not know is nothing (G7)."""
    await pots.apply([pots.event(None, kind="identify", email="bob@x.test")])
    await tell(mugs, Kind.GONE, None, recipient="bob@x.test")
    await tell(mugs, Kind.GONE, None, recipient=ADA)

    assert await in_force(mugs) == [("bounced", True)]
    assert await in_force(mugs, address="bob@x.test") == await in_force(pots) == []


async def test_a_message_of_another_store_is_not_found(mugs: Telling, ada: UUID, pots: Telling) -> None:
    """An id is no authority (G7)."""
    (message,) = await sent(mugs, ada)
    await tell(pots, Kind.GONE, message)

    assert await in_force(mugs) == []
    assert [row.bounce for row in await mugs.rows(t.messages)] == [None]


async def test_the_longer_of_two_suppressions_with_one_reason_holds(mugs: Telling, engine: AsyncEngine) -> None:
    """A soft bounce does not shorten a hard one, in whatever order they come."""
    for first, second in ((None, START + HOUR), (START + HOUR, None)):
        async with as_store(engine, "mugs") as connection:
            await connection.execute(t.suppressions.delete())
            for until in (first, second):
                await suppressions.suppress(connection, "mugs", ADA, "bounced", START, expires_at=until)
        assert await in_force(mugs, START + 2 * HOUR) == [("bounced", True)]


@pytest.mark.parametrize(
    ("bounce", "expected"), [(Kind.GONE, [("bounced", True)]), (Kind.NOT_NOW, []), (Kind.REFUSED, [])]
)
async def test_a_refusal_in_the_session_suppresses_by_the_same_rule(
    mugs: Telling, ada: UUID, bounce: Kind, expected: list[tuple[str, bool]]
) -> None:
    """Relaying denied or a full mailbox at RCPT is no reason to give an address up."""
    ledger, wanted = PostgresLedger(mugs.engine), slot(ada)
    claim = await ledger.claim(wanted, START)
    assert claim.material is not None
    refused = Delivery(result=Result.BOUNCED, because="the provider refused the recipient: 550", bounce=bounce)
    await ledger.record(wanted, claim.material.message_id, refused, START)

    assert await in_force(mugs) == expected
    assert [(row.state, row.bounce) for row in await mugs.rows(t.messages)] == [("bounced", bounce)]
