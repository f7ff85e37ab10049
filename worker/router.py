"""The router: turns stored events into state and Temporal commands, in order per customer.

Events are spread over lanes by identity. A router owns a lane (advisory lock) while it drains it, so several
routers share the work without doubling it, and the lane of one that dies is free at once. Every event goes
through two commits: `applied` (state changed, commands kept with the event) and `routed` (commands carried out).
A crash in between repeats the commands, and each of them may be repeated.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters import tracing
from adapters.metrics import EVENT_FAILURES, TROUBLES
from adapters.postgres import queue, runs, sales
from adapters.postgres.batch import Batch
from adapters.postgres.queue import Queued
from adapters.postgres.routing import means_nothing, prepare, route, settle
from adapters.postgres.tenancy import across_stores, act_across, act_as, as_store
from domain.commands import Command
from domain.errors import Unavailable
from domain.events import Event
from domain.ports import Clock
from worker import tally
from worker.lanes import HandOut, handfuls

log = structlog.get_logger("router")

RETRIES = (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2))
"""When an event that fails by itself is tried again; after the last it is parked for an operator."""
POLL = timedelta(seconds=1)
"""The safety net under NOTIFY."""
_BATCH = 200
_COMMANDS_AT_ONCE = 32
_BREATH_S = 0.04
"""Between two looks for lanes while some are worked on: each commit of the door wakes us, hundreds a second."""
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Executor(Protocol):
    """What carries out commands (adapters.temporal.engine.Engine)."""

    async def execute(self, store_id: str, command: Command) -> bool:
        """Carry out a command; False if its run is over. Raises Unavailable while Temporal is down."""
        ...


class Router:
    """Route events until told to stop. It serves every store; what is done for an event sees that store alone."""

    def __init__(
        self,
        engine: AsyncEngine,
        executor: Executor,
        clock: Clock,
        retries: Sequence[timedelta] = RETRIES,
        *,
        replays: bool = False,
    ) -> None:
        """Wire the router.

        Args:
            engine: Where the events wait.
            executor: Carries out what is decided.
            clock: Tells the business time.
            retries: When an event that fails by itself is tried again.
            replays: Recorded events are routed: each at the time at which it came in, not at the clock's.
        """
        self._engine = engine
        self._replays = replays
        self._executor = executor
        self._clock = clock
        self._retries = retries
        self._commands_at_once = asyncio.Semaphore(_COMMANDS_AT_ONCE)
        self._in_trouble = False
        self._pause_s = _SHORTEST_PAUSE_S
        self._wake = asyncio.Event()
        self._lanes = HandOut(self._look, self._drain_guarded, self._wake.set)
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._lanes.try_again()
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Route until `stopping` is set; batches under way are finished, and what else is in their lanes is left."""
        self._stopping = stopping
        while not stopping.is_set():
            self._wake.clear()
            try:
                await self._lanes.go_on()
            except (DBAPIError, PoolTimeout, OSError) as error:
                log.warning("database unavailable", error=type(error).__name__)
                TROUBLES.labels("database").inc()
                self._in_trouble = True
                self._wake.set()
            if self._lanes.tasks and not self._lanes.has_found:
                await asyncio.sleep(_BREATH_S)
            await self._rest(stopping)
            if self._in_trouble:
                await self._sit_out(stopping)
        await asyncio.gather(*self._lanes.tasks, return_exceptions=True)

    async def route_everything(self) -> None:
        """Route what is due now and return; for tests and backtests."""
        while True:
            got_on = [await self._drain(lanes) for lanes in handfuls(await self._look())]
            if not any(got_on):
                return

    async def route_these(self, events: Sequence[Event]) -> None:
        """Route events that were stored just now, in this order; for replays, whose queue nobody else reads."""
        await self._carry_out(await self._apply([Queued(event) for event in events]))

    async def _look(self) -> Mapping[int, int]:
        """Look for lanes with something to do."""
        async with across_stores(self._engine) as connection:
            waiting = await queue.waiting_lanes(connection, self._clock())
        if not waiting:
            self._all_is_well()
        return waiting

    async def _rest(self, stopping: asyncio.Event) -> None:
        """Wait for a notification, the end of a lane, or the poll; a stop cuts it short."""
        waits = [asyncio.create_task(self._wake.wait()), asyncio.create_task(stopping.wait())]
        try:
            await asyncio.wait(waits, timeout=POLL.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _sit_out(self, stopping: asyncio.Event) -> None:
        """Leave what is down in peace, longer each time until something works again."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), self._pause_s)
        self._in_trouble, self._pause_s = False, min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _all_is_well(self) -> None:
        self._in_trouble, self._pause_s = False, _SHORTEST_PAUSE_S

    async def _drain_guarded(self, lanes: Collection[int]) -> Collection[int]:
        """Drain lanes; whatever goes wrong is waited out."""
        try:
            got_on = await self._drain(lanes)
        except Unavailable as error:
            log.warning("events wait", because=str(error))
            TROUBLES.labels("temporal").inc()
            self._in_trouble = True
        except (DBAPIError, PoolTimeout, OSError) as error:
            log.warning("database unavailable", lanes=lanes, error=type(error).__name__)
            TROUBLES.labels("database").inc()
            self._in_trouble = True
        except Exception as error:  # noqa: BLE001 - the lanes are tried again; a traceback might quote an event
            log.error("lanes failed", lanes=lanes, error=type(error).__name__)  # noqa: TRY400
            TROUBLES.labels("lane").inc()
            self._in_trouble = True
        else:
            self._all_is_well()
            return got_on
        return ()

    async def _drain(self, lanes: Collection[int]) -> Collection[int]:
        """Route what is due in lanes; return those that we could have, if there was anything."""
        got_on: Collection[int] = ()
        async with self._owned(lanes) as (connection, ours):
            more = bool(ours)
            while more and not self._stopping.is_set():
                batch = await self._next(connection, ours)
                await self._carry_out(await self._apply(batch))
                got_on = got_on or (ours if batch else ())
                # What has come since then has woken the router, which looks at the lanes again; and so it does where
                # one of several has more than its share.
                more = len(batch) == _BATCH and len(ours) == 1
        return got_on

    async def _next(self, connection: AsyncConnection, lanes: Collection[int]) -> list[Queued]:
        """Read what is next in lanes, on the connection that owns them: who has lost them gets nothing."""
        await act_across(connection)
        batch = await queue.next_in_lanes(connection, lanes, _BATCH, self._clock())
        await connection.commit()
        return batch

    @contextlib.asynccontextmanager
    async def _owned(self, lanes: Collection[int]) -> AsyncIterator[tuple[AsyncConnection, Collection[int]]]:
        """Own lanes for the block, those that no other router has."""
        async with self._engine.connect() as connection:
            ours = await queue.take_lanes(connection, lanes)
            try:
                yield connection, ours
            finally:
                await connection.rollback()
                await queue.leave_lanes(connection, ours)
                await connection.commit()  # a rollback by the pool would have the driver forget what is prepared

    async def _apply(self, batch: Sequence[Queued]) -> list[Queued]:
        """Apply the pending events of a batch in one transaction; if that fails, one by one to find the culprit."""
        try:
            return await self._apply_together(batch)
        except PoolTimeout:
            raise
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
        except Exception as error:  # noqa: BLE001 - whatever one event does, the others go on
            log.debug("batch failed", error=type(error).__name__)
        done: list[Queued] = []
        held: set[tuple[str, str]] = set()
        for queued in batch:
            if _identity(queued) in held:
                continue
            try:
                done += await self._apply_together([queued])
            except (OperationalError, PoolTimeout):
                raise  # the database's trouble, not the event's
            except Exception as error:  # noqa: BLE001
                held.add(_identity(queued))
                await self._failed(queued, error)
        return done

    async def _apply_together(self, batch: Sequence[Queued]) -> list[Queued]:
        now = self._clock()
        shared = Batch()
        owed: list[Queued] = []
        applied: list[tuple[Queued, Sequence[Command]]] = []
        async with self._engine.begin() as connection:
            for store_id, events in _by_store(batch):
                await act_as(connection, store_id)
                terms = await settle(connection, store_id, shared)
                fresh = [queued for queued in events if queued.commands is None]
                idle = {queued.id for queued in fresh if means_nothing(queued, terms)}
                passed_by = await queue.pass_by(connection, list(idle))
                pending = await queue.still_pending(connection, [q.id for q in fresh if q.id not in idle])
                todo = await self._routed(connection, [q for q in fresh if q.id in pending], shared, now)
                await queue.mark_applied(connection, todo)
                for queued in events:
                    commands = todo.get(queued.id, queued.commands)
                    if commands:
                        owed.append(queued.owing(commands))
                    if queued.id in todo or queued.id in passed_by:
                        applied.append((queued, commands or ()))
            await sales.write(connection, shared.sales)
        tally.count(applied, now)
        return owed

    async def _routed(
        self, connection: AsyncConnection, pending: Sequence[Queued], shared: Batch, now: datetime
    ) -> dict[UUID, Sequence[Command]]:
        """Apply events of one store, and return what is to be done for each."""
        moments = [queued.received_at if self._replays else now for queued in pending]
        if pending:
            await prepare(connection, [(q.event, at) for q, at in zip(pending, moments, strict=True)], shared)
        todo: dict[UUID, Sequence[Command]] = {}
        for queued, at in zip(pending, moments, strict=True):
            with _step("route", queued):
                todo[queued.id] = await route(connection, queued.event, at, shared)
        return todo

    async def _carry_out(self, applied: Sequence[Queued]) -> None:
        """Carry out the commands: one identity's in order, different identities' side by side."""
        by_identity = sorted(applied, key=lambda queued: (_identity(queued), queued.id))
        groups = [list(group) for _, group in groupby(by_identity, key=_identity)]
        done: list[Queued] = []
        todo = (self._carry_out_in_order(group, done) for group in groups)
        outcomes = await asyncio.gather(*todo, return_exceptions=True)
        for store_id, events in _by_store(done):
            async with as_store(self._engine, store_id) as connection:
                await queue.mark_routed(connection, [queued.id for queued in events])
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _carry_out_in_order(self, group: Sequence[Queued], done: list[Queued]) -> None:
        for queued in group:
            try:
                await self._execute(queued)
                done.append(queued)
            except (Unavailable, DBAPIError, PoolTimeout):
                raise
            except Exception as error:  # noqa: BLE001 - parked with its error, never blocking another customer
                await self._failed(queued, error)
                return

    async def _execute(self, queued: Queued) -> None:
        store_id = queued.store_id
        for command in queued.commands or ():
            async with self._commands_at_once:
                with _step(command.kind, queued):
                    alive = await self._executor.execute(store_id, command)
            if not alive:
                async with as_store(self._engine, store_id) as connection:
                    await runs.end_gone(connection, store_id, command, self._clock())

    async def _failed(self, queued: Queued, error: Exception) -> None:
        """Note a failure of the event itself; after the last retry it is parked."""
        retry_at = None
        if queued.attempts < len(self._retries):
            retry_at = self._clock() + self._retries[queued.attempts]
        async with as_store(self._engine, queued.store_id) as connection:
            description = f"{type(error).__name__}: {error}"
            await queue.mark_failed(connection, queued.id, description, retry_at)
        EVENT_FAILURES.labels("parked" if retry_at is None else "retried").inc()
        # The message of an exception may quote the event, so only its type is logged; the row keeps the rest.
        log.error(
            "event failed", store_id=queued.store_id, event_id=str(queued.id), error=type(error).__name__,
            parked=retry_at is None,
        )  # fmt: skip


def _step(name: str, queued: Queued) -> AbstractContextManager[object]:
    """Go on with the trace of an event's request."""
    return tracing.span(name, parent=queued.traceparent, store_id=queued.store_id, event_id=str(queued.id))


def _by_store(batch: Sequence[Queued]) -> list[tuple[str, list[Queued]]]:
    """Sort a batch by store, each store's events in their order: a transaction sees one store at a time."""
    events = sorted(batch, key=attrgetter("store_id"))
    return [(store_id, list(group)) for store_id, group in groupby(events, key=attrgetter("store_id"))]


def _identity(queued: Queued) -> tuple[str, str]:
    """Whose events stay in order."""
    return queued.store_id, queued.event.who.lane
