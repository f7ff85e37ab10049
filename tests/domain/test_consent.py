"""The consent ledger: the newest word counts, and unclear means no."""

from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.consent import (
    IDENTIFY,
    Confirmation,
    ConsentRecord,
    allows,
    asked_for_mail,
    awaiting,
    understood,
    wants_mail,
)
from domain.facts import Topic

START = datetime(2026, 3, 1, tzinfo=UTC)
TOPICS = [Topic.MARKETING, Topic.NEWSLETTER, Topic.BACK_IN_STOCK]

topics = st.sampled_from(TOPICS)
moments = st.integers(0, 5).map(lambda hours: START + timedelta(hours=hours))
records = st.builds(ConsentRecord, topic=topics, granted=st.booleans(), at=moments)
ledgers = st.lists(records, max_size=8)
LATER = START + timedelta(hours=9)


def word(topic, granted, hour):
    return ConsentRecord(topic=topic, granted=granted, at=START + timedelta(hours=hour))


@pytest.mark.parametrize("topic", Topic)
def test_without_a_word_there_is_no_consent(topic):
    """Silence is not consent."""
    assert not allows([], topic)


@given(ledgers, topics, st.randoms())
def test_the_order_of_the_ledger_does_not_matter(ledger, topic, random):
    """Nor do repeated lines: time decides."""
    shuffled = [*ledger, *ledger[:2]]
    random.shuffle(shuffled)

    assert allows(iter(shuffled), topic) == allows(ledger, topic)


@given(ledgers, topics, st.booleans())
def test_the_latest_word_on_a_topic_wins(ledger, topic, granted):
    """Whatever was said before."""
    assert allows([*ledger, ConsentRecord(topic=topic, granted=granted, at=LATER)], topic) is granted


@given(ledgers, topics)
def test_withdrawing_marketing_withdraws_every_topic(ledger, topic):
    """The master switch, when it is the latest word."""
    assert not allows([*ledger, ConsentRecord(topic=Topic.MARKETING, granted=False, at=LATER)], topic)


@given(ledgers, topics)
def test_granting_and_withdrawing_at_the_same_instant_means_no(ledger, topic):
    """Unclear means no (requirements/3)."""
    both = [ConsentRecord(topic=topic, granted=granted, at=LATER) for granted in (True, False)]

    assert not allows([*ledger, *both], topic)


@given(ledgers, topics, records)
def test_a_grant_never_takes_away_and_a_withdrawal_never_gives(ledger, topic, record):
    """One more line changes the answer only in its own direction."""
    before, after = allows(ledger, topic), allows([*ledger, record], topic)

    assert after in (before, record.granted)


def test_consent_to_marketing_covers_topics_that_were_not_asked_about():
    """And a refusal of the topic itself stays a refusal."""
    assert allows([word(Topic.MARKETING, True, 1)], Topic.NEWSLETTER)
    assert not allows([word(Topic.NEWSLETTER, False, 1), word(Topic.MARKETING, True, 2)], Topic.NEWSLETTER)


def test_consent_to_one_topic_covers_no_other():
    """Whoever asks for a stock alert has not asked for the newsletter."""
    ledger = [word(Topic.BACK_IN_STOCK, True, 1)]

    assert allows(ledger, Topic.BACK_IN_STOCK)
    assert not allows(ledger, Topic.NEWSLETTER)
    assert not allows(ledger, Topic.MARKETING)


def test_a_topic_granted_after_everything_was_withdrawn_is_allowed():
    """The customer may want this one thing after all."""
    assert allows([word(Topic.MARKETING, False, 1), word(Topic.BACK_IN_STOCK, True, 2)], Topic.BACK_IN_STOCK)


def test_withdrawing_everything_in_the_instant_of_granting_one_topic_means_no():
    """Unclear means no, across topics too."""
    ledger = [word(Topic.BACK_IN_STOCK, True, 1), word(Topic.MARKETING, False, 1)]

    assert not allows(ledger, Topic.BACK_IN_STOCK)


@given(ledgers, st.integers(1, 5))
def test_a_trait_that_a_client_repeats_is_not_a_new_word(ledger: list[ConsentRecord], repeats: int) -> None:
    """`newsletter: true` kept in a browser since last year does not outvote yesterday's unsubscribe."""
    kept = ConsentRecord(topic=Topic.MARKETING, granted=True, at=START, source=IDENTIFY)
    no = ConsentRecord(topic=Topic.MARKETING, granted=False, at=LATER)
    again = [kept.model_copy(update={"at": LATER + timedelta(hours=n)}) for n in range(1, repeats + 1)]
    earlier = [record for record in ledger if record.source != IDENTIFY]

    assert not allows([*earlier, kept, no, *again], Topic.MARKETING)


def test_a_trait_that_changes_is_a_word() -> None:
    """Withdrawn and granted anew in the same place: the customer has decided again."""
    states = [(True, 0), (False, 1), (True, 2)]
    ledger = [
        ConsentRecord(topic=Topic.MARKETING, granted=granted, at=START + timedelta(hours=hour), source=IDENTIFY)
        for granted, hour in states
    ]

    assert [allows(ledger[: n + 1], Topic.MARKETING) for n in range(3)] == [True, False, True]
    assert asked_for_mail(ledger) == START + timedelta(hours=2)


# --- what cannot be understood


@given(ledgers, topics, st.sampled_from(["", "newsleter", "carrier_pigeon"]), moments)
def test_a_line_that_cannot_be_understood_grants_nothing_and_refuses_everything(
    ledger: list[ConsentRecord], topic: Topic, unknown: str, at: datetime
) -> None:
    """Unclear means no: a topic of another version, or one that somebody misspelt in the database."""
    line = {"topic": unknown, "at": at, "source": "form", "confirmation": None, "address": None}
    yes, no = (SimpleNamespace(granted=granted, **line) for granted in (True, False))

    assert allows(understood([*ledger, yes]), topic) == allows(ledger, topic)
    assert not allows(understood([*ledger, no]), topic) or any(record.at > at for record in ledger)
    assert not allows(understood([*ledger, SimpleNamespace(**{**vars(no), "at": LATER})]), topic)


# --- double opt-in

MINE, THEIRS = "ada@example.com", "somebody@example.com"
asking = st.builds(
    ConsentRecord,
    topic=topics,
    granted=st.just(True),
    at=moments,
    source=st.sampled_from([IDENTIFY, "form"]),
    confirmation=st.just(Confirmation.AWAITED),
)
refusals = st.builds(
    ConsentRecord, topic=topics, granted=st.just(False), at=moments, source=st.sampled_from([IDENTIFY, "page"])
)
confirmations = st.builds(
    ConsentRecord,
    topic=topics,
    granted=st.just(True),
    at=moments,
    source=st.just("double_opt_in"),
    confirmation=st.just(Confirmation.GIVEN),
    address=st.sampled_from([MINE, THEIRS]),
)
lives = st.lists(asking | refusals | confirmations, max_size=8)


@given(st.lists(asking | refusals, max_size=8), topics, st.sampled_from([MINE, None]))
def test_whatever_is_asked_for_nothing_is_allowed_before_the_confirmation(
    ledger: list[ConsentRecord], topic: Topic, address: str | None
) -> None:
    """In any order, with repetitions and refusals between: no marketing leaves, and no unsubscribe is taken back."""
    assert not allows(ledger, topic, address)
    assert not wants_mail(ledger, address)
    assert asked_for_mail(ledger, address) is None


@given(ledgers, lives, st.lists(asking, min_size=1, max_size=3), topics)
def test_what_awaits_a_confirmation_changes_nothing(
    before: list[ConsentRecord], life: list[ConsentRecord], asked: list[ConsentRecord], topic: Topic
) -> None:
    """Neither for better nor for worse, also beside consent from before the store asked for confirmations."""
    ledger = [*before, *life]

    assert allows([*ledger, *asked], topic, MINE) == allows(ledger, topic, MINE)
    assert asked_for_mail([*ledger, *asked], MINE) == asked_for_mail(ledger, MINE)


@given(lives, topics)
def test_a_confirmation_counts_for_the_address_that_it_came_from(life: list[ConsentRecord], topic: Topic) -> None:
    """Whoever changes the address of an account cannot take the consent along to somebody who never gave it."""
    theirs = [record for record in life if record.address != MINE]

    assert not allows(theirs, topic, MINE)
    assert not allows(life, topic, None)


@given(lives, st.randoms())
def test_confirming_all_that_awaits_leaves_nothing_to_confirm_and_allows_it(
    life: list[ConsentRecord], random: Random
) -> None:
    """In whatever order the lines are written, and however often."""
    asked = awaiting(life, MINE)
    answer = [
        ConsentRecord(topic=topic, granted=True, at=LATER, confirmation=Confirmation.GIVEN, address=MINE)
        for topic in asked
    ]
    ledger = [*life, *answer, *answer]
    random.shuffle(ledger)

    assert awaiting(ledger, MINE) == frozenset()
    assert all(allows(ledger, topic, MINE) for topic in asked)
    assert {topic for topic in TOPICS if allows(ledger, topic, MINE)} >= {t for t in TOPICS if allows(life, t, MINE)}


@given(lives, topics)
def test_a_withdrawal_leaves_nothing_to_confirm(life: list[ConsentRecord], topic: Topic) -> None:
    """The link in a mail from before it must not bring back what was refused after it."""
    own = [*life, ConsentRecord(topic=topic, granted=False, at=LATER)]
    everything = [*life, ConsentRecord(topic=Topic.MARKETING, granted=False, at=LATER)]

    assert topic not in awaiting(own, MINE)
    assert awaiting(everything, MINE) == frozenset()


@given(ledgers, topics)
def test_consent_from_before_the_store_asked_keeps_counting_and_is_not_asked_for_again(
    ledger: list[ConsentRecord], topic: Topic
) -> None:
    """A client that repeats it begins nothing."""
    again = ConsentRecord(topic=topic, granted=True, at=LATER, confirmation=Confirmation.AWAITED)

    assert awaiting(ledger, MINE) == frozenset()
    assert (topic in awaiting([*ledger, again], MINE)) != allows(ledger, topic, MINE)
