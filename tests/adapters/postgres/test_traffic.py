"""What the sending rules look at: which messages count, whose clock it is, and since when a message waits."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from adapters.postgres import sending_rules
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import customers, messages, orders, runs, stores
from adapters.postgres.tenancy import as_store
from domain.caps import Cap
from domain.delivery import Delivery, OrderStands, Result, Rule, Slot
from domain.facts import Topic
from domain.plans import Step
from domain.quiet_hours import QuietHours
from domain.sending_rules import SendingRules
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = START + HOUR


@pytest.fixture
def ledger(mugs: Telling) -> PostgresLedger:
    return PostgresLedger(mugs.engine)


@pytest.fixture
async def slot(mugs: Telling) -> Slot:
    """A newsletter to Ada, who has an address and has consented."""
    await mugs.apply([mugs.event(None, kind="identify", email="ada@x.test", marketing_consent=True)])
    customer = await mugs.customer()
    run_id = await mugs.run(customer, "welcome")
    return Slot(
        store_id=mugs.store_id, customer_id=customer, run_id=run_id, journey="welcome", gap=timedelta(0),
        step=Step(name="welcome-1", template="welcome", topic=Topic.NEWSLETTER), due=NOW, waited_from=NOW,
    )  # fmt: skip


async def keeps(mugs: Telling, **rules: object) -> None:
    async with as_store(mugs.engine, mugs.store_id) as connection:
        await sending_rules.put(connection, mugs.store_id, SendingRules(**rules), "cli:ops", NOW)


async def decided(ledger: PostgresLedger, slot: Slot) -> Delivery:
    return (await ledger.claim(slot, NOW)).delivery


@pytest.mark.parametrize("state", ["sent", "unknown", "claimed", "sending"])
async def test_a_message_that_went_out_or_may_have_counts(
    mugs: Telling, ledger: PostgresLedger, slot: Slot, state: str
) -> None:
    """Also one that nobody can know about: better one too few than one too many."""
    await keeps(mugs, caps=(Cap(limit=1, window=DAY),))
    await mugs.sent_message(slot.customer_id, NOW - HOUR)
    await mugs.write(update(messages).values(state=state))
    assert (await decided(ledger, slot)).until == NOW + 23 * HOUR


@pytest.mark.parametrize(
    "but",
    [
        {"state": "no_consent"},
        {"state": "deferred"},
        {"state": "bounced"},
        {"transactional": True},
        {"claimed_at": NOW - DAY},
        {"topic": "newsletter"},
        {"channel": "sms"},
        {"store_id": "hats"},
    ],
)
async def test_a_message_that_nobody_got_or_that_is_no_marketing_does_not_count(
    mugs: Telling, ledger: PostgresLedger, slot: Slot, but: dict[str, object]
) -> None:
    """Withheld, transactional, older than the window, of another topic or channel, or another store's."""
    await keeps(mugs, caps=(Cap(limit=1, window=DAY, channel="email", topics=frozenset({Topic.MARKETING})),))
    about = slot.model_copy(update={"step": slot.step.model_copy(update={"topic": Topic.MARKETING})})
    await mugs.sent_message(slot.customer_id, NOW - HOUR)
    assert (await decided(ledger, about)).rule is Rule.CAP
    async with as_owner(mugs.engine) as connection:
        await connection.execute(update(messages).where(messages.c.run_id != slot.run_id).values(but))
    assert (await decided(ledger, about)).result is Result.SENT


async def test_a_repeated_claim_does_not_count_against_itself(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """The mail server was down; the second attempt finds its own row, and sends it."""
    await keeps(mugs, caps=(Cap(limit=1, window=DAY),))
    for _ in range(2):
        assert (await decided(ledger, slot)).result is Result.SENT


async def test_a_store_without_rules_has_no_night_and_no_cap(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """And nothing is read for it."""
    for hour in range(1, 9):
        await mugs.sent_message(slot.customer_id, NOW - hour * HOUR)
    assert (await decided(ledger, slot)).result is Result.SENT


@pytest.mark.parametrize(
    ("customers_zone", "stores_zone", "quiet"),
    [
        ("Asia/Tokyo", "UTC", True),  # 22:00 there
        ("Europe/Berlin", "Asia/Tokyo", False),
        ("Not/AZone", "Asia/Tokyo", True),
        (None, "Asia/Tokyo", True),
        (None, "Not/AZone", False),
    ],
)
async def test_the_customers_clock_counts_and_else_the_stores(
    mugs: Telling, ledger: PostgresLedger, slot: Slot, customers_zone: str | None, stores_zone: str, quiet: bool
) -> None:
    """Whatever clients call a time zone: a name that is none is as good as no name."""
    await keeps(mugs, quiet_hours={"email": QuietHours()})
    await mugs.write(update(customers).values(timezone=customers_zone))
    await mugs.write(update(stores).values(timezone=stores_zone))
    assert (await decided(ledger, slot)).result == (Result.DEFERRED if quiet else Result.SENT)


async def test_room_is_left_for_other_runs_of_higher_priority_that_are_open_and_due_soon(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """Not for one that has ended, nor for one that writes after the reserve, nor for a newsletter like this one."""
    await keeps(mugs, caps=(Cap(limit=1, window=DAY),), reserve=3 * HOUR)
    cart = await mugs.run(slot.customer_id, "cart-recovery", since=NOW, begun_at=NOW)
    await mugs.run(slot.customer_id, "win-back", since=NOW, begun_at=NOW - 90 * DAY)
    mine = runs.c.run_id == cart

    assert (await decided(ledger, slot)).because == "room is left for a more important message"
    for elsewhere in ({"ended_at": NOW}, {"ended_at": None, "since": NOW + 3 * HOUR}):
        await mugs.write(update(runs).where(mine).values(elsewhere))
        assert (await decided(ledger, slot)).result is Result.SENT


async def test_the_wait_for_a_slot_begins_anew_after_a_final_answer(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """An alert that was too late for one restock has all of its deadline at the next."""
    await keeps(mugs, caps=(Cap(limit=1, window=DAY),))
    await mugs.sent_message(slot.customer_id, NOW - HOUR)
    step = slot.step.model_copy(update={"deadline": 24 * HOUR})
    short = slot.model_copy(update={"step": step, "order_id": "o-1", "requires": (OrderStands(order_id="o-1"),)})
    order = {"store_id": mugs.store_id, "order_id": "o-1", "customer_id": slot.customer_id, "updated_at": NOW}

    async def ask(number: int, after: timedelta) -> Result:
        asking = short.model_copy(update={"ask": number})
        return (await ledger.claim(asking, NOW + after)).delivery.result

    await mugs.write(insert(orders).values(order | {"status": "placed"}))
    assert await ask(1, timedelta(0)) is Result.DEFERRED
    await mugs.sent_message(slot.customer_id, NOW + 2 * HOUR)
    assert await ask(2, 3 * HOUR) is Result.CAPPED
    await mugs.write(update(orders).values(status="refunded"))
    assert await ask(3, 4 * HOUR) is Result.STALE
    await mugs.write(update(orders).values(status="placed"))
    assert await ask(4, 5 * HOUR) is Result.DEFERRED
