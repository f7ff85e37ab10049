"""Quiet hours on the customer's own clock, in every zone and across every jump of its clock."""

import struct
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files
from random import Random
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.errors import InvalidInput
from domain.quiet_hours import LAWS, QuietHours, waking, zone_of
from domain.sending_rules import RECOMMENDED, SendingRules, validated

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
NIGHT = QuietHours()
FRANCE = LAWS["sms", "FR"]
ZONES = sorted(available_timezones() - {"localtime", "Factory"})

clocks = st.times().map(lambda clock: clock.replace(microsecond=0))
some_hours = (
    st.tuples(clocks, clocks, st.frozensets(st.integers(1, 7), max_size=2))
    .filter(lambda drawn: drawn[0] != drawn[1])
    .map(lambda drawn: QuietHours(start=drawn[0], end=drawn[1], weekdays=drawn[2]))
)
moments = st.datetimes(datetime(1900, 1, 2), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def is_quiet(hours: QuietHours, zone: ZoneInfo, moment: datetime) -> bool:
    """Say it once more, in the plainest words."""
    wall = moment.astimezone(zone)
    clock = wall.replace(tzinfo=None).time()
    over_midnight = hours.start > hours.end
    in_hours = clock >= hours.start or clock < hours.end if over_midnight else hours.start <= clock < hours.end
    return in_hours or wall.isoweekday() in hours.weekdays


def check(hours: QuietHours, zone: ZoneInfo, now: datetime, random: Random) -> None:
    """The moment is not before now, not quiet, and every moment before it is."""
    first = waking([hours], zone, now)
    assert first >= now
    assert not is_quiet(hours, zone, first)
    if first > now:
        between = (now + (first - now) * random.uniform(0, 0.99) for _ in range(4))
        assert all(is_quiet(hours, zone, moment) for moment in (now, max(now, first - SECOND), *between))


def jumps(content: bytes) -> list[datetime]:
    """Every moment at which a zone's clock may jump, from its compiled file (RFC 8536)."""
    first = struct.unpack(">6l", content[20:44])
    second = 44 + first[3] * 5 + first[4] * 6 + first[5] + first[2] * 8 + first[1] + first[0]
    count = struct.unpack(">l", content[second + 32 : second + 36])[0]
    written = struct.unpack(f">{count}q", content[second + 44 : second + 44 + 8 * count])
    return [datetime.fromtimestamp(moment, UTC) for moment in written if moment > -4_000_000_000]


def test_every_jump_of_every_zone_is_survived():
    """All transitions of tzdata: quiet hours that begin, end, or lie across the hour that is skipped or repeated."""
    random = Random(7)
    kept = (NIGHT, QuietHours(start=time(2, 30), end=time(3)), QuietHours(start=time(1), end=time(2, 30)))
    seen: dict[bytes, str] = {}
    checked = 0
    for name in ZONES:
        content = files("tzdata.zoneinfo").joinpath(*name.split("/")).read_bytes()
        if seen.setdefault(content, name) != name:
            continue
        zone = ZoneInfo(name)
        for jump in jumps(content):
            for hours in kept:
                now = jump + timedelta(seconds=random.choice((0, -1, 1, random.randint(-40_000, 10_000))))
                check(hours, zone, now, random)
            checked += 1
    assert checked > 10_000
    assert len(seen) > 300


@given(st.sampled_from(ZONES), some_hours, moments, st.randoms(use_true_random=False))
def test_the_first_moment_outside_is_found_in_any_zone(name, hours, now, random):
    """Any quiet hours, any weekdays, any moment of 160 years; also the rules beyond what is written down."""
    check(hours, ZoneInfo(name), now, random)


def test_a_skipped_end_ends_the_quiet_hours_at_the_jump():
    """Berlin, 29 March 2026: 02:00 becomes 03:00; hours until 02:30 are over at 03:00, which is 01:00 UTC."""
    hours = QuietHours(start=time(21), end=time(2, 30))
    now = datetime(2026, 3, 29, 0, 15, tzinfo=UTC)

    assert waking([hours], ZoneInfo("Europe/Berlin"), now) == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_of_a_repeated_end_the_first_one_counts():
    """Berlin, 25 October 2026: 02:30 comes twice; the first is 00:30 UTC."""
    hours = QuietHours(start=time(21), end=time(2, 30))
    now = datetime(2026, 10, 24, 23, tzinfo=UTC)

    assert waking([hours], ZoneInfo("Europe/Berlin"), now) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-07-13T21:00+02:00", "2026-07-15T08:00+02:00"),  # Bastille Day follows
        ("2026-07-18T20:30+02:00", "2026-07-20T08:00+02:00"),  # a Saturday evening, so Sunday follows
        ("2026-04-04T21:00+02:00", "2026-04-07T08:00+02:00"),  # Easter Sunday and Monday follow
        ("2026-05-13T22:00+02:00", "2026-05-15T08:00+02:00"),  # Ascension
        ("2026-05-25T12:00+02:00", "2026-05-26T08:00+02:00"),  # Whit Monday
        ("2026-07-16T20:29+02:00", "2026-07-16T20:29+02:00"),
    ],
)
def test_french_sundays_and_holidays_are_quiet_for_text_messages(now, then):
    """The calendar of a country where the operators have one."""
    found = waking([FRANCE], ZoneInfo("Europe/Paris"), datetime.fromisoformat(now))
    assert found == datetime.fromisoformat(then)


def test_a_law_holds_whatever_the_store_has_set_and_mail_has_none():
    """The store's own hours come on top; a customer who said nothing lives in the store's country."""
    rules = SendingRules(country="FR", quiet_hours={"email": NIGHT})

    assert rules.quiet("sms", None) == (FRANCE,)
    assert rules.quiet("sms", "US") == (LAWS["sms", "US"],)
    assert rules.quiet("sms", "DE") == ()
    assert rules.quiet("email", "FR") == (NIGHT,)
    assert RECOMMENDED.quiet("email", None) == (NIGHT,)


def test_hours_that_leave_nothing_give_a_moment_that_no_deadline_waits_for():
    """A store's day and a law's night may cover everything: an answer all the same."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    day = QuietHours(start=time(7), end=time(22))

    assert waking([NIGHT, day], ZoneInfo("Asia/Tokyo"), now) > now + timedelta(days=365)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "America", "europe\0berlin", "Europe/Berlin\n", None]
)
def test_a_zone_that_is_none_gives_way_to_the_stores(name):
    """Clients send anything as a time zone; then the store's counts, and at last UTC."""
    assert zone_of(name, "Europe/Berlin") == "Europe/Berlin"
    assert zone_of(name, name) == "UTC"
    assert zone_of("Asia/Tokyo", "Europe/Berlin") == "Asia/Tokyo"


@pytest.mark.parametrize(
    "settings",
    [
        {"start": "08:00", "end": "08:00"},
        {"weekdays": [1, 2, 3, 4, 5, 6, 7]},
        {"weekdays": [0]},
        {"holidays": "XX"},
        {"start": "21:00Z"},
        {"start": "25:00"},
    ],
)
def test_hours_that_make_no_sense_are_refused(settings):
    """A rule that can never let anything out is a mistake."""
    with pytest.raises(ValidationError):
        QuietHours.model_validate(settings)


def test_a_rule_that_does_not_exist_is_refused_by_name():
    """A typing error must not switch quiet hours off."""
    with pytest.raises(InvalidInput, match="quiet_hour"):
        validated({"quiet_hour": {}})


def test_easter_falls_where_the_church_puts_it():
    """Whit Monday and the rest hang on it."""
    for easter in (date(2000, 4, 23), date(2008, 3, 23), date(2024, 3, 31), date(2027, 3, 28), date(2038, 4, 25)):
        monday = datetime.combine(easter, time(12)) + timedelta(days=1)
        assert FRANCE.cover(monday)
        assert not FRANCE.cover(monday + timedelta(days=1))
