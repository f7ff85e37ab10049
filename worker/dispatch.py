"""The dispatch of a batch: its events applied in one commit, its commands carried out, and another commit for that.

`applied` is state changed, with the commands kept in the event's row; `routed` is commands carried out. A crash in
between repeats the commands, and each of them may be repeated (docs/adr/0008-two-commits.md).
"""

import asyncio
from collections.abc import Collection, Sequence
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
from adapters.metrics import EVENT_FAILURES
from adapters.postgres import queue, routing, runs, sales
from adapters.postgres.at_once import BEGIN, COMMIT, Asked, acting, asked_at_once, begun, unbegun
from adapters.postgres.batch import Batch, Settled, Terms
from adapters.postgres.queue import Queued
from adapters.postgres.routing import means_nothing, prepare, route, settle
from adapters.postgres.tenancy import as_store
from domain.commands import Command
from domain.errors import Unavailable
from domain.ports import Clock
from worker import tally

log = structlog.get_logger("router")

RETRIES = (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2))
"""When an event that fails by itself is tried again; after the last it is parked for an operator."""
COMMANDS_AT_ONCE = 32


class Executor(Protocol):
    """What carries out commands (adapters.temporal.engine.Engine)."""

    async def execute(self, store_id: str, command: Command) -> bool:
        """Carry out a command; False if its run is over. Raises Unavailable while Temporal is down."""
        ...


class Dispatch:
    """Apply events and carry out what follows; one that fails by itself holds up its own identity and nobody else."""

    def __init__(
        self, engine: AsyncEngine, executor: Executor, clock: Clock, retries: Sequence[timedelta], *, replays: bool
    ) -> None:
        """Wire the dispatch; the arguments are those of the router."""
        self._engine, self._unbegun = engine, unbegun(engine)
        self._settled: dict[str, Settled] = {}
        self._executor = executor
        self._clock = clock
        self._retries = retries
        self._replays = replays
        self._commands_at_once = asyncio.Semaphore(COMMANDS_AT_ONCE)

    async def apply(self, batch: Sequence[Queued]) -> list[Queued]:
        """Apply the pending events of a batch in one transaction; if that fails, by halves to find the culprit."""
        return await self._apply_what_is_free(batch, set())

    async def _apply_what_is_free(self, batch: Sequence[Queued], held: set[tuple[str, str]]) -> list[Queued]:
        """Apply all but the events of the identities that are held up, and add to these whose event fails by itself."""
        free = [queued for queued in batch if _identity(queued) not in held] if held else batch
        if not free:
            return []
        try:
            return await self._apply_together(free)
        except PoolTimeout:
            raise
        except DBAPIError as error:
            # The database's trouble, not the event's.
            if error.connection_invalidated or (len(free) == 1 and isinstance(error, OperationalError)):
                raise
            problem: Exception = error
        except Exception as error:  # noqa: BLE001 - whatever one event does, the others go on
            problem = error
        if len(free) == 1:
            held.add(_identity(free[0]))
            await self._failed(free[0], problem)
            return []
        log.debug("batch failed", error=type(problem).__name__)
        middle = len(free) // 2
        before = await self._apply_what_is_free(free[:middle], held)
        return before + await self._apply_what_is_free(free[middle:], held)

    async def _apply_together(self, batch: Sequence[Queued]) -> list[Queued]:
        now = self._clock()
        shared = Batch(self._settled)
        owed: list[Queued] = []
        applied: list[tuple[Queued, Sequence[Command]]] = []
        stores = _by_store(batch)
        async with self._unbegun.begin() as connection:
            first: tuple[Asked, ...] = (BEGIN,)
            for store_id, events in stores:
                idle, todo = await self._apply_of_store(connection, (*first, acting(store_id)), events, shared, now)
                writes = [*routing.unwritten(store_id, shared), *queue.applied(todo)]
                # What was sold is written last, and by itself: most batches have sold nothing.
                ending = (COMMIT,) if store_id == stores[-1][0] and not shared.sales else ()
                noting = [queue.passed_by([queued.id for queued in idle])] if idle else []
                answers = await asked_at_once(connection, *noting, *writes, *ending)
                noted_before = {row.id for row in answers[0]} if idle else ()
                applied += ((queued, ()) for queued in idle if queued.id not in noted_before)
                for queued in events:
                    commands = todo.get(queued.id, queued.commands)
                    if commands:
                        owed.append(queued.owing(commands))
                    if queued.id in todo:
                        applied.append((queued, commands or ()))
                first = ()
            if shared.sales:
                await sales.write(connection, shared.sales)
        tally.count(applied, now)
        return owed

    async def _apply_of_store(
        self,
        connection: AsyncConnection,
        first: Sequence[Asked],
        events: Sequence[Queued],
        shared: Batch,
        now: datetime,
    ) -> tuple[list[Queued], dict[UUID, Sequence[Command]]]:
        """Apply events of one store; return those that nothing comes of, and what is to be done for each other."""
        store_id = events[0].store_id
        guessed = self._settled.get(store_id)
        idle = [] if guessed is None else _idle(events, guessed.terms)
        telling = _without(idle, [queued for queued in events if queued.commands is None])
        (locked,) = await settle(connection, store_id, shared, before=first, beside=[queue.still_pending(telling)])
        pending = queue.read(telling, locked)
        if guessed is None or guessed.terms is not shared.terms[store_id]:
            before, idle = idle, _idle(events, shared.terms[store_id])
            also = _without(idle, before)  # what these tell was not known before
            (locked,) = await asked_at_once(connection, queue.still_pending(also))
            known = {*pending, *queue.read(also, locked)}.difference(idle)
            pending = [queued for queued in events if queued in known]
        return idle, await self._routed(connection, pending, shared, now)

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

    async def carry_out(self, applied: Sequence[Queued], stopping: asyncio.Event) -> None:
        """Carry out the commands: one identity's in order, different identities' side by side.

        Events that were not begun with when `stopping` is set are left: their commands stand in their rows, for whoever
        has the lane next.
        """
        by_identity = sorted(applied, key=lambda queued: (_identity(queued), queued.id))
        groups = [list(group) for _, group in groupby(by_identity, key=_identity)]
        done: list[Queued] = []
        todo = (self._carry_out_in_order(group, done, stopping) for group in groups)
        outcomes = await asyncio.gather(*todo, return_exceptions=True)
        for store_id, events in _by_store(done):
            async with self._unbegun.connect() as connection:
                routed = queue.routed([queued.id for queued in events])
                await asked_at_once(connection, *begun(store_id), routed, COMMIT)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _carry_out_in_order(self, group: Sequence[Queued], done: list[Queued], stopping: asyncio.Event) -> None:
        for queued in group:
            try:
                if not await self._execute(queued, stopping):
                    return
                done.append(queued)
            except (Unavailable, DBAPIError, PoolTimeout):
                raise
            except Exception as error:  # noqa: BLE001 - parked with its error, never blocking another customer
                await self._failed(queued, error)
                return

    async def _execute(self, queued: Queued, stopping: asyncio.Event) -> bool:
        """Carry out the commands of an event; return whether they were begun."""
        store_id = queued.store_id
        for place, command in enumerate(queued.commands or ()):
            async with self._commands_at_once:
                if stopping.is_set() and place == 0:
                    return False
                with _step(command.kind, queued):
                    alive = await self._executor.execute(store_id, command)
            if not alive:
                async with as_store(self._engine, store_id) as connection:
                    await runs.end_gone(connection, store_id, command, self._clock())
        return True

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


def _idle(events: Sequence[Queued], terms: Terms) -> list[Queued]:
    """Return the events that nothing comes of."""
    return [queued for queued in events if queued.commands is None and means_nothing(queued, terms)]


def _without(some: Collection[Queued], events: Sequence[Queued]) -> list[Queued]:
    left_out = set(some)
    return [queued for queued in events if queued not in left_out]


def _by_store(batch: Sequence[Queued]) -> list[tuple[str, list[Queued]]]:
    """Sort a batch by store, each store's events in their order: a transaction sees one store at a time."""
    events = sorted(batch, key=attrgetter("store_id"))
    return [(store_id, list(group)) for store_id, group in groupby(events, key=attrgetter("store_id"))]


def _identity(queued: Queued) -> tuple[str, str]:
    """Whose events stay in order."""
    return queued.store_id, queued.who.lane
