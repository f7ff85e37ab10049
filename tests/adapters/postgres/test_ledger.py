"""The ledger on a real database: once per slot (G3), none after the purchase (G4), none that is not allowed (G5)."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import ledger as ledger_module
from adapters.postgres import plans
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import events, messages, runs, suppressions, waitlist
from domain.bounces import Kind
from domain.delivery import CartQuiet, Delivery, InStock, OrderStands, Result, Slot, Unconfirmed
from domain.errors import EventsPending, Unavailable
from domain.events import Event, Who
from domain.plans import DoubleOptInPlan, Step
from domain.runs import Outcome
from tests.adapters.postgres.conftest import START, Telling
from worker.router import Router

MINUTE = timedelta(minutes=1)
NOW = START + timedelta(hours=1)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that has to wait says so at once."""
    monkeypatch.setattr(ledger_module, "_LOOKS_S", (0.01, 0.0))


@pytest.fixture
def ledger(engine: AsyncEngine) -> PostgresLedger:
    return PostgresLedger(engine)


@pytest.fixture
async def slot(mugs: Telling, reminder: Step) -> Slot:
    """A reminder to Ada, who has an address and has consented."""
    ada = mugs.event(None, kind="identify", email="ada@x.test", first_name="Ada", marketing_consent=True)
    await mugs.apply([ada])
    return await slot_of(mugs, reminder)


async def slot_of(mugs: Telling, step: Step, who: UUID | None = None, **more: Any) -> Slot:
    customer = who or await mugs.customer()
    run_id = await mugs.run(customer, "cart-recovery")
    return Slot(
        store_id=mugs.store_id, customer_id=customer, run_id=run_id, journey="cart-recovery", step=step,
        gap=timedelta(0), due=NOW, waited_from=NOW, **more,
    )  # fmt: skip


async def accepted(engine: AsyncEngine, *said: Event) -> None:
    """Store events as the API does, without routing them."""
    store = EventStore(engine)
    await store.accept(said)
    await store.close()


async def claimed(ledger: PostgresLedger, slot: Slot) -> UUID:
    claim = await ledger.claim(slot, NOW)
    assert claim.material is not None, claim.delivery
    return claim.material.message_id


async def test_of_two_attempts_at_once_only_one_may_hand_the_message_over(ledger: PostgresLedger, slot: Slot) -> None:
    """G3: an attempt that Temporal has given up for dead may wake up; two claims never become two messages."""
    claims = await asyncio.gather(*(ledger.claim(slot, NOW) for _ in range(4)))
    message_ids = {claim.material.message_id for claim in claims if claim.material is not None}
    assert len(message_ids) == 1
    message_id = message_ids.pop()

    handed = await asyncio.gather(
        *(ledger.sending(slot, message_id, (), NOW) for _ in range(4)), return_exceptions=True
    )

    assert handed.count(None) == 1
    assert [type(refusal) for refusal in handed if refusal is not None] == [Unavailable] * 3


async def test_a_claim_of_a_process_that_died_before_sending_can_be_claimed_again(
    ledger: PostgresLedger, slot: Slot
) -> None:
    """A claimed row has not been handed over, so nothing speaks against sending it."""
    assert await claimed(ledger, slot) == await claimed(ledger, slot)


async def test_a_message_found_with_the_provider_is_unknown_and_never_sent_again(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """G3: nobody can know whether it went out."""
    await ledger.sending(slot, await claimed(ledger, slot), ("https://mugs.test/",), NOW)
    for _ in range(2):
        claim = await ledger.claim(slot, NOW + MINUTE)
        assert claim.material is None
        assert claim.delivery.result is Result.UNKNOWN
    (row,) = await mugs.rows(messages)
    assert row.state == "unknown"


async def test_an_attempt_that_wakes_up_does_not_undo_what_was_settled(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """The run was told `unknown`: a late "not sent" of the first attempt must not open the slot again."""
    message_id = await claimed(ledger, slot)
    await ledger.sending(slot, message_id, (), NOW)
    assert (await ledger.claim(slot, NOW)).delivery.result is Result.UNKNOWN
    await ledger.not_sent(slot, message_id)

    assert (await ledger.claim(slot, NOW)).material is None


async def test_a_message_the_provider_surely_did_not_take_is_tried_again(ledger: PostgresLedger, slot: Slot) -> None:
    """`not_sent` takes the claim back to where it was."""
    message_id = await claimed(ledger, slot)
    await ledger.sending(slot, message_id, (), NOW)
    await ledger.not_sent(slot, message_id)
    assert await claimed(ledger, slot) == message_id


async def test_a_recorded_result_is_the_answer_for_ever(ledger: PostgresLedger, slot: Slot) -> None:
    """If the answer got lost on its way to Temporal, the next attempt learns it and sends nothing."""
    message_id = await claimed(ledger, slot)
    await ledger.sending(slot, message_id, (), NOW)
    await ledger.record(slot, message_id, Delivery(result=Result.SENT, because="consent"), NOW)
    again = await ledger.claim(slot, NOW + MINUTE)
    assert again.material is None
    assert again.delivery.result is Result.SENT


@pytest.mark.parametrize(("last", "run"), [(False, ("running", None)), (True, ("completed", NOW + MINUTE))])
async def test_what_is_written_around_a_handover(
    mugs: Telling, ledger: PostgresLedger, slot: Slot, last: bool, run: tuple[str, datetime | None]
) -> None:
    """The links before it, for they may be clicked at once; the result after it, and with the last the run's."""
    slot = slot.model_copy(update={"last": last})
    message_id = await claimed(ledger, slot)
    await ledger.sending(slot, message_id, ("https://mugs.test/", "https://mugs.test/?a='"), NOW)
    (row,) = await mugs.rows(messages)
    assert (row.state, row.sending_at, row.settled_at) == ("sending", NOW, None)
    assert row.urls == ["https://mugs.test/", "https://mugs.test/?a='"]

    await ledger.record(slot, message_id, Delivery(result=Result.SENT, because="consent"), NOW + MINUTE)

    (row,) = await mugs.rows(messages)
    assert (row.state, row.because, row.sending_at, row.settled_at) == ("sent", "consent", NOW, NOW + MINUTE)
    (found,) = await mugs.rows(runs)
    assert (found.outcome, found.ended_at) == run


async def test_a_withheld_slot_that_asks_again_is_decided_anew(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """What was withheld for want of consent may go out once there is consent, under the same message id."""
    await mugs.apply([mugs.event(None, NOW, kind="identify", marketing_consent=False)])
    assert (await ledger.claim(slot, NOW)).delivery.result is Result.NO_CONSENT
    await mugs.apply([mugs.event(None, NOW + MINUTE, kind="identify", marketing_consent=True)])
    assert await claimed(ledger, slot)
    assert len(await mugs.rows(messages)) == 1


async def test_whoever_may_not_be_written_to_is_not(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """G5: consent, unsubscribe, suppression; each by its own name."""

    async def asked() -> tuple[str, str]:
        claim = await ledger.claim(slot, NOW)
        assert claim.material is None
        return claim.delivery.result, claim.delivery.because

    await mugs.apply([mugs.event("Newsletter Unsubscribed", NOW)])
    assert await asked() == ("suppressed", "address suppressed: unsubscribed")
    await mugs.apply([mugs.event("Newsletter Subscribed", NOW + MINUTE)])
    await mugs.apply([mugs.event("Email Preferences Saved", NOW + 2 * MINUTE, abandoned_cart_emails=False)])
    assert await asked() == ("no_consent", "no consent to abandoned_cart_emails")
    row = {"store_id": mugs.store_id, "channel": "email", "address": "ada@x.test", "reason": "complained", "at": NOW}
    await mugs.write(insert(suppressions).values(row))
    assert await asked() == ("suppressed", "address suppressed: complained")


async def test_transactional_mail_needs_no_consent_but_respects_a_bounce(mugs: Telling, ledger: PostgresLedger) -> None:
    """The store declares a message transactional; an address that does not exist gets nothing all the same."""
    await mugs.apply([mugs.event(None, kind="identify", email="ada@x.test")])
    slot = await slot_of(mugs, Step(name="thank-you", template="order-thank-you", transactional=True))
    message_id = await claimed(ledger, slot)
    await ledger.sending(slot, message_id, (), NOW)
    await ledger.record(slot, message_id, Delivery(result=Result.BOUNCED, bounce=Kind.GONE), NOW)

    next_step = slot.model_copy(update={"step": slot.step.model_copy(update={"name": "how-to"})})
    assert (await ledger.claim(next_step, NOW)).delivery.because == "address suppressed: bounced"


async def test_an_address_that_many_accounts_are_made_with_at_once_is_asked_once(
    mugs: Telling, ledger: PostgresLedger
) -> None:
    """Each claim holds the lock of its own customer; of their address one has to see the other."""
    plan = DoubleOptInPlan(enabled=True)
    await plans.put(mugs.engine, mugs.store_id, "double-opt-in", plan, START)
    bots = [Who(user_id=f"bot-{number}", email="victim@x.test") for number in range(8)]
    await mugs.apply([mugs.event(None, START, bot, "identify", email=bot.email) for bot in bots])
    await mugs.apply([mugs.event("Newsletter Subscribed", START, bot) for bot in bots])
    asking = (Unconfirmed(by=NOW + plan.patience, again=plan.again),)
    begun = await mugs.rows(runs, runs.c.journey == "double-opt-in")
    slots = [
        Slot(
            store_id=mugs.store_id, customer_id=run.customer_id, run_id=run.run_id, journey=run.journey,
            step=plan.steps[0], gap=timedelta(0), due=NOW, waited_from=NOW, requires=asking,
        )
        for run in begun
    ]  # fmt: skip
    claims = await asyncio.gather(*(ledger.claim(slot, NOW) for slot in slots))

    assert sorted(claim.delivery.result for claim in claims) == [*[Result.CAPPED] * (len(bots) - 1), Result.SENT]


async def test_an_unsubscribe_before_the_address_was_known_counts_for_it(
    mugs: Telling, ledger: PostgresLedger, reminder: Step
) -> None:
    """G2 and G5: the profile may be told after the unsubscribe that concerns it, and the address may change."""
    await mugs.apply([mugs.event("Newsletter Unsubscribed", START)])
    await mugs.apply([mugs.event(None, START + MINUTE, kind="identify", email="ada@x.test")])
    await mugs.apply([mugs.event("Email Preferences Saved", START + 2 * MINUTE, abandoned_cart_emails=True)])
    slot = await slot_of(mugs, reminder)
    assert (await ledger.claim(slot, NOW)).delivery.result is Result.SUPPRESSED
    await mugs.apply([mugs.event(None, START + 3 * MINUTE, kind="identify", email="new@x.test")])
    assert (await ledger.claim(slot, NOW)).delivery.result is Result.SUPPRESSED
    await mugs.apply([mugs.event("Newsletter Subscribed", START + 4 * MINUTE)])
    assert await claimed(ledger, slot)


async def test_a_message_of_another_journey_makes_a_slot_wait_and_keeps_the_run_open(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """One marketing message per customer and gap; `deferred` is no end."""
    await mugs.sent_message(slot.customer_id, NOW - MINUTE, step="welcome-1")
    await mugs.write(update(messages).values(journey="welcome"))
    patient = slot.model_copy(update={"gap": timedelta(hours=4), "last": True})
    delivery = (await ledger.claim(patient, NOW)).delivery
    assert (delivery.result, delivery.until) == (Result.DEFERRED, NOW - MINUTE + timedelta(hours=4))
    assert [row.ended_at for row in await mugs.rows(runs)] == [None]
    assert delivery.until is not None
    assert (await ledger.claim(patient, delivery.until)).material is not None


async def test_what_is_no_longer_true_is_not_said(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """Cart, stock and order are read at the moment of the claim."""

    async def asked(*requires: Any) -> str:
        return (await ledger.claim(slot.model_copy(update={"requires": requires}), NOW)).delivery.because

    quiet, in_stock, stands = CartQuiet(quiet=MINUTE), InStock(product_id="cup"), OrderStands(order_id="o-1")
    assert await asked(quiet) == "the cart is empty"
    await mugs.apply([mugs.event("Product Added", NOW, product_id="cup")])
    assert await asked(quiet) == "the cart was changed"
    assert await asked(in_stock) == "the product is not in stock"
    await mugs.apply([mugs.event("Product Updated", NOW, product_id="cup", stock=2)])
    await mugs.apply([mugs.event("Order Completed", NOW - MINUTE, order_id="o-1", products=[])])
    await mugs.apply([mugs.event("Order Refunded", NOW, order_id="o-1")])
    assert await asked(stands) == "the order was refunded or cancelled"
    assert await asked(in_stock) == "consent"


async def test_a_slot_of_a_joined_customer_speaks_to_who_is_left(
    mugs: Telling, ledger: PostgresLedger, reminder: Step
) -> None:
    """The run began with a browser; by now it is somebody's."""
    browser, ada = Who(anonymous_id="b-1"), Who(user_id="ada", email="ada@x.test")
    both = Who(user_id="ada", anonymous_id="b-1")
    await mugs.apply([mugs.event("Product Viewed", who=browser, product_id="cup")])  # which begins no run of its own
    slot = await slot_of(mugs, reminder, who=await mugs.customer("b-1", "anonymous"))
    await mugs.apply([mugs.event(None, who=ada, kind="identify", email="ada@x.test", marketing_consent=True)])
    await mugs.apply([mugs.event(None, NOW, who=both, kind="identify")])

    claim = await ledger.claim(slot, NOW)
    assert claim.material is not None
    assert claim.material.email == "ada@x.test"
    assert [row.customer_id for row in await mugs.rows(messages)] == [await mugs.customer()]
    await accepted(ledger._engine, mugs.event("Order Completed", NOW, who=browser, order_id="o-1"))
    with pytest.raises(EventsPending):
        await ledger.claim(slot, NOW)


@pytest.mark.parametrize(
    ("name", "kind", "holds"),
    [
        ("Order Completed", "track", True),
        ("purchase", "track", True),
        ("order_refunded", "track", True),
        ("Newsletter Unsubscribed", "track", True),
        ("add_to_cart", "track", True),  # ends browse abandonment
        ("Cart Cleared", "track", True),
        (None, "identify", True),  # may withdraw consent
        ("Product Viewed", "track", False),
        ("Something Else", "track", False),
    ],
)
async def test_only_a_parked_event_that_may_forbid_the_message_holds_it(
    mugs: Telling, engine: AsyncEngine, ledger: PostgresLedger, slot: Slot, name: str | None, kind: str, holds: bool
) -> None:
    """An order that we failed to understand stops mail until somebody has looked; a view does not."""
    views = [mugs.event("Product Viewed", NOW, product_id="cup") for _ in range(120)]
    await accepted(engine, *views, mugs.event(name, NOW, kind=kind))
    await mugs.write(update(events).values(state="parked", error="broken"))
    if holds:
        with pytest.raises(EventsPending):
            await ledger.claim(slot, NOW)
    else:
        assert await claimed(ledger, slot)


@pytest.mark.parametrize(("name", "holds"), [("Checked In", True), ("checked out", False)])
async def test_a_parked_exit_of_the_run_holds_its_message(
    mugs: Telling, engine: AsyncEngine, ledger: PostgresLedger, slot: Slot, name: str, holds: bool
) -> None:
    """A follow-up names its own exits; one that we failed to understand may be what ends it."""
    await mugs.write(update(runs).values(exits=["checkedin"]))
    await accepted(engine, mugs.event(name, NOW))
    await mugs.write(update(events).values(state="parked", error="broken"))
    if holds:
        with pytest.raises(EventsPending):
            await ledger.claim(slot, NOW)
    else:
        assert await claimed(ledger, slot)


async def test_an_event_of_somebody_else_does_not_hold_a_message(
    mugs: Telling, engine: AsyncEngine, ledger: PostgresLedger, slot: Slot
) -> None:
    """A claim waits for the customer's own events only, and only for this store's."""
    other = mugs.event("Order Completed", NOW, who=Who(user_id="bob"), order_id="o-1")
    elsewhere = mugs.event("Order Completed", NOW, order_id="o-1")._replace(store_id="pots")
    await accepted(engine, other, elsewhere)
    assert await claimed(ledger, slot)


class Nobody:
    """A Temporal that does everything it is asked."""

    async def execute(self, store_id: str, command: object) -> bool:
        return True


async def test_no_message_is_claimed_after_an_order_was_accepted(
    mugs: Telling, engine: AsyncEngine, reminder: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G4, raced: accept an order, route it and claim at once; whoever claims after the accept gets no material."""
    monkeypatch.setattr(ledger_module, "_LOOKS_S", (0.05,) * 200)
    ledger, door = PostgresLedger(engine), EventStore(engine)
    router = Router(engine, Nobody(), lambda: NOW)

    async def race(number: int) -> bool:
        who = Who(user_id=f"u-{number}")
        address = f"u-{number}@x.test"
        await mugs.apply([mugs.event(None, who=who, kind="identify", email=address, marketing_consent=True)])
        await mugs.apply([mugs.event("Product Added", START, who=who, product_id="cup")], now=START)
        customer = await mugs.customer(f"u-{number}")
        (run,) = await mugs.rows(runs, runs.c.customer_id == customer)
        slot = Slot(
            store_id=mugs.store_id, customer_id=customer, run_id=run.run_id, journey="cart-recovery", step=reminder,
            gap=timedelta(0), due=NOW, waited_from=NOW, requires=(CartQuiet(quiet=timedelta(0)),),
        )  # fmt: skip
        told = asyncio.Event()

        async def order() -> None:
            await asyncio.sleep(number % 4 * 0.002)
            await door.accept([mugs.event("Order Completed", NOW, who=who, order_id=f"o-{number}")])
            told.set()
            await router.route_everything()

        async def claim() -> bool:
            await asyncio.sleep(number % 5 * 0.003)
            too_late = told.is_set()
            claim = await ledger.claim(slot, NOW)
            return too_late and claim.material is not None

        broken, _ = await asyncio.gather(claim(), order())
        again = await ledger.claim(slot.model_copy(update={"step": step("reminder-2")}), NOW)
        return broken or again.material is not None

    outcomes = [await asyncio.gather(*(race(n) for n in range(start, start + 5))) for start in range(0, 30, 5)]
    assert not any(any(batch) for batch in outcomes)


def step(name: str) -> Step:
    return Step(name=name, template="cart-reminder")


async def test_only_the_last_slot_closes_the_run(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """A result of any other step leaves the run open; the last one ends it, whether sent or withheld."""

    async def settle(settled: Slot, result: Result) -> None:
        message_id = await claimed(ledger, settled)
        await ledger.sending(settled, message_id, (), NOW)
        await ledger.record(settled, message_id, Delivery(result=result), NOW)

    await settle(slot, Result.SENT)
    assert [row.outcome for row in await mugs.rows(runs)] == [Outcome.RUNNING]
    await settle(slot.model_copy(update={"step": step("reminder-2"), "last": True}), Result.FAILED)
    assert [row.outcome for row in await mugs.rows(runs)] == [Outcome.COMPLETED]


async def test_where_nothing_is_handed_over_what_may_go_out_is_sent_with_its_claim(
    mugs: Telling, engine: AsyncEngine, slot: Slot
) -> None:
    """A backtest's ledger: row and run are as a claim, a hand-over and a record would have left them."""

    async def nothing(*_: object) -> None: ...

    last = slot.model_copy(update={"last": True})
    claim = await PostgresLedger(engine, gather=nothing).claim(last, NOW)

    assert (claim.delivery.result, claim.material) == (Result.SENT, None)
    (row,) = await mugs.rows(messages)
    assert (row.state, row.address) == ("sent", "ada@x.test")
    assert row.claimed_at == row.sending_at == row.settled_at == NOW
    (run,) = await mugs.rows(runs)
    assert (run.outcome, run.ended_at) == (Outcome.COMPLETED, NOW)


async def test_the_first_outcome_of_a_run_stays(mugs: Telling, ledger: PostgresLedger, slot: Slot) -> None:
    """A run that ended by a purchase is not "completed" by the message that was under way."""
    message_id = await claimed(ledger, slot)
    await mugs.write(update(runs).values(ended_at=NOW, outcome="converted"))
    await ledger.record(slot.model_copy(update={"last": True}), message_id, Delivery(result=Result.SENT), NOW)
    assert [row.outcome for row in await mugs.rows(runs)] == [Outcome.CONVERTED]
    exited = await ledger.claim(slot.model_copy(update={"step": step("reminder-2")}), NOW)
    assert (exited.delivery.result, exited.delivery.outcome) == (Result.EXITED, Outcome.CONVERTED)


async def test_a_message_that_waits_for_its_provider_has_not_failed_when_its_run_ends(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """It is not asked for any more; what may be with the provider is settled as unknown all the same."""
    message_id = await claimed(ledger, slot)
    assert (await ledger.abandon(slot, NOW, left=True)).result is Result.EXITED
    assert [row.state for row in await mugs.rows(messages)] == ["claimed"]
    await ledger.sending(slot, message_id, (), NOW)
    assert (await ledger.abandon(slot, NOW, left=True)).result is Result.UNKNOWN
    assert [row.state for row in await mugs.rows(messages)] == ["unknown"]


async def test_an_alert_for_stock_that_is_gone_again_puts_the_customer_back_in_line(
    mugs: Telling, ledger: PostgresLedger, slot: Slot
) -> None:
    """Told of a wave, but sold out at the claim: the next restock must find the customer still waiting."""
    row = {
        "store_id": mugs.store_id, "product_id": "cup", "customer_id": slot.customer_id, "asked_at": START,
        "chosen_at": NOW, "told_at": NOW,
    }  # fmt: skip
    await mugs.write(insert(waitlist).values(row))
    about_cup = {"product_id": "cup", "requires": (InStock(product_id="cup"),), "again_if_stale": True, "last": True}
    assert (await ledger.claim(slot.model_copy(update=about_cup), NOW)).delivery.result is Result.STALE
    (place,) = await mugs.rows(waitlist)
    assert (place.asked_at, place.chosen_at, place.told_at, place.left_at) == (START, None, None, None)
    assert [run.ended_at for run in await mugs.rows(runs)] == [None]


async def test_a_run_that_was_never_written_down_may_still_ask(ledger: PostgresLedger, slot: Slot) -> None:
    """A missing row of a run is not taken for its end."""
    assert await claimed(ledger, slot.model_copy(update={"run_id": new_id()}))
