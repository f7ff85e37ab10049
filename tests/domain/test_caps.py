"""Caps: never more than so many in any window, the next free slot, and room for what comes first."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.caps import PRIORITY, Cap, Traffic, free_slot
from domain.delivery import Result, Rule, Slot
from domain.facts import Topic
from domain.gate import Truth, decide
from domain.plans import Step
from domain.quiet_hours import QuietHours
from domain.sending_rules import SendingRules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

caps = st.lists(
    st.builds(
        Cap,
        limit=st.integers(1, 4),
        window=st.integers(1, 12).map(lambda hours: hours * HOUR),
        topics=st.sampled_from([frozenset(), frozenset({Topic.NEWSLETTER})]),
    ),
    min_size=1,
    max_size=3,
)
topics = st.sampled_from([Topic.NEWSLETTER, Topic.ABANDONED_CART])
messages = st.lists(
    st.builds(Traffic, at=st.integers(-15, 15).map(lambda hours: NOW + hours * HOUR), topic=topics), max_size=8
)


def broken(every: list[Cap], sent: list[Traffic], moment: datetime) -> bool:
    """Tell, hour by hour, whether a window that holds this moment holds more than its cap allows."""
    for cap in every:
        counted = [one.at for one in sent if cap.counts(one.channel, one.topic)]
        hours = int(cap.window / HOUR)
        ends = [moment + hour * HOUR for hour in range(hours)]
        if any(sum(end - cap.window < at <= end for at in counted) > cap.limit for end in ends):
            return True
    return False


@given(caps, topics, messages)
def test_the_slot_is_the_first_one_that_breaks_no_cap(every, topic, traffic):
    """Of all hours from now on; what is ahead counts like what was sent."""
    mine = [cap for cap in every if cap.counts("email", topic)]
    slot = free_slot(every, "email", topic, traffic, NOW)

    def breaks(moment: datetime) -> bool:
        return broken(mine, [*traffic, Traffic(at=moment, topic=topic)], moment)

    assert not breaks(slot)
    hours = int((slot - NOW) / HOUR)
    assert all(breaks(NOW + hour * HOUR) for hour in range(hours))


@given(caps, st.lists(topics, min_size=1, max_size=25))
def test_no_window_ever_holds_more_than_its_cap_if_each_takes_the_next_free_slot(every, wanted):
    """A crowd that wants to go out at once comes out one by one, and all of it does."""
    sent: list[Traffic] = []
    for topic in wanted:
        sent.append(Traffic(at=free_slot(every, "email", topic, sent, NOW), topic=topic))

    for cap in every:
        counted = [one.at for one in sent if cap.counts("email", one.topic)]
        for end in counted:
            assert sum(end - cap.window < at <= end for at in counted) <= cap.limit


def test_a_cap_for_one_channel_or_topic_counts_no_other():
    """Per channel and topic, and over all."""
    newsletters = Cap(limit=1, window=DAY, topics=frozenset({Topic.NEWSLETTER}))
    texts = Cap(limit=1, window=DAY, channel="sms")

    assert newsletters.counts("email", Topic.NEWSLETTER)
    assert not newsletters.counts("email", Topic.ABANDONED_CART)
    assert texts.counts("sms", Topic.NEWSLETTER)
    assert not texts.counts("email", Topic.NEWSLETTER)
    assert Cap(limit=1, window=DAY).counts("push", Topic.PROMOTIONS)


def slot(topic: Topic, **step: object) -> Slot:
    ids = {"store_id": "mugs", "customer_id": UUID(int=1), "run_id": UUID(int=2), "journey": "welcome"}
    asking = Step(name="a", template="a", topic=topic, **step)
    return Slot(**ids, step=asking, gap=timedelta(0), due=NOW, waited_from=NOW)


def truth(*, limit: int = 2, **more: object) -> Truth:
    rules = SendingRules(caps=(Cap(limit=limit, window=DAY),))
    return Truth(**{"address": "ann@shop.example", "consented": True, "rules": rules, **more})


def sent(hours: float, topic: Topic = Topic.MARKETING) -> Traffic:
    return Traffic(at=NOW + hours * HOUR, topic=topic)


def test_above_the_cap_a_message_waits_for_the_next_free_slot():
    """Two of two a day are gone: the third goes out when the first is a day old, to the second."""
    known = truth(traffic=(sent(-20), sent(-3)))
    delivery = decide(slot(Topic.NEWSLETTER), known, NOW)

    assert (delivery.result, delivery.rule, delivery.until) == (Result.DEFERRED, Rule.CAP, NOW + 4 * HOUR)
    assert decide(slot(Topic.NEWSLETTER), known, NOW + 4 * HOUR).result is Result.SENT


def test_a_newsletter_leaves_room_for_the_cart_reminder_that_is_due():
    """One is left for today, and a reminder comes in three hours: the newsletter goes out when both have room."""
    known = truth(traffic=(sent(-20),), ahead=(sent(3, Topic.ABANDONED_CART),))
    newsletter = decide(slot(Topic.NEWSLETTER), known, NOW)

    assert (newsletter.result, newsletter.until) == (Result.DEFERRED, NOW + 4 * HOUR)
    assert newsletter.because == "room is left for a more important message"
    assert decide(slot(Topic.ABANDONED_CART), known.model_copy(update={"ahead": ()}), NOW).result is Result.SENT


def test_where_there_is_room_for_both_nobody_waits():
    """Priority is about the last slot, not about rank for its own sake."""
    known = truth(limit=3, traffic=(sent(-20),), ahead=(sent(3, Topic.ABANDONED_CART),))
    assert decide(slot(Topic.NEWSLETTER), known, NOW).result is Result.SENT


def test_what_finds_no_slot_before_its_deadline_is_recorded_as_capped():
    """Never dropped silently: the result says so, with the rule; a second longer and it waits."""
    known = truth(limit=1, traffic=(sent(-20),))
    expired = decide(slot(Topic.NEWSLETTER, deadline=3 * HOUR), known, NOW)
    assert (expired.result, expired.rule, expired.final) == (Result.CAPPED, Rule.CAP, True)
    assert decide(slot(Topic.NEWSLETTER, deadline=4 * HOUR), known, NOW).until == NOW + 4 * HOUR


def test_the_deadline_runs_from_the_first_time_it_was_put_off():
    """Else a message that is put off again and again would never expire."""
    known = truth(limit=1, traffic=(sent(-20),), put_off_at=NOW - 10 * HOUR)
    assert decide(slot(Topic.NEWSLETTER, deadline=13 * HOUR), known, NOW).result is Result.CAPPED
    assert decide(slot(Topic.NEWSLETTER, deadline=14 * HOUR), known, NOW).result is Result.DEFERRED


def test_a_slot_that_is_free_at_night_is_taken_in_the_morning():
    """One wait for both rules: the slot is free at 22:00, and the quiet hours end at 8:00."""
    rules = SendingRules(caps=(Cap(limit=1, window=DAY),), quiet_hours={"email": QuietHours()})
    known = truth(rules=rules, traffic=(sent(-14),))
    assert decide(slot(Topic.NEWSLETTER), known, NOW).until == NOW + 20 * HOUR


def test_the_night_puts_marketing_off_and_nothing_else():
    """A message that falls into quiet hours waits, or is recorded as `quiet`; a receipt goes out at once."""
    night = datetime(2026, 3, 1, 23, tzinfo=UTC)
    known = truth(rules=SendingRules(quiet_hours={"email": QuietHours()}), timezone="Europe/Berlin")
    put_off = decide(slot(Topic.NEWSLETTER), known, night)

    assert (put_off.result, put_off.rule) == (Result.DEFERRED, Rule.QUIET_HOURS)
    assert put_off.until == datetime(2026, 3, 2, 7, tzinfo=UTC)
    assert decide(slot(Topic.NEWSLETTER, deadline=HOUR), known, night).result is Result.QUIET
    assert decide(slot(Topic.NEWSLETTER, transactional=True), known, night).result is Result.SENT
    assert decide(slot(Topic.NEWSLETTER), known.model_copy(update={"timezone": "America/Lima"}), night).result == "sent"


def test_every_topic_has_a_priority_and_a_cart_beats_a_newsletter():
    """A new topic must say where it stands; a step may say otherwise."""
    assert set(PRIORITY) == set(Topic)
    assert slot(Topic.ABANDONED_CART).step.rank < slot(Topic.NEWSLETTER).step.rank
    assert slot(Topic.NEWSLETTER, priority=1).step.rank == 1
