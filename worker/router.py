"""The router: turns stored events into state and Temporal commands, in order per customer.

Events are spread over lanes by identity. A router owns a lane (advisory lock) while it drains it, so several
routers share the work without doubling it, and the lane of one that dies is free at once. What is done for the events
of a batch is in `worker/dispatch.py`.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.metrics import TROUBLES
from adapters.postgres import queue
from adapters.postgres.at_once import unbegun
from adapters.postgres.queue import Queued
from domain.errors import Unavailable
from domain.events import Event
from domain.ports import Clock
from worker.dispatch import RETRIES, Dispatch, Executor
from worker.lanes import HandOut, handfuls

log = structlog.get_logger("router")

_AWAY = (DBAPIError, PoolTimeout, OSError)
"""How it shows that the database cannot be reached, or not now."""
POLL = timedelta(seconds=1)
"""The safety net under NOTIFY."""
_BATCH = 1_500
"""Events at most in a transaction: what a customer's have in common is done once, so many together cost less each."""
_SHORTEST_BREATH_S, _LONGEST_BREATH_S = 0.04, 0.1
"""Between two looks for lanes: each commit of the door wakes us, hundreds a second. In between it is twice what the
last lanes took: what a look and a transaction cost by themselves is shared by all that has gathered."""
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


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
        self._unbegun = unbegun(engine)
        self._clock = clock
        self._dispatch = Dispatch(engine, executor, clock, retries, replays=replays)
        self._in_trouble = False
        self._pause_s = _SHORTEST_PAUSE_S
        self._breath_s = _SHORTEST_BREATH_S
        self._wake = asyncio.Event()
        self._lanes = HandOut(self._look, self._drain_guarded, self._wake.set)
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._lanes.try_again()
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Route until `stopping` is set; what is under way is finished, and whatever was not begun is left."""
        self._stopping = stopping
        loop = asyncio.get_running_loop()
        while not stopping.is_set():
            self._wake.clear()
            looked_at = loop.time()
            try:
                await self._lanes.go_on()
            except _AWAY as error:
                log.warning("database unavailable", error=type(error).__name__)
                TROUBLES.labels("database").inc()
                self._in_trouble = True
                self._wake.set()
            await self._rest(stopping)
            if not self._lanes.has_found:
                await asyncio.sleep(looked_at + self._breath_s - loop.time())
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
        owed = await self._dispatch.apply([Queued(event) for event in events])
        await self._dispatch.carry_out(owed, self._stopping)

    async def _look(self) -> Mapping[int, int]:
        """Look for lanes with something to do."""
        async with self._unbegun.connect() as connection:
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
        began = asyncio.get_running_loop().time()
        try:
            got_on = await self._drain(lanes)
        except Unavailable as error:
            log.warning("events wait", because=str(error))
            TROUBLES.labels("temporal").inc()
            self._in_trouble = True
        except _AWAY as error:
            log.warning("database unavailable", lanes=lanes, error=type(error).__name__)
            TROUBLES.labels("database").inc()
            self._in_trouble = True
        except Exception as error:  # noqa: BLE001 - the lanes are tried again; a traceback might quote an event
            log.error("lanes failed", lanes=lanes, error=type(error).__name__)  # noqa: TRY400
            TROUBLES.labels("lane").inc()
            self._in_trouble = True
        else:
            self._all_is_well()
            took = asyncio.get_running_loop().time() - began
            self._breath_s = min(max(_SHORTEST_BREATH_S, 2 * took), _LONGEST_BREATH_S)
            return got_on
        return ()

    async def _drain(self, lanes: Collection[int]) -> Collection[int]:
        """Route what is due in lanes; return those that we could have, if there was anything."""
        got_on: Collection[int] = ()
        # What is read is read on the connection that owns the lanes: who has lost them gets nothing.
        async with self._unbegun.connect() as connection:
            try:
                ours, batch = await queue.take_lanes(connection, lanes, _BATCH, self._clock())
                while batch and not self._stopping.is_set():
                    got_on = ours
                    await self._dispatch.carry_out(await self._dispatch.apply(batch), self._stopping)
                    # What has come since then has woken the router, which looks at the lanes again; and so it does
                    # where one of several has more than its share.
                    more = len(batch) == _BATCH and len(ours) == 1
                    batch = await queue.next_in_lanes(connection, ours, _BATCH, self._clock()) if more else []
            finally:
                if not connection.invalidated:  # else they are given back already
                    await queue.leave_lanes(connection)
        return got_on
