"""The door of the event store: requests that arrive together are committed together.

Whoever calls `accept` returns after the commit. While one commit is under way the next requests gather, so the
number of commits follows the speed of the disk and not the number of requests.

No IP address comes through the door whole, whoever brings it, but for one: that of a customer who gives or withdraws
consent, if the store keeps it as evidence; it stands in `events.ip` and in the consent ledger. A payload that comes written
is one without (`domain.events.Kept`); any other is written here.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, cast
from uuid import UUID

import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters import tracing
from adapters.metrics import COMMIT_SECONDS, EVENTS
from adapters.postgres.retention_policies import KeptAddresses
from adapters.postgres.tenancy import ACT, acting_as
from domain import ids
from domain.consent import tells_consent
from domain.decoding import facts
from domain.errors import InvalidEvent, JourneysError, Overloaded, Unavailable
from domain.events import Event, EventType, kept, shortened
from domain.gate import may_forbid
from domain.ip_addresses import anonymised
from domain.vocabulary import heard_as

_log = structlog.get_logger(__name__)

# The values go in binary: as text, Postgres' arrays want every quote in a payload escaped.
# A commit is one round trip, and one of these for each store in it; the routers hear of it only if it commits. The
# answer is which events were known already: hardly ever one.
#
# `dedup_keys` says which events are new; only those go on into `events`. `is true` keeps the planner from
# comparing each with each.
#
# `held` makes "acknowledged before the claim" exact (G4): an event that may forbid a message takes a share of its
# customers' row locks until it is committed. A claim takes the whole lock, so it either waits and then sees the event,
# or has committed before the event is acknowledged. The router's weaker lock is not in the way. Which events may forbid
# a message is fixed, except for the exits of a store's follow-ups: one look at its plans per commit.
_INSERT = """
    with told as (
        select * from unnest(cast(%(store_id)b as text[]), cast(%(id)b as uuid[]), cast(%(message_id)b as text[]),
                    cast(%(type)b as text[]), cast(%(name)b as text[]), cast(%(user_id)b as text[]),
                    cast(%(anonymous_id)b as text[]), cast(%(email)b as text[]), cast(%(customer_id)b as uuid[]),
                    cast(%(payload)b as text[]), cast(%(at)b as timestamptz[]), cast(%(received_at)b as timestamptz[]),
                    cast(%(ip)b as text[]), cast(%(shard)b as smallint[]), cast(%(forbids)b as boolean[]),
                    cast(%(heard_as)b as text[]), cast(%(traceparent)b as text[]))
             as e (store_id, id, message_id, type, name, user_id, anonymous_id, email, customer_id, payload, at,
                   received_at, ip, shard, forbids, heard_as, traceparent)
    ), exits as (
        select p.store_id, jsonb_array_elements_text(p.plan -> 'exits') as name from plans p
        where p.store_id in (select store_id from told) and p.journey like 'follow-up/%%'
    ), forbidding as (
        select * from told where forbids or (store_id, heard_as) in (select store_id, name from exits)
    ), held as (
        select c.customer_id from customers c where (c.store_id, c.customer_id) in (
            select i.store_id, i.customer_id from forbidding f
              join identities i on i.store_id = f.store_id and i.kind = 'user' and i.value = f.user_id
            union select i.store_id, i.customer_id from forbidding f
              join identities i on i.store_id = f.store_id and i.kind = 'anonymous' and i.value = f.anonymous_id
            union select i.store_id, i.customer_id from forbidding f
              join identities i on i.store_id = f.store_id and i.kind = 'email' and i.value = f.email
            union select m.store_id, coalesce(m.merged_into, m.customer_id) from forbidding f
              join customers m on m.store_id = f.store_id and m.customer_id = f.customer_id
        ) for key share of c
    ), new as (
        insert into dedup_keys (store_id, message_id, event_id)
        select e.store_id, e.message_id, e.id from told e where (select count(*) from held) is not null
        on conflict (store_id, message_id) do nothing
        returning event_id
    ), stored as (
        insert into events (store_id, id, message_id, type, name, user_id, anonymous_id, email, customer_id, payload,
                            at, received_at, ip, shard, traceparent)
        select e.store_id, e.id, e.message_id, e.type, e.name, e.user_id, e.anonymous_id, e.email, e.customer_id,
               e.payload::jsonb, e.at, e.received_at, e.ip, e.shard, e.traceparent
        from told e where (e.id in (select event_id from new)) is true
    )
    select case when (select count(*) from new) < cardinality(%(id)b)
                then (select array_agg(id) from told where id not in (select event_id from new)) end,
           (select pg_notify('journeys_events', '') where exists (select from new))
"""
# Data exceptions and exceeded limits of one row; everything else may pass when it is tried again.
_FOR_GOOD = ("22", "54")


class _Row(NamedTuple):
    """An event as `_INSERT` takes it."""

    store_id: str
    id: UUID
    message_id: str
    type: EventType
    name: str | None
    user_id: str | None
    anonymous_id: str | None
    email: str | None
    customer_id: UUID | None
    payload: str
    at: datetime
    received_at: datetime
    ip: str | None
    shard: int
    forbids: bool
    heard_as: str | None
    traceparent: str | None


@dataclass(frozen=True)
class _Request:
    """Events that are accepted or refused together."""

    rows: list[_Row]
    size: int
    stored: asyncio.Future[int]


class EventStore:
    """Store accepted events, once each.

    Attributes:
        commits: How many commits there were, for whoever wants to see that they are shared.
    """

    def __init__(
        self, engine: AsyncEngine, *, capacity: int = 32 << 20, share: int = 512 << 10, patience: float = 10.0
    ) -> None:
        """Wire the store to a database.

        Args:
            engine: Where the events go.
            capacity: Bytes of payload that may wait for a commit; more is refused.
            share: Bytes of payload in one commit.
            patience: Seconds that one commit may take.
        """
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._kept_addresses = KeptAddresses(engine)
        self._capacity, self._share, self._patience = capacity, share, patience
        self._waiting: deque[_Request] = deque()
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self.commits = 0

    async def accept(self, events: Sequence[Event]) -> int:
        """Store events; returns after the commit.

        Returns:
            How many of them were new; a `message_id` that its store already has changes nothing.

        Raises:
            Overloaded: Too much is waiting already.
            Unavailable: The database cannot be reached or cannot write now.
            InvalidEvent: The database cannot represent one of the events.
        """
        if not events:
            return 0
        told = {event.store_id for event in events if event.ip is not None}
        whole = {store_id for store_id in told if await self._kept_addresses.whole(store_id)}
        rows = _rows(events, whole)
        request = _Request(rows, sum([len(row.payload) for row in rows]), asyncio.get_running_loop().create_future())
        if self._waiting and self._bytes + request.size > self._capacity:
            raise Overloaded
        self._waiting.append(request)
        self._bytes += request.size
        if self._writer is None:
            self._writer = asyncio.create_task(self._drain(), name="journeys-ingest")
        return await request.stored

    async def close(self) -> None:
        """Wait until everything accepted is committed."""
        if self._writer is not None:
            await self._writer

    async def _drain(self) -> None:
        try:
            while self._waiting:
                while self._waiting:
                    requests = self._next_share()
                    try:
                        await self._commit(requests)
                    except Exception as problem:  # noqa: BLE001 - a defect must fail these requests, not hang them and all later ones
                        _settle(requests, problem)
                await self._let_go()
        finally:
            self._writer = None

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, psycopg.Error, OSError):  # a broken one is the pool's to replace
                await connection.close()

    def _next_share(self) -> list[_Request]:
        requests = [self._waiting.popleft()]
        size = requests[0].size
        while self._waiting and size + self._waiting[0].size <= self._share:
            requests.append(self._waiting.popleft())
            size += requests[-1].size
        self._bytes -= size
        return requests

    async def _commit(self, requests: list[_Request]) -> None:
        try:
            known = await self._insert([row for request in requests for row in request.rows])
        except InvalidEvent as problem:
            if len(requests) == 1:
                _settle(requests, problem)
                return
            for request in requests:
                await self._commit([request])
        except JourneysError as problem:
            _settle(requests, problem)
        else:
            for request in requests:
                if not request.stored.done():
                    again = sum(row.id in known for row in request.rows) if known else 0
                    request.stored.set_result(len(request.rows) - again)

    async def _insert(self, rows: list[_Row]) -> set[UUID]:
        """Write rows, in one commit; return the ids of those that were known."""
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._patience):
                # Kept while there is work: the pool tries a connection before each use, one more round trip.
                self._connection = self._connection or await self._engine.connect()
                known = await _write(self._connection, rows)
        except (SQLAlchemyError, psycopg.Error, OSError, TimeoutError) as problem:
            state = problem.sqlstate if isinstance(problem, psycopg.Error) else None
            _log.warning("events not stored", error=type(problem).__name__, sqlstate=state, events=len(rows))
            if state is not None and state.startswith(_FOR_GOOD):
                raise InvalidEvent("event", "cannot be stored") from problem
            raise Unavailable("the event could not be stored now; send it again") from problem
        self.commits += 1
        COMMIT_SECONDS.observe(time.perf_counter() - begun)
        again = Counter([row.type for row in rows if row.id in known] if known else ())
        for kind, count in Counter([row.type for row in rows]).items():
            EVENTS.labels(kind, "known").inc(again[kind])
            EVENTS.labels(kind, "stored").inc(count - again[kind])
        return known


async def _write(connection: AsyncConnection, rows: Sequence[_Row]) -> set[UUID]:
    """Write events in one transaction, which is sent as a whole; those of each store in this store's name.

    Returns:
        The ids of those that were known.
    """
    # Always in the same order, so that two processes with the same events wait for, not lock out, each other.
    once = {row.id: row for row in rows}
    rows = sorted(once.values(), key=attrgetter("store_id", "message_id"))
    driver = cast("psycopg.AsyncConnection", (await connection.get_raw_connection()).driver_connection)
    answers = []
    try:
        async with driver.pipeline(), driver.transaction():
            for store_id, told in groupby(rows, key=attrgetter("store_id")):
                await driver.execute(ACT, acting_as(store_id))
                columns = dict(zip(_Row._fields, map(list, zip(*told, strict=True)), strict=True))
                answers.append(await driver.execute(_INSERT, columns))
    except BaseException as problem:
        # The pool does not see what goes wrong here, so it is told of a connection that may be in the midst of it.
        if not isinstance(problem, psycopg.Error) or driver.closed:
            await connection.invalidate(problem)
        raise
    return {event_id for answer in answers for known, _ in await answer.fetchall() for event_id in known or ()}


def _settle(requests: list[_Request], problem: Exception) -> None:
    for request in requests:
        if not request.stored.done():
            request.stored.set_exception(problem)


def _address(event: Event, *, whole: bool) -> str | None:
    if event.ip is None or (whole and tells_consent(facts(event, "XXX"))):
        return event.ip
    return anonymised(event.ip)


def _rows(events: Sequence[Event], whole: Collection[str]) -> list[_Row]:
    # A step with all of them before the next one costs a processor less than all steps with one (docs/performance.md).
    payloads = [event.kept or kept(shortened(event.payload)) for event in events]
    traceparent = tracing.traceparent()
    return [
        _Row(
            event.store_id, event.id, event.message_id, event.type, event.name, *event.who, payload.decode(), event.at,
            event.received_at, _address(event, whole=event.store_id in whole),
            ids.shard(event.store_id, event.who.lane), may_forbid(event.type, event.name),
            heard_as(event.type, event.name), traceparent,
        )
        for event, payload in zip(events, payloads, strict=True)
    ]  # fmt: skip
