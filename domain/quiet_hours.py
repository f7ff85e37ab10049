"""Quiet hours: when nothing may go out where the customer is, and the first moment after that.

They are about the local wall clock, which jumps: all arithmetic here is on moments, and the wall clock is only looked
at. It runs in the activity, never in a workflow, because the rules of the zones differ between workers.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from domain.values import Value

SUNDAY = 7
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_NEVER = timedelta(days=366)
_FIXED = {"FR": ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))}
_AFTER_EASTER = {"FR": (1, 39, 50)}


class QuietHours(Value):
    """Hours of the local day, and whole local days, in which nothing goes out.

    Attributes:
        start: When they begin; a message may not go out at this very moment.
        end: When they end; a message may. Before `start`: they go on over midnight.
        weekdays: Days that are quiet from midnight to midnight, as ISO counts them (1: Monday).
        holidays: The country whose public holidays are quiet, too.
    """

    start: time = time(21)
    end: time = time(8)
    weekdays: frozenset[int] = Field(default=frozenset(), max_length=6)
    holidays: Literal["FR"] | None = None

    @model_validator(mode="after")
    def _leave_some_hours(self) -> Self:
        if self.start == self.end:
            raise ValueError("the quiet hours must begin and end at different times")
        if not self.weekdays <= frozenset(range(1, 8)):
            raise ValueError("weekdays are 1 (Monday) to 7 (Sunday)")
        if self.start.tzinfo is not None or self.end.tzinfo is not None:
            raise ValueError("quiet hours are times of the customer's own clock, without a zone")
        return self

    def cover(self, wall: datetime) -> bool:
        """Tell whether a local time is quiet."""
        if wall.isoweekday() in self.weekdays or (self.holidays and wall.date() in _holidays(self.holidays, wall.year)):
            return True
        now = wall.time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def next_change(self, wall: datetime) -> datetime:
        """Return the next local time at which they may end, on a clock that does not jump."""
        midnight = datetime.combine(wall.date() + _DAY, time())
        ends = (datetime.combine(wall.date(), self.end), datetime.combine(wall.date() + _DAY, self.end), midnight)
        return min(end for end in ends if end > wall)


LAWS: dict[tuple[str, str], QuietHours] = {
    ("sms", "FR"): QuietHours(start=time(20, 30), weekdays=frozenset({SUNDAY}), holidays="FR"),
    ("sms", "US"): QuietHours(),
}
"""By channel and country what the law or the operators want, on top of the store's own (docs/sending-rules.md)."""


def waking(hours: Sequence[QuietHours], zone: tzinfo, now: datetime) -> datetime:
    """Return the first moment, not before now, that is in none of the quiet hours.

    Quiet hours that together leave nothing give a moment more than a year ahead: what waits for it expires.
    """
    moment = now
    while any(one.cover(wall := moment.astimezone(zone).replace(tzinfo=None)) for one in hours):
        if moment - now > _NEVER:
            break
        change = moment + (min(one.next_change(wall) for one in hours) - wall)
        moment = _jump(zone, moment, change) or change
    return moment.astimezone(UTC)


def zone_of(*names: str | None) -> str:
    """Return the first of some names that is a time zone; UTC if none is."""
    return next((name for name in names if name and _is_zone(name)), "UTC")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, not a name, or a folder of zones
        return False
    return True


def _jump(zone: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """Return the moment, after one and not after another, at which the wall clock jumps, if it does.

    No zone has ever jumped twice within a week, and they all jump at whole seconds.
    """
    low, high = after.astimezone(UTC).replace(microsecond=0), until.astimezone(UTC)
    before = _offset(zone, low)
    if _offset(zone, high) == before:
        return None
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return high.replace(microsecond=0)


def _offset(zone: tzinfo, moment: datetime) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


def _holidays(country: str, year: int) -> frozenset[date]:
    fixed = {date(year, month, day) for month, day in _FIXED[country]}
    return frozenset(fixed | {_easter(year) + days * _DAY for days in _AFTER_EASTER[country]})


def _easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar (Meeus/Jones/Butcher)."""
    century, rest = divmod(year, 100)
    moon = (19 * (year % 19) + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    week = (32 + 2 * (century % 4) + 2 * (rest // 4) - moon - rest % 4) % 7
    shift = (year % 19 + 11 * moon + 22 * week) // 451
    month, day = divmod(moon + week - 7 * shift + 114, 31)
    return date(year, month, day + 1)
