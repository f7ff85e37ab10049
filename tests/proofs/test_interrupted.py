"""The one window that cannot be decided: the provider may have the message, and nobody wrote down whether."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import sending_rules
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import messages
from adapters.postgres.tenancy import as_store
from domain.delivery import Delivery, Result, Slot
from domain.events import Who
from domain.facts import Topic
from domain.plans import Step
from domain.sending_rules import Interrupted, SendingRules
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import Shop

MINUTE = timedelta(minutes=1)
NOW = START + timedelta(hours=1)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def mugs(engine: AsyncEngine, store: Shop) -> Telling:
    """The store that is told things."""
    return Telling(engine, store.store_id)


@pytest.fixture
def ledger(engine: AsyncEngine) -> PostgresLedger:
    return PostgresLedger(engine)


@pytest.fixture
async def slot(mugs: Telling) -> Slot:
    """A reminder to Ada, who has an address and has consented."""
    await mugs.apply([mugs.event(None, kind="identify", email="ada@x.test", marketing_consent=True)])
    customer = await mugs.customer()
    return Slot(
        store_id=mugs.store_id, customer_id=customer, run_id=await mugs.run(customer, "cart-recovery"),
        journey="cart-recovery", step=Step(name="reminder-1", template="cart-reminder", topic=Topic.ABANDONED_CART),
        gap=timedelta(0), due=NOW, waited_from=NOW,
    )  # fmt: skip


async def interrupted(ledger: PostgresLedger, slot: Slot) -> UUID:
    """Leave the message with the provider, as a worker that dies there does."""
    claim = await ledger.claim(slot, NOW)
    assert claim.material is not None, claim.delivery
    await ledger.sending(slot, claim.material.message_id, (), NOW)
    return claim.material.message_id


async def resent_from_now_on(mugs: Telling) -> None:
    async with as_store(mugs.engine, mugs.store_id) as connection:
        rules = SendingRules(interrupted=Interrupted.RESEND)
        await sending_rules.put(connection, mugs.store_id, rules, "cli:test", NOW)


async def state(mugs: Telling) -> str:
    (row,) = await mugs.rows(messages)
    return str(row.state)


async def tell(mugs: Telling, name: str, message_id: UUID, **body: Any) -> None:
    """Tell what became of a message, as our own pages and intakes do."""
    who = Who(customer_id=await mugs.customer())
    await mugs.apply([mugs.event(name, LATER, who, message_id=message_id.hex, **body)], now=LATER)


HEARD = [
    ("Email Delivered", {}, Result.SENT),
    ("Email Opened", {}, Result.SENT),
    ("Email Link Clicked", {"url": "https://mugs.test/"}, Result.SENT),
    ("Email Bounced", {"bounce": "gone", "detail": "5.1.1"}, Result.BOUNCED),
]


@pytest.mark.parametrize(("name", "body", "settled"), HEARD, ids=[name for name, *_ in HEARD])
async def test_what_is_heard_later_settles_an_unknown_message(
    mugs: Telling, ledger: PostgresLedger, slot: Slot, name: str, body: dict[str, Any], settled: Result
) -> None:
    """Whoever opens a message has got it."""
    message_id = await interrupted(ledger, slot)
    assert (await ledger.claim(slot, NOW)).delivery.result is Result.UNKNOWN
    await tell(mugs, name, message_id, **body)
    assert await state(mugs) == settled


@pytest.mark.parametrize(("name", "body", "settled"), HEARD, ids=[name for name, *_ in HEARD])
async def test_what_was_heard_before_the_next_attempt_leaves_nothing_to_decide(
    mugs: Telling, ledger: PostgresLedger, slot: Slot, name: str, body: dict[str, Any], settled: Result
) -> None:
    """Also for a store that would send again: there is no doubt."""
    await resent_from_now_on(mugs)
    await tell(mugs, name, await interrupted(ledger, slot), **body)
    claim = await ledger.claim(slot, LATER)
    assert (claim.delivery.result, claim.material) == (settled, None)
    assert await state(mugs) == settled


async def test_a_message_is_sent_again_once_and_under_the_same_id(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """A provider that breaks the connection each time must not become a machine that repeats a message."""
    await resent_from_now_on(mugs)
    message_id = await interrupted(ledger, slot)
    assert await interrupted(ledger, slot) == message_id
    assert (await ledger.claim(slot, LATER)).delivery.result is Result.UNKNOWN
    assert await state(mugs) == Result.UNKNOWN


async def test_a_message_that_may_not_be_sent_any_more_is_not_sent_again(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """G4 and G5 hold for the repeat; what may have gone out before is unknown, not withheld."""
    await resent_from_now_on(mugs)
    await interrupted(ledger, slot)
    await mugs.apply([mugs.event("Newsletter Unsubscribed", NOW)])
    claim = await ledger.claim(slot, LATER)
    assert (claim.delivery.result, claim.material) == (Result.UNKNOWN, None)


async def test_a_late_unknown_does_not_undo_what_was_heard(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """An attempt that is cancelled with the provider records `unknown`, after the customer has opened the message."""
    message_id = await interrupted(ledger, slot)
    await tell(mugs, "Email Delivered", message_id)
    assert (await ledger.claim(slot, LATER)).delivery.result is Result.SENT
    await ledger.record(slot, message_id, Delivery(result=Result.UNKNOWN), LATER)
    assert await state(mugs) == Result.SENT
