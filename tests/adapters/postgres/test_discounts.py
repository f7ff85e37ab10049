"""Discount codes from a pool: one for each message, never two people with one, and none lost to a message not sent."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from adapters.postgres import discounts
from adapters.postgres.discounts import Pool
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import discount_codes, messages, runs
from adapters.postgres.tenancy import as_store
from domain.delivery import Delivery, Result, Rule, Slot
from domain.discounts import read_codes
from domain.errors import InvalidInput, Unavailable
from domain.events import Who
from domain.facts import Topic
from domain.plans import Step
from domain.ports import Claim
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling

HOUR = timedelta(hours=1)
NOW = START + HOUR


@pytest.fixture
def ledger(mugs: Telling) -> PostgresLedger:
    return PostgresLedger(mugs.engine)


async def stock(mugs: Telling, *codes: str, pool: str = "spring", store_id: str | None = None) -> int:
    async with as_store(mugs.engine, store_id or mugs.store_id) as connection:
        return await discounts.add(connection, store_id or mugs.store_id, pool, codes, NOW)


async def slot_of(mugs: Telling, user: str = "ada", **step: Any) -> Slot:
    """A message with a code to somebody who has an address and has consented."""
    who = Who(user_id=user)
    said = mugs.event(None, kind="identify", who=who, email=f"{user}@x.test", marketing_consent=True)
    await mugs.apply([said])
    customer = await mugs.customer(user)
    asking = {"name": "offer", "template": "welcome", "topic": Topic.PROMOTIONS, "discount_pool": "spring", **step}
    return Slot(
        store_id=mugs.store_id, customer_id=customer, run_id=await mugs.run(customer, "win-back"), journey="win-back",
        gap=timedelta(0), step=Step(**asking), due=NOW, waited_from=NOW,
    )  # fmt: skip


async def claim(ledger: PostgresLedger, slot: Slot, at: datetime = NOW) -> Claim:
    return await ledger.claim(slot, at)


def code_of(claimed: Claim) -> str | None:
    assert claimed.material is not None, claimed.delivery
    return claimed.material.discount_code


async def holders(mugs: Telling) -> dict[str, Any]:
    return {row.code: row.message_id for row in await mugs.rows(discount_codes)}


async def test_of_many_who_claim_at_once_no_two_get_the_same_code(mugs: Telling, ledger: PostgresLedger) -> None:
    """Twelve messages, eight codes: eight people with a code each, and four are told that there is none."""
    await stock(mugs, *(f"C{number}" for number in range(8)))
    slots = [await slot_of(mugs, f"u-{number}", without_code="withhold") for number in range(12)]
    claims = await asyncio.gather(*(claim(ledger, slot) for slot in slots))

    given = [code_of(claimed) for claimed in claims if claimed.material is not None]
    assert sorted(given) == [f"C{number}" for number in range(8)]
    withheld = [claimed.delivery for claimed in claims if claimed.material is None]
    assert {(one.result, one.rule) for one in withheld} == {(Result.DROPPED, Rule.DISCOUNT)}
    rows = {row.message_id: row.discount_code for row in await mugs.rows(messages) if row.state == "claimed"}
    assert {code: message_id for message_id, code in rows.items()} == await holders(mugs)


async def test_a_repeated_attempt_keeps_its_code(mugs: Telling, ledger: PostgresLedger) -> None:
    """The mail server was down: the second attempt has the same message, with the same code; so has a race."""
    await stock(mugs, "A", "B", "C")
    slot = await slot_of(mugs)
    claims = [await claim(ledger, slot), *await asyncio.gather(*(claim(ledger, slot) for _ in range(3)))]
    assert {code_of(claimed) for claimed in claims} == {"A"}


@pytest.mark.parametrize(
    ("result", "back"), [(Result.FAILED, True), (Result.BOUNCED, True), (Result.UNKNOWN, False), (Result.SENT, False)]
)
async def test_a_message_that_nobody_got_gives_its_code_back(
    mugs: Telling, ledger: PostgresLedger, result: Result, back: bool
) -> None:
    """Refused, or not to be rendered; one that may have arrived keeps its code for ever."""
    await stock(mugs, "A")
    slot = await slot_of(mugs)
    claimed = await claim(ledger, slot)
    assert claimed.material is not None
    await ledger.sending(slot, claimed.material.message_id, (), NOW)
    await ledger.record(slot, claimed.material.message_id, Delivery(result=result), NOW)

    (message,) = await mugs.rows(messages)
    assert message.discount_code == (None if back else "A")
    other = await claim(ledger, await slot_of(mugs, "bob"))
    assert (other.material is not None) == back


async def test_a_message_that_was_sent_again_keeps_its_code_whatever_becomes_of_it(
    mugs: Telling, ledger: PostgresLedger
) -> None:
    """The first of the two may have arrived, with the code."""
    await stock(mugs, "A")
    slot = await slot_of(mugs)
    claimed = await claim(ledger, slot)
    assert claimed.material is not None
    await mugs.write(update(messages).values(resent_at=NOW))
    await ledger.record(slot, claimed.material.message_id, Delivery(result=Result.FAILED), NOW)
    await mugs.write(update(runs).values(ended_at=NOW, outcome="converted"))
    assert (await claim(ledger, await slot_of(mugs, "bob"))).delivery.result is Result.DEFERRED


async def test_a_message_withheld_after_a_first_attempt_gives_its_code_back(
    mugs: Telling, ledger: PostgresLedger
) -> None:
    """Claimed, the mail server was down, and meanwhile the run has ended."""
    await stock(mugs, "A")
    slot = await slot_of(mugs)
    assert code_of(await claim(ledger, slot)) == "A"
    await mugs.write(update(runs).values(ended_at=NOW, outcome="converted"))
    assert (await claim(ledger, slot)).delivery.result is Result.EXITED
    assert await holders(mugs) == {"A": None}


async def test_a_code_left_with_a_message_of_an_ended_run_is_found_when_the_pool_is_empty(
    mugs: Telling, ledger: PostgresLedger
) -> None:
    """The run was cancelled between the claim and the hand-over; an attempt that wakes up late may not send it."""
    await stock(mugs, "A")
    left = await slot_of(mugs)
    claimed = await claim(ledger, left)
    assert claimed.material is not None
    assert (await claim(ledger, await slot_of(mugs, "bob"))).delivery.result is Result.DEFERRED
    await mugs.write(update(runs).where(runs.c.run_id == left.run_id).values(ended_at=NOW, outcome="converted"))

    assert code_of(await claim(ledger, await slot_of(mugs, "eve"))) == "A"
    with pytest.raises(Unavailable):
        await ledger.sending(left, claimed.material.message_id, (), NOW)


async def test_a_message_waits_for_a_code_and_gets_one_when_there_are_new_ones(
    mugs: Telling, ledger: PostgresLedger
) -> None:
    """It asks again every hour until its deadline; the operator sees that it waits."""
    slot = await slot_of(mugs, deadline=timedelta(hours=3))
    first = (await claim(ledger, slot)).delivery
    assert (first.result, first.rule, first.until) == (Result.DEFERRED, Rule.DISCOUNT, NOW + HOUR)
    async with as_store(mugs.engine, mugs.store_id) as connection:
        assert await discounts.pools(connection, mugs.store_id) == [Pool(pool="spring", free=0, given=0, waiting=1)]

    await stock(mugs, "A", "B")
    assert code_of(await claim(ledger, slot.model_copy(update={"ask": 2}), NOW + HOUR)) == "A"
    async with as_store(mugs.engine, mugs.store_id) as connection:
        assert await discounts.pools(connection, mugs.store_id) == [Pool(pool="spring", free=1, given=1, waiting=0)]


async def test_a_wait_for_a_code_ends_at_the_deadline(mugs: Telling, ledger: PostgresLedger) -> None:
    """Dropped with the reason, not for ever put off."""
    slot = await slot_of(mugs, deadline=timedelta(hours=3))
    asked = [(await claim(ledger, slot.model_copy(update={"ask": ask}), NOW + ask * HOUR)).delivery for ask in range(4)]
    assert [one.result for one in asked] == [Result.DEFERRED] * 3 + [Result.DROPPED]
    assert asked[-1].because == "no discount code is left in spring"


@pytest.mark.parametrize("static", [None, "HELLO"])
async def test_a_step_may_send_without_a_code_of_its_own(
    mugs: Telling, ledger: PostgresLedger, static: str | None
) -> None:
    """With the code that is the same for everybody, or with none; `why` says so."""
    claimed = await claim(ledger, await slot_of(mugs, without_code="send", discount_code=static))
    assert code_of(claimed) == static
    assert claimed.delivery.because == "consent; no discount code is left in spring"


async def test_a_code_that_the_store_has_is_not_added_again(mugs: Telling, ledger: PostgresLedger) -> None:
    """Not by the same file, not in another pool, not while it is given away; another store's codes are its own."""
    assert await stock(mugs, "A", "B") == 2
    assert code_of(await claim(ledger, await slot_of(mugs))) == "A"
    assert await stock(mugs, "A", "B", "C") == 1
    assert await stock(mugs, "A", pool="summer") == 0
    assert await stock(mugs, "A", "Z", store_id="hats") == 2
    assert [code_of(await claim(ledger, await slot_of(mugs, user))) for user in ("bob", "eve")] == ["B", "C"]
    assert (await claim(ledger, await slot_of(mugs, "dan"))).delivery.result is Result.DEFERRED
    async with as_owner(mugs.engine) as connection:
        theirs = select(discount_codes.c.message_id).where(discount_codes.c.store_id == "hats")
        assert set((await connection.execute(theirs)).scalars()) == {None}


@pytest.mark.parametrize(
    ("rows", "codes"),
    [
        ([["A"], ["B"], [], ["A"]], ["A", "B"]),
        ([["\ufeffName", "Code"], ["x", " A "], ["y", "B"]], ["A", "B"]),
        ([["ACME-1", "10 %"]], ["ACME-1"]),
        ([], []),
    ],
)
def test_codes_are_read_from_the_column_that_is_called_so_or_the_first(
    rows: Sequence[Sequence[str]], codes: list[str]
) -> None:
    """As shops export them: with or without a heading, with blank lines and repetitions."""
    assert read_codes(rows) == codes


@pytest.mark.parametrize("cell", ["", "two words", "x" * 41, "a\x00b"])
def test_a_line_without_a_code_is_named(cell: str) -> None:
    """A broken file adds nothing."""
    with pytest.raises(InvalidInput, match="line 2"):
        read_codes([["A"], [cell, "10 %"]])
