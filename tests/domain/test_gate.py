"""The gate: nothing goes out that is not allowed, is no longer true, or whose run has ended (G4, G5)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.caps import Cap, Traffic
from domain.delivery import CartQuiet, InStock, OrderStands, PriceLow, Result, Rule, Slot, Unconfirmed, Undecided
from domain.facts import Topic
from domain.gate import Truth, decide, may_forbid
from domain.plans import Step
from domain.quiet_hours import QuietHours
from domain.runs import Outcome
from domain.sending_rules import SendingRules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

spans = st.integers(0, 72).map(lambda hours: timedelta(hours=hours))
around_now = st.integers(-72, 72).map(lambda hours: NOW + timedelta(hours=hours))
conditions = st.one_of(
    st.builds(CartQuiet, quiet=spans),
    st.just(InStock(product_id="mug")),
    st.just(OrderStands(order_id="A-1")),
    st.builds(Undecided, product_id=st.just("mug"), quiet=spans),
    st.just(PriceLow(product_id="mug", percent=5)),
    st.builds(Unconfirmed, by=around_now, again=spans),
)
slots = st.builds(
    Slot,
    store_id=st.just("mugs"),
    customer_id=st.just(UUID(int=1)),
    run_id=st.just(UUID(int=2)),
    journey=st.just("cart-recovery"),
    step=st.builds(
        Step,
        name=st.just("reminder-1"),
        template=st.just("t"),
        topic=st.sampled_from(Topic),
        transactional=st.booleans(),
        deadline=spans,
    ),
    gap=spans,
    due=around_now,
    waited_from=around_now,
    requires=st.lists(conditions, max_size=3, unique_by=type).map(tuple),
)
rules = st.builds(
    SendingRules,
    quiet_hours=st.sampled_from([{}, {"email": QuietHours()}]),
    caps=st.lists(st.builds(Cap, limit=st.integers(1, 3), window=spans.filter(bool)), max_size=2).map(tuple),
)
traffic = st.lists(
    st.builds(Traffic, at=around_now.filter(lambda at: at <= NOW), topic=st.sampled_from(Topic)), max_size=4
)
ahead = st.lists(
    st.builds(Traffic, at=around_now.filter(lambda at: at >= NOW), topic=st.sampled_from(Topic)), max_size=2
)
truths = st.builds(
    Truth,
    ended=st.none() | st.sampled_from(Outcome),
    address=st.sampled_from([None, "ann@shop.example"]),
    suppressed=st.sampled_from([None, None, "bounced", "complained"]),
    unsubscribed=st.booleans(),
    consented=st.booleans(),
    marketing_paused_until=st.none() | around_now,
    unconfirmed=st.booleans(),
    asked_at=st.none() | around_now.filter(lambda at: at <= NOW),
    last_marketing_at=st.none() | around_now,
    cart_lines=st.integers(0, 2),
    cart_changed_at=st.none() | around_now,
    stock=st.none() | st.integers(-1, 2),
    withdrawn=st.booleans(),
    order_stands=st.booleans(),
    viewed_at=st.none() | around_now,
    price_minor=st.none() | st.integers(1, 3),
    wanted_minor=st.none() | st.integers(1, 3),
    rules=rules,
    timezone=st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns"]),
    traffic=traffic.map(tuple),
    ahead=ahead.map(tuple),
    put_off_at=st.none() | around_now.filter(lambda at: at <= NOW),
)


def sends(slot, truth):
    return decide(slot, truth, NOW).result == Result.SENT


@given(slots, truths)
def test_without_consent_only_transactional_messages_go_out(slot, truth):
    """No consent, or an address that unsubscribed: nothing but what the store declared transactional (G5)."""
    assert not sends(slot, truth) or slot.step.transactional or (truth.consented and not truth.unsubscribed)


@given(slots, truths)
def test_a_suppressed_or_unknown_address_gets_nothing_at_all(slot, truth):
    """Not even a transactional message after a bounce or a complaint."""
    assert not sends(slot, truth) or (truth.address is not None and truth.suppressed is None)


@given(slots, truths)
def test_a_run_that_has_ended_sends_nothing_and_says_how_it_ended(slot, truth):
    """An exit acknowledged before the claim wins over everything (G4)."""
    delivery = decide(slot, truth, NOW)

    assert (delivery.result == Result.EXITED) == (truth.ended is not None)
    assert delivery.outcome == truth.ended


@given(slots, truths)
def test_what_is_deferred_is_deferred_into_the_future(slot, truth):
    """Else a run would ask for ever; and nothing else carries a time."""
    delivery = decide(slot, truth, NOW)

    assert (delivery.until is not None) == (delivery.result == Result.DEFERRED)
    assert delivery.until is None or delivery.until > NOW


@given(slots, truths)
def test_asking_again_at_that_time_is_not_deferred_for_the_same_reason(slot, truth):
    """One deferral per reason: a step costs a bounded number of actions."""
    first = decide(slot, truth, NOW)
    if first.until is not None:
        assert decide(slot, truth, first.until).because != first.because


@given(slots, truths)
def test_every_condition_of_the_slot_holds_when_it_is_sent(slot, truth):
    """The database decides at the moment of sending."""
    if sends(slot, truth):
        for condition in slot.requires:
            match condition:
                case CartQuiet(quiet=quiet):
                    assert truth.cart_lines > 0
                    assert truth.cart_changed_at is None or truth.cart_changed_at + quiet <= NOW
                case InStock():
                    assert truth.stock is not None
                    assert truth.stock > 0
                    assert not truth.withdrawn
                case OrderStands():
                    assert truth.order_stands
                case Undecided(quiet=quiet):
                    assert truth.cart_lines == 0
                    assert not truth.withdrawn
                    assert truth.stock is None or truth.stock > 0
                    assert truth.viewed_at is None or truth.viewed_at + quiet <= NOW
                case Unconfirmed(by=by, again=again):
                    assert truth.unconfirmed
                    assert by > NOW
                    assert truth.asked_at is None or truth.asked_at + again <= NOW
                case PriceLow():
                    assert truth.price_minor is not None
                    assert truth.wanted_minor is not None
                    assert truth.price_minor <= truth.wanted_minor
                    assert not truth.withdrawn
                    assert truth.stock is None or truth.stock > 0


@given(slots, truths)
def test_marketing_keeps_its_distance_from_other_journeys(slot, truth):
    """The plan's gap; transactional messages need none."""
    if sends(slot, truth) and not slot.step.transactional and truth.last_marketing_at is not None:
        assert truth.last_marketing_at + slot.gap <= NOW


@given(slots, truths)
def test_marketing_goes_out_in_no_quiet_hour_and_above_no_cap(slot, truth):
    """G5, on the customer's own clock; transactional messages know neither."""
    if sends(slot, truth) and not slot.step.transactional:
        wall = NOW.astimezone(ZoneInfo(truth.timezone)).replace(tzinfo=None)
        assert not any(hours.cover(wall) for hours in truth.rules.quiet_hours.values())
        for cap in truth.rules.caps:
            assert sum(one.at > NOW - cap.window for one in truth.traffic) < cap.limit


@given(slots, truths)
def test_while_marketing_is_paused_only_transactional_messages_go_out(slot, truth):
    """What may go out but for the pause waits for its end, unless its own deadline is first; it says so either way."""
    over = truth.marketing_paused_until
    paused = over is not None and over > NOW
    assert not paused or not sends(slot, truth) or slot.step.transactional

    delivery = decide(slot, truth, NOW)
    if delivery.rule == Rule.MARKETING_PAUSED:
        assert paused
        waits = (truth.put_off_at or NOW) + slot.step.deadline
        assert delivery.result == (Result.DEFERRED if delivery.until else Result.DROPPED)
        assert delivery.until is None or over <= delivery.until <= waits
    elif paused and not slot.step.transactional:
        unpaused = decide(slot, truth.model_copy(update={"marketing_paused_until": None}), NOW)
        assert unpaused == delivery, "a pause changed the answer without being named"


def test_a_pause_that_is_not_understood_yet_holds_messages_back():
    """Like an unsubscribe: one that was accepted counts for every message that is claimed after it."""
    assert may_forbid("track", "Emails Paused")
    assert not may_forbid("track", "Emails Resumed")


@given(slots, truths)
def test_the_reason_is_given_and_names_no_person(slot, truth):
    """Reasons are shown in the Temporal UI (G8)."""
    because = decide(slot, truth, NOW).because

    assert because
    assert "@" not in because


@given(slots)
def test_a_message_that_is_allowed_and_true_is_sent(slot):
    """The gate is not simply shut."""
    about = {type(condition) for condition in slot.requires}
    assume(not {CartQuiet, Undecided} <= about)
    assume(all(condition.by > NOW for condition in slot.requires if isinstance(condition, Unconfirmed)))
    cart = 0 if Undecided in about else 1
    truth = Truth(
        address="ann@shop.example", consented=True, cart_lines=cart, stock=1, price_minor=900, wanted_minor=900,
        unconfirmed=True,
    )  # fmt: skip

    assert sends(slot, truth)


@pytest.mark.parametrize(
    ("told", "result"),
    [
        ({}, Result.SENT),
        ({"unconfirmed": False}, Result.STALE),
        ({"asked_at": NOW - timedelta(hours=23)}, Result.CAPPED),
        ({"asked_at": NOW - timedelta(hours=24)}, Result.SENT),
        ({"suppressed": "bounced"}, Result.SUPPRESSED),
        ({"unsubscribed": True}, Result.SENT),
    ],
)
def test_a_mailbox_is_asked_to_confirm_while_there_is_something_to_confirm(told, result):
    """Not after its time, not a second time within the day, never an address that bounced; consent is not needed."""
    step = Step(name="confirm", template="double-opt-in", transactional=True)
    until = Unconfirmed(by=NOW + timedelta(seconds=1), again=timedelta(days=1))
    ids = {"store_id": "mugs", "customer_id": UUID(int=1), "run_id": UUID(int=2), "journey": "double-opt-in"}
    slot = Slot(**ids, step=step, gap=timedelta(0), due=NOW, waited_from=NOW, requires=(until,))
    truth = Truth(**{"address": "ann@shop.example", "unconfirmed": True, **told})

    assert decide(slot, truth, NOW).result == result
    assert decide(slot, truth, until.by).result == Result.STALE


@given(slots, truths)
def test_what_waits_for_a_confirmation_is_called_so(slot, truth):
    """A marketer who asks why reads that the customer has not pressed the button yet."""
    delivery = decide(slot, truth, NOW)
    if delivery.result == Result.NO_CONSENT:
        assert ("no confirmed consent" in delivery.because) == truth.unconfirmed


def test_the_moment_a_gap_is_over_the_message_goes_out():
    """A run that was told to come back at T is not sent away at T."""
    gap = timedelta(hours=4)
    step = Step(name="reminder-1", template="cart-reminder")
    ids = {"store_id": "mugs", "customer_id": UUID(int=1), "run_id": UUID(int=2), "journey": "cart-recovery"}
    slot = Slot(**ids, step=step, gap=gap, due=NOW, waited_from=NOW - gap, requires=(CartQuiet(quiet=gap),))
    truth = Truth(
        address="ann@shop.example", consented=True, cart_lines=1, cart_changed_at=NOW - gap, last_marketing_at=NOW - gap
    )

    assert sends(slot, truth)
    assert decide(slot, truth, NOW - timedelta(microseconds=1)).until == NOW
