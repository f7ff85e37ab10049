"""The partitions of `events`: one for each week of arrival, by the time that an event's id begins with.

A week's table is made ahead of time; what fits in none (a clock that is wrong, weeks that nobody made) goes into
`events_default`, so no event is ever refused for want of a table. Only the owner of the tables may make and drop
tables: two functions of the owner's do that, for `events` alone, and drop no event that is not finished (ADR 0031).
"""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import ids
from domain.retention import Week

AHEAD = timedelta(weeks=4)
"""Tables are made for this long: if nobody makes any more, `events_default` is used only after it."""
_WEEK = timedelta(weeks=1)
_BOUNDS = re.compile(r"FOR VALUES FROM \((?:'([0-9a-f-]{36})'|MINVALUE)\) TO \('([0-9a-f-]{36})'\)")
_PARTITIONS = text("""
    select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds
      from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = cast('events' as regclass) order by c.relname
""")
_MAKE = text("select events_make_week(:monday)")
_DROP = text("select events_drop(:name)")


def monday_of(moment: datetime) -> datetime:
    """Return when the week of a moment began, in UTC."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def monday_after(moment: datetime) -> datetime:
    """Return when the week after that of a moment begins."""
    return monday_of(moment) + _WEEK


def weeks(since: datetime, now: datetime) -> list[datetime]:
    """Return the Mondays, from one on, of the weeks that should have a table now."""
    count = (monday_of(now + AHEAD) - since) // _WEEK + 1
    return [since + number * _WEEK for number in range(count)]


async def existing(connection: AsyncConnection) -> list[Week]:
    """Return every partition with bounds, the oldest first; the table from before there were weeks is one."""
    found = [(row.name, _BOUNDS.fullmatch(row.bounds)) for row in (await connection.execute(_PARTITIONS)).all()]
    known = [
        Week(name=name, since=UUID(bounds[1]) if bounds[1] else UUID(int=0), until=UUID(bounds[2]))
        for name, bounds in found
        if bounds is not None
    ]
    return sorted(known, key=lambda week: week.until)


async def missing(connection: AsyncConnection, now: datetime) -> list[datetime]:
    """Return the Mondays of the weeks, this one and those ahead, that have no table yet."""
    newest = max((week.until for week in await existing(connection)), default=UUID(int=0))
    return [monday for monday in weeks(monday_of(now), now) if ids.first_made_at(monday) >= newest]


async def make(connection: AsyncConnection, monday: datetime) -> str:
    """Make the table of a week; events of it that lie in `events_default` move there."""
    await connection.execute(_MAKE, {"monday": monday.date()})
    return name_of(monday)


async def drop(connection: AsyncConnection, name: str) -> bool:
    """Drop a partition with all its events; False if one of them is not finished."""
    return bool(await connection.scalar(_DROP, {"name": name}))


def name_of(monday: datetime) -> str:
    """Name the table of a week after its Monday."""
    return f"events_{monday:%Y%m%d}"
