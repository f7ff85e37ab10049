"""An event's time is corrected for the client's clock and never lies in the future."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from domain.events import Who, corrected

RECEIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)
any_time = st.datetimes(timezones=st.just(UTC))


@given(any_time, st.none() | any_time, any_time)
def test_nothing_happened_in_the_future(original, sent_at, received_at):
    """Whatever the client's clock says, down to the ends of the calendar."""
    assert corrected(original, sent_at, received_at) <= received_at


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_a_clock_that_is_wrong_by_any_amount_makes_no_difference(skew_s, age_s):
    """ReceivedAt - (sentAt - originalTimestamp): only the client's own difference counts."""
    skew, age = timedelta(seconds=skew_s), timedelta(seconds=age_s)

    assert corrected(RECEIVED - age + skew, RECEIVED + skew, RECEIVED) == RECEIVED - age


def test_without_sent_at_the_client_is_trusted_about_the_past_only():
    """An import of old orders keeps its dates; a date in the future becomes now."""
    day = timedelta(days=1)

    assert corrected(RECEIVED - day, None, RECEIVED) == RECEIVED - day
    assert corrected(RECEIVED + day, None, RECEIVED) == RECEIVED


def test_time_zones_do_not_matter():
    """Clients send their own."""
    tokyo = timezone(timedelta(hours=9))

    assert corrected(RECEIVED.astimezone(tokyo), RECEIVED, RECEIVED) == RECEIVED


def test_events_stay_in_the_lane_of_the_surest_identity():
    """Our own id, then the shop's, then the browser's, then the address."""
    assert Who(user_id="1", anonymous_id="b", email="a@b.example").lane == "u:1"
    assert Who(anonymous_id="b", email="a@b.example").lane == "a:b"
    assert Who(email="a@b.example").lane == "e:a@b.example"
    assert Who().lane == "-"
