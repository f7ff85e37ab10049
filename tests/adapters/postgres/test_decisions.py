"""Decision records on a real database: one for each answer about a message, with what was known, nothing personal."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import decisions, runs, suppressions
from domain.delivery import CartQuiet, Delivery, Result, Rule, Slot
from domain.plans import Step
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import statements

NOW = START + timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ledger(engine: AsyncEngine) -> PostgresLedger:
    return PostgresLedger(engine)


@pytest.fixture
async def slot(mugs: Telling, reminder: Step) -> Slot:
    """A reminder to Ada, of whom everything is known that could get into a record by mistake."""
    ada = mugs.event(
        None, kind="identify", email="ada@x.test", first_name="Wilhelmina", last_name="Lovelace", phone="+44123456789",
        marketing_consent=True,
    )  # fmt: skip
    await mugs.apply([ada])
    customer = await mugs.customer()
    return Slot(
        store_id=mugs.store_id, customer_id=customer, run_id=await mugs.run(customer, "cart-recovery"),
        journey="cart-recovery", step=reminder, gap=timedelta(hours=4), due=NOW, waited_from=START, plan_version=3,
    )  # fmt: skip


async def claimed(ledger: PostgresLedger, slot: Slot) -> UUID:
    claim = await ledger.claim(slot, NOW)
    assert claim.material is not None, claim.delivery
    return claim.material.message_id


async def decided(mugs: Telling) -> list[Any]:
    return sorted(await mugs.rows(decisions), key=lambda row: row.decided_at)


async def test_a_decision_says_what_was_asked_what_was_known_and_what_decided(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """Inputs, rule, plan version, result, when: enough to say why without asking anything that has changed since."""
    await claimed(ledger, slot)

    (row,) = await decided(mugs)
    assert (row.run_id, row.step, row.plan_version) == (slot.run_id, "reminder-1", 3)
    assert (row.result, row.rule, row.because, row.due, row.decided_at) == ("sent", "consent", "consent", NOW, NOW)
    assert row.inputs == {
        "ask": 1, "gap": "PT4H", "requires": [], "topic": slot.step.topic, "transactional": False,
        "waited_from": START.isoformat().replace("+00:00", "Z"), "ended": None, "pauses": [], "address_known": True,
        "unsubscribed": False, "suppressed": None, "consented": True, "last_marketing_at": None,
    }  # fmt: skip


async def test_what_was_not_read_is_not_claimed_to_be_known(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """A cart counts in the journey that asks for it, and only there."""
    await claimed(ledger, slot)
    await ledger.claim(slot.model_copy(update={"requires": (CartQuiet(quiet=MINUTE),), "ask": 2}), NOW + MINUTE)

    without, with_cart = await decided(mugs)
    assert "cart_lines" not in without.inputs
    assert (with_cart.result, with_cart.rule, with_cart.inputs["cart_lines"]) == ("stale", "condition", 0)


async def test_every_answer_of_the_gate_is_kept_in_order(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """Put off, then withheld, then the run is over: the message's row shows the last, the decisions show all."""
    other = await mugs.run(slot.customer_id, "welcome")
    welcome = slot.model_copy(update={"run_id": other, "journey": "welcome"})
    await claimed(ledger, welcome)
    await ledger.claim(slot, NOW)
    row = {"store_id": mugs.store_id, "channel": "email", "address": "ada@x.test", "reason": "complained"}
    await mugs.write(insert(suppressions).values(**row, at=NOW))
    await ledger.claim(slot.model_copy(update={"ask": 2}), NOW + MINUTE)
    await mugs.write(update(runs).where(runs.c.run_id == slot.run_id).values(ended_at=NOW, outcome="converted"))
    await ledger.claim(slot.model_copy(update={"ask": 3}), NOW + 2 * MINUTE)

    mine = [(row.result, row.rule) for row in await decided(mugs) if row.run_id == slot.run_id]
    assert mine == [("deferred", "spacing"), ("suppressed", "suppressed"), ("exited", "run_ended")]


async def test_an_attempt_that_is_repeated_adds_a_record_only_for_a_new_answer(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """A mail server that is down for a day must not fill the table; a run that asks anew is a new decision."""
    for attempt in range(20):
        await ledger.claim(slot, NOW + attempt * MINUTE)
    assert [row.result for row in await decided(mugs)] == ["sent"]

    row = {"store_id": mugs.store_id, "channel": "email", "address": "ada@x.test", "reason": "complained"}
    await mugs.write(insert(suppressions).values(**row, at=NOW))
    for attempt in range(20, 30):
        await ledger.claim(slot, NOW + attempt * MINUTE)
    assert [row.result for row in await decided(mugs)] == ["sent", "suppressed"]

    await ledger.claim(slot.model_copy(update={"step": Step(name="reminder-2", template="cart-reminder")}), NOW)
    await ledger.claim(slot.model_copy(update={"ask": 2, "run_id": await mugs.run(slot.customer_id, "welcome")}), NOW)
    assert len(await decided(mugs)) == 4


@pytest.mark.parametrize("result", [Result.BOUNCED, Result.UNKNOWN, Result.FAILED])
async def test_what_the_provider_made_of_it_is_a_decision_too(
    mugs: Telling, ledger: PostgresLedger, slot: Slot, result: Result
) -> None:
    """The gate said yes, and still it was not, or perhaps not, sent."""
    message_id = await claimed(ledger, slot)
    await ledger.sending(slot, message_id, (), NOW)
    delivery = Delivery(result=result, rule=Rule.PROVIDER, because="the provider said so")
    for _ in range(2):
        await ledger.record(slot, message_id, delivery, NOW + MINUTE)

    assert [(row.result, row.rule, row.inputs == {}) for row in await decided(mugs)] == [
        ("sent", "consent", False), (result, "provider", True),
    ]  # fmt: skip


async def test_a_message_found_with_the_provider_leaves_one_record_however_often_it_is_found(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """A worker died; the next attempts learn that nobody can know."""
    await ledger.sending(slot, await claimed(ledger, slot), (), NOW)
    for attempt in range(1, 4):
        claim = await ledger.claim(slot, NOW + attempt * MINUTE)

    assert claim.delivery.rule is Rule.SETTLED_BEFORE
    assert [(row.result, row.rule) for row in await decided(mugs)] == [("sent", "consent"), ("unknown", "provider")]


async def test_no_record_holds_personal_data(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """G8: decisions outlive the customer whom they are about."""
    message_id = await claimed(ledger, slot)
    await ledger.sending(slot, message_id, ("https://mugs.test/?to=ada@x.test",), NOW)
    await ledger.record(slot, message_id, Delivery(result=Result.BOUNCED, rule=Rule.PROVIDER, because="550"), NOW)
    said = json.dumps([dict(row._mapping) for row in await decided(mugs)], default=str).casefold()

    assert [word for word in ("ada@", "x.test", "lovelace", "wilhelmina", "44123456") if word in said] == []


async def test_a_record_costs_one_statement(engine: AsyncEngine, ledger: PostgresLedger, slot: Slot) -> None:
    """A claim is the busiest transaction there is."""
    with statements(engine) as said:
        message_id = await claimed(ledger, slot)
        await ledger.sending(slot, message_id, (), NOW)
        await ledger.record(slot, message_id, Delivery(result=Result.SENT), NOW)

    assert sum("decisions" in statement for statement in said) == 1
