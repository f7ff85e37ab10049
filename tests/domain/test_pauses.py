"""Pauses: what they held up goes out later, never earlier, and never all at once."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import ids
from domain.delivery import Result, Slot
from domain.gate import Truth, decide
from domain.operations import OnResume, Pause
from domain.pauses import after_pauses
from domain.plans import Step

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN = UUID(int=123_456_789)
HOUR = timedelta(hours=1)

minutes = st.integers(0, 5_000).map(lambda count: timedelta(minutes=count))
moments = minutes.map(lambda span: NOW - timedelta(minutes=2_500) + span)
runs = st.uuids()
policies = st.sampled_from(OnResume)


@st.composite
def histories(draw, policy=policies):
    """Pauses of one journey, all over, oldest first and apart from each other."""
    spans = draw(st.lists(st.integers(1, 900), min_size=2, max_size=6).filter(lambda found: len(found) % 2 == 0))
    edges = [NOW - timedelta(minutes=2_500 - minute) for minute in accumulate(spans)]
    return [
        Pause(since=since, until=until, policy=draw(policy), over=timedelta(minutes=draw(st.integers(0, 600))))
        for since, until in zip(edges[::2], edges[1::2], strict=True)
    ]


def slot_of(run_id, due, waited_from):
    step = Step(name="reminder-1", template="cart-reminder", transactional=True)
    return Slot(
        store_id="mugs", customer_id=UUID(int=1), run_id=run_id, journey="cart-recovery", step=step, gap=timedelta(0),
        due=due, waited_from=waited_from,
    )  # fmt: skip


def by(policy, *, since=NOW, length=10 * HOUR, over=4 * HOUR):
    return [Pause(since=since, until=since + length, policy=policy, over=over)]


@given(runs, moments, minutes, histories())
def test_a_pause_never_makes_a_message_earlier(run_id, due, wait, pauses):
    """Nor does it let one out while it lasts."""
    turn = after_pauses(run_id, due, due - wait, pauses)

    assert turn.due >= due
    if not turn.dropped:
        met = [pause for pause in pauses if pause.until > due - wait]
        assert not any(pause.since <= turn.due < pause.until for pause in met)


@given(moments, minutes, histories(st.just(OnResume.SHIFT)))
def test_shifts_add_up_to_the_pauses_that_the_wait_met(due, wait, pauses):
    """Each counts once, by its whole length; what had been overdue before one is the exception."""
    start = due - wait
    met = timedelta(0)
    for pause in pauses:
        if start < pause.until and pause.since <= due + met:
            met += pause.until - pause.since
    overdue = any(start < pause.until and due < pause.since for pause in pauses)

    if not overdue:
        assert after_pauses(RUN, due, start, pauses).due == due + met


@given(runs, moments, minutes, minutes, histories())
def test_who_was_due_first_is_never_overtaken_by_himself(run_id, due, wait, later, pauses):
    """After a pause, for the same wait of the same run, a later time stays the later one."""
    (pause, *_) = pauses
    first, second = (after_pauses(run_id, moment, due - wait, [pause]) for moment in (due, due + later))

    if due >= pause.since and pause.policy is OnResume.SHIFT:
        assert first.due <= second.due


@given(st.lists(st.integers(0, 599), min_size=2, max_size=50))
def test_a_shift_keeps_the_distances_between_customers(minutes_in):
    """Also of those who came in during the pause: the moment it ends is nobody's moment."""
    dues = [NOW + timedelta(minutes=minute) for minute in sorted(minutes_in)]
    began_before = [after_pauses(RUN, due, NOW - HOUR, by(OnResume.SHIFT)).due for due in dues]
    began_in_it = [after_pauses(RUN, due, due, by(OnResume.SHIFT)).due for due in dues]

    assert [due - dues[0] for due in dues] == [due - began_before[0] for due in began_before]
    assert began_in_it == began_before


@given(st.lists(runs, min_size=1, max_size=30, unique=True))
def test_a_spread_stays_within_its_time_whatever_the_runs_are_called(run_ids):
    """None comes before the end of the pause, and none after the time that the spread may take."""
    turns = [after_pauses(run_id, NOW + HOUR, NOW, by(OnResume.SPREAD)).due for run_id in run_ids]

    assert min(turns) >= NOW + 10 * HOUR
    assert max(turns) < NOW + 14 * HOUR


def test_real_run_ids_fill_each_hour_of_a_spread():
    """The share comes from the id; ids are hashes."""
    run_ids = [ids.run_id(f"mugs/welcome/{number}", "e") for number in range(2_000)]
    turns = [after_pauses(run_id, NOW + HOUR, NOW, by(OnResume.SPREAD)).due for run_id in run_ids]
    hours = [sum(NOW + hour * HOUR <= turn < NOW + (hour + 1) * HOUR for turn in turns) for hour in range(10, 14)]

    assert sum(hours) == 2_000
    assert max(hours) < 600


@pytest.mark.parametrize("policy", OnResume)
def test_what_comes_due_after_a_pause_that_its_wait_never_met_is_left_alone(policy):
    """The pause was over when the wait began."""
    due = NOW + 30 * HOUR

    assert after_pauses(RUN, due, NOW + 10 * HOUR, by(policy)).due == due


@pytest.mark.parametrize("policy", [OnResume.DROP_OVERDUE, OnResume.SPREAD])
def test_what_comes_due_after_the_pause_keeps_its_time(policy):
    """Nothing held it up; only a shift moves the whole of a journey."""
    due = NOW + 10 * HOUR

    assert after_pauses(RUN, due, NOW - HOUR, by(policy)) == (due, False)


def test_what_was_overdue_when_the_pause_began_does_not_come_out_in_one_go():
    """The mail server was down, so the journey was paused: an outage must not become a burst either."""
    due = NOW - HOUR
    shifted = after_pauses(RUN, due, NOW - 2 * HOUR, by(OnResume.SHIFT)).due

    assert NOW + 10 * HOUR < shifted < NOW + 14 * HOUR
    assert after_pauses(RUN, due, NOW - 2 * HOUR, by(OnResume.DROP_OVERDUE)).dropped


@given(runs, moments, minutes, histories(), minutes)
def test_the_gate_puts_off_by_a_pause_once(run_id, due, wait, pauses, late):
    """Asked again at the time that it gave, it lets the message out; whichever clock is ahead of the other."""
    truth = Truth(address="ann@shop.example", consented=True, pauses=tuple(pauses))
    first = decide(slot_of(run_id, due, due - wait), truth, due + late)

    if first.result is Result.DEFERRED:
        again = slot_of(run_id, first.until, first.at)
        met = tuple(pause for pause in pauses if pause.until > first.at)
        assert decide(again, truth.model_copy(update={"pauses": met}), first.until).result is Result.SENT


def test_the_step_after_a_dropped_one_is_counted_from_when_that_came_due():
    """Counted from the resume, the second reminders of all customers would go out in the same minute."""
    due = NOW + 3 * HOUR
    truth = Truth(address="ann@shop.example", pauses=tuple(by(OnResume.DROP_OVERDUE)))
    dropped = decide(slot_of(RUN, due, NOW - HOUR), truth, NOW + 10 * HOUR)

    assert (dropped.result, dropped.at) == (Result.DROPPED, due)


def test_while_a_pause_lasts_the_answer_is_wait():
    """Whatever an earlier pause said, and however transactional the message is."""
    lasting = Pause(since=NOW + 20 * HOUR)
    truth = Truth(address="ann@shop.example", pauses=(*by(OnResume.DROP_OVERDUE), lasting))
    answer = decide(slot_of(RUN, NOW + 3 * HOUR, NOW), truth, NOW + 21 * HOUR)

    assert (answer.result, answer.until, answer.final) == (Result.PAUSED, None, False)
