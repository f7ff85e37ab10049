"""Which message an order is credited to."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.attribution import WINDOW, Candidate, credited

ORDERED = datetime(2026, 3, 10, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SENT = ORDERED - timedelta(days=20)

moments = st.integers(-10 * 24, 48).map(lambda hours: ORDERED + timedelta(hours=hours))
codes = st.sampled_from([None, "CART10", "cart10", "COMEBACK15"])
mailings = st.lists(
    st.builds(
        Candidate,
        message_id=st.integers(1, 6).map(lambda n: UUID(int=n)),
        sent_at=moments,
        clicked_at=st.none() | moments,
        discount_code=codes,
    ),
    max_size=6,
    unique_by=lambda message: message.message_id,
)
refs = st.none() | st.integers(1, 8).map(lambda n: UUID(int=n))


def message(number, clicked=None, code=None, sent=SENT):
    return Candidate(message_id=UUID(int=number), sent_at=sent, clicked_at=clicked, discount_code=code)


@pytest.mark.parametrize(
    ("clicked", "counts"),
    [
        (ORDERED, True),
        (ORDERED + TICK, False),
        (ORDERED - WINDOW, True),
        (ORDERED - WINDOW - TICK, False),
    ],
)
def test_a_click_counts_from_five_days_before_to_the_moment_of_the_order(clicked, counts):
    """Both edges belong to the window."""
    assert credited([message(1, clicked)], ORDERED, None, None) == (UUID(int=1) if counts else None)


@given(mailings, codes, refs)
def test_no_message_sent_after_the_order_is_credited(messages, coupon, ref):
    """Whatever its clicks, codes and links say."""
    winner = credited(messages, ORDERED, coupon, ref)

    assert winner is None or any(m.message_id == winner and m.sent_at <= ORDERED for m in messages)


@given(mailings, codes, refs, st.randoms())
def test_the_order_of_the_messages_does_not_matter(messages, coupon, ref, random):
    """Even of messages sent or clicked at the same instant."""
    shuffled = list(messages)
    random.shuffle(shuffled)

    assert credited(shuffled, ORDERED, coupon, ref) == credited(messages, ORDERED, coupon, ref)


@given(mailings, codes, refs)
def test_the_newest_click_in_the_window_wins(messages, coupon, ref):
    """Over any code or link."""
    clicks = [m.clicked_at for m in messages if m.clicked_at and m.sent_at <= ORDERED]
    in_window = [at for at in clicks if ORDERED - WINDOW <= at <= ORDERED]
    if in_window:
        winner = credited(messages, ORDERED, coupon, ref)
        assert max(in_window) == next(m.clicked_at for m in messages if m.message_id == winner)


def test_without_a_click_the_link_counts_and_then_the_code():
    """A click older than the window leaves the order to the link it came by, else to the newest bearer of its code."""
    old = ORDERED - WINDOW - TICK
    messages = [message(1, old), message(2, code="CART10"), message(3, code="Cart10", sent=SENT + TICK)]

    assert credited(messages, ORDERED, "CART10", UUID(int=1)) == UUID(int=1)
    assert credited(messages, ORDERED, "cart10", None) == UUID(int=3)
    assert credited(messages, ORDERED, "cart10", UUID(int=9)) == UUID(int=3)
    assert credited(messages, ORDERED, "OTHER", None) is None
    assert credited([message(1, code="")], ORDERED, "", None) is None


def test_two_bearers_of_a_code_sent_at_the_same_instant_have_one_winner():
    """Whichever comes first in the list."""
    pair = [message(1, code="CART10"), message(2, code="CART10")]

    assert credited(pair, ORDERED, "CART10", None) == credited(pair[::-1], ORDERED, "CART10", None)
