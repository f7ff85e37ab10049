"""The door of the event store: requests that arrive together are committed together.

Whoever calls `accept` returns after the commit. While one commit is under way (under load: three) the next requests
gather, so the number of commits follows the speed of the disk and not the number of requests.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.metrics import COMMIT_SECONDS, EVENTS
from adapters.postgres.arrivals import Row, rows_of, write
from adapters.postgres.at_once import unbegun
from adapters.postgres.retention_policies import KeptAddresses
from domain.errors import InvalidEvent, JourneysError, Overloaded, Unavailable
from domain.events import Event

_log = structlog.get_logger(__name__)

# Data exceptions and exceeded limits of one row; everything else may pass when it is tried again.
_FOR_GOOD = ("22", "54")
_WRITERS = 3
_LONGEST_REST_S = 0.02
"""Whoever came while a commit was made waits as long again, so that those who come by then share the next one: what a
commit costs by itself is half of it where requests come one by one (docs/performance.md)."""


@dataclass(frozen=True)
class _Request:
    """Events that are accepted or refused together."""

    rows: list[Row]
    size: int
    stored: asyncio.Future[int]


class _Connection:
    """A writer's connection, kept while there is work: the pool tries one before each use, one more round trip."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None

    async def open(self) -> AsyncConnection:
        if self._connection is not None and self._connection.invalidated:
            await self.let_go()  # by itself it would come back as one that does not commit
        self._connection = self._connection or await self._engine.connect()
        return self._connection

    async def let_go(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError, OSError):  # a broken one is the pool's to replace
                await self._connection.close()
        self._connection = None


class EventStore:
    """Store accepted events, once each.

    Attributes:
        commits: How many commits there were, for whoever wants to see that they are shared.
    """

    def __init__(
        self, engine: AsyncEngine, *, capacity: int = 32 << 20, share: int = 256 << 10, patience: float = 10.0
    ) -> None:
        """Wire the store to a database.

        Args:
            engine: Where the events go.
            capacity: Bytes of payload that may wait for a commit; more is refused.
            share: Bytes of payload in one commit; while so many wait for one that is under way, another begins.
            patience: Seconds that one commit may take.
        """
        self._engine = unbegun(engine)
        self._kept_addresses = KeptAddresses(engine)
        self._capacity, self._share, self._patience = capacity, share, patience
        self._waiting: deque[_Request] = deque()
        self._bytes = 0
        self._at_work = 0
        self._writers: set[asyncio.Task[None]] = set()
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
        rows = rows_of(events, whole)
        del events  # of which nothing else need be held while the commit is waited for
        request = _Request(rows, sum([len(row.payload) for row in rows]), asyncio.get_running_loop().create_future())
        if self._waiting and self._bytes + request.size > self._capacity:
            raise Overloaded
        self._waiting.append(request)
        self._bytes += request.size
        if not self._at_work or (self._at_work < _WRITERS and self._bytes >= self._share):
            self._at_work += 1
            writer = asyncio.create_task(self._drain(), name="journeys-ingest")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await request.stored

    async def close(self) -> None:
        """Wait until everything accepted is committed."""
        while self._writers:
            await asyncio.wait(self._writers)

    async def _drain(self) -> None:
        """Commit what waits, or as much of it as the other writers should not have alone.

        While the disk writes one commit down, Postgres reads the next, and the one after it is made here. What makes no
        whole share stays for one of them: in two halves it would only be one commit more.
        """
        connection = _Connection(self._engine)
        try:
            while self._waiting and (self._at_work == 1 or self._bytes >= self._share):
                requests, began = self._next_share(), time.perf_counter()
                try:
                    await self._commit(connection, requests)
                except Exception as problem:  # noqa: BLE001 - a defect must fail these requests, not hang them and all later ones
                    _settle(requests, problem)
                if self._waiting and self._at_work == 1 and self._bytes < self._share:
                    await asyncio.sleep(min(time.perf_counter() - began, _LONGEST_REST_S))
        finally:
            self._at_work -= 1
        await connection.let_go()

    def _next_share(self) -> list[_Request]:
        requests = [self._waiting.popleft()]
        size = requests[0].size
        while self._waiting and size + self._waiting[0].size <= self._share:
            requests.append(self._waiting.popleft())
            size += requests[-1].size
        self._bytes -= size
        return requests

    async def _commit(self, connection: _Connection, requests: list[_Request]) -> None:
        try:
            known = await self._insert(connection, [row for request in requests for row in request.rows])
        except InvalidEvent as problem:
            if len(requests) == 1:
                _settle(requests, problem)
                return
            for request in requests:
                await self._commit(connection, [request])
        except JourneysError as problem:
            _settle(requests, problem)
        else:
            for request in requests:
                if not request.stored.done():
                    again = sum(row.id in known for row in request.rows) if known else 0
                    request.stored.set_result(len(request.rows) - again)

    async def _insert(self, connection: _Connection, rows: list[Row]) -> set[UUID]:
        """Write rows, in one commit; return the ids of those that were known."""
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._patience):
                known = await write(await connection.open(), rows)
        except (SQLAlchemyError, OSError, TimeoutError) as problem:
            cause = problem.orig if isinstance(problem, DBAPIError) else problem
            state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
            _log.warning("events not stored", error=type(cause).__name__, sqlstate=state, events=len(rows))
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


def _settle(requests: list[_Request], problem: Exception) -> None:
    for request in requests:
        if not request.stored.done():
            request.stored.set_exception(problem)
