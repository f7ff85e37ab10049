"""The meter: what each key takes, counted in memory and added up over all processes in Postgres, each second.

A request never waits for the database. So for up to a second a process does not know what the others have given away
of the same key; it learns it, and what was given too much is owed (docs/adr/0026-keys.md).
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.keys import Access
from adapters.postgres.tenancy import act_as
from domain.errors import LimitReached, Unavailable
from domain.limits import Limit

# The rows are locked in one order, and the stores one after the other, so that processes do not deadlock.
# The database's own clock, for it is one clock: by those of two machines a bucket would be full at different times.
_ADD_UP = text("""
    with taken as (
        select * from unnest(cast(:key_id as uuid[]), cast(:seconds as float8[]), cast(:age as float8[]))
             as t (key_id, seconds, age)
    ), held as (
        select k.key_id from keys k join taken t on t.key_id = k.key_id
        where k.store_id = :store_id order by k.key_id for update of k
    )
    update keys k
       set full_at = greatest(k.full_at, clock_timestamp() - make_interval(secs => t.age))
                     + make_interval(secs => t.seconds),
           last_used_at = greatest(k.last_used_at, cast(:now as timestamptz))
      from taken t join held h on h.key_id = t.key_id
     where k.store_id = :store_id and k.key_id = t.key_id
    returning k.key_id, cast(extract(epoch from k.full_at - clock_timestamp()) as float8) as full_in
""")


class Allowance(NamedTuple):
    """What a key may still take, as far as this process knows.

    Attributes:
        left: Tokens; less than none are owed.
        full_in: Seconds until the bucket is full, if nothing is taken.
    """

    limit: Limit
    left: float
    full_in: float


class _Untold(NamedTuple):
    """What was taken and not told yet, as the time in which it comes back, and since when."""

    store_id: str
    seconds: float
    since: float


class Meter:
    """Counts what keys take in this process, and says no when it is too much.

    Args:
        seconds: A clock that never jumps.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._full_at: dict[UUID, float] = {}
        self._untold: dict[UUID, _Untold] = {}

    def take(self, access: Access, cost: int) -> None:
        """Take tokens from a key's bucket.

        Raises:
            LimitReached: There is none; nothing was taken.
        """
        now = self._seconds()
        full_at = self._full_at.get(access.key_id, now)
        if (wait := access.limit.wait(full_at, now)) > 0:
            raise LimitReached(wait)
        self._full_at[access.key_id] = access.limit.taken(full_at, cost, now)
        self._owe(access.key_id, _Untold(access.store_id, cost / access.limit.per_second, now))

    def allowance(self, access: Access) -> Allowance:
        """Tell what a key may still take."""
        now = self._seconds()
        full_at = self._full_at.get(access.key_id, now)
        return Allowance(access.limit, access.limit.left(full_at, now), max(0.0, full_at - now))

    async def share(self, engine: AsyncEngine, now: datetime) -> None:
        """Tell the others what was taken here since the last time, and learn what they took of the same keys.

        Raises:
            Unavailable: The database does not answer; what was taken is told the next time.
        """
        seconds = self._seconds()
        self._full_at = {key_id: full_at for key_id, full_at in self._full_at.items() if full_at > seconds}
        telling, self._untold = self._untold, {}
        if not telling:
            return
        taken = [_Taken(key_id, one.store_id, one.seconds, seconds - one.since) for key_id, one in telling.items()]
        try:
            full_in = await _add_up(engine, taken, now)
        except (SQLAlchemyError, OSError) as problem:
            for key_id, one in telling.items():
                self._owe(key_id, one)
            raise Unavailable("the limits could not be added up now") from problem
        for key_id, wait in full_in.items():
            # What was taken while the database answered is not in its sum yet. Both sums are too low rather than too
            # high: ours lacks what the others took, theirs forgets that a full bucket does not fill.
            since = self._untold[key_id].seconds if key_id in self._untold else 0.0
            told = self._seconds() + wait + since
            self._full_at[key_id] = max(told, self._full_at.get(key_id, 0.0))

    def _owe(self, key_id: UUID, more: _Untold) -> None:
        known = self._untold.get(key_id)
        if known is not None:
            more = _Untold(known.store_id, known.seconds + more.seconds, min(known.since, more.since))
        self._untold[key_id] = more


class _Taken(NamedTuple):
    key_id: UUID
    store_id: str
    seconds: float
    age: float


async def _add_up(engine: AsyncEngine, taken: Sequence[_Taken], now: datetime) -> dict[UUID, float]:
    """Add to the sums of all processes; return the seconds until each bucket is full."""
    full_in: dict[UUID, float] = {}
    async with engine.begin() as connection:
        for store_id, group in groupby(sorted(taken, key=lambda one: one.store_id), key=lambda one: one.store_id):
            told = list(group)
            await act_as(connection, store_id)
            columns = {name: [getattr(one, name) for one in told] for name in ("key_id", "seconds", "age")}
            rows = await connection.execute(_ADD_UP, {**columns, "store_id": store_id, "now": now})
            full_in |= {row.key_id: row.full_in for row in rows}
    return full_in
