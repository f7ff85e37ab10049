"""The replay: one part's calls through the real router, journeys and gate, on a server that skips time.

The server's clock begins at the machine's time and only goes forward, so that every recorded time is moved by a whole
number of 52-week years into its future; reports move it back. Business time is never read from that clock: the router
takes an event's own time, and a delivery the moment at which its step came due. The clock only wakes the runs.
"""

import asyncio
import contextlib
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from adapters.postgres import plans, queue, stores
from adapters.postgres.ingest import EventStore
from adapters.temporal.engine import Engine
from cli.backtest.agenda import Agenda
from cli.backtest.billing import BillingRunner
from cli.backtest.recording import STORE, checked
from cli.backtest.script import NOBODY
from cli.backtest.stage import HEARTBEAT, Carrying, Clock, Delivering, Releasing
from domain.errors import JourneysError
from domain.facts import PriceDropped
from domain.message import StoreCard
from domain.plans import PLANS, Plan, validated
from worker.router import Router
from workflows.registry import JOURNEYS, WORKFLOWS

YEAR = timedelta(weeks=52)
"""What times are moved by, so that a Monday stays one."""

Call = tuple[datetime, int, dict[str, Any]]
"""When, whose, and what, in Segment's form."""

_MOST_AT_ONCE = 200
_CACHED = 2_000
_LONGEST_WINDOW = timedelta(days=1)
_AHEAD = timedelta(minutes=1)
_SHORT_OF = timedelta(seconds=2)
_PATIENCE_S = 60.0
_MOST_SKIPS = 60
_STORE = StoreCard(
    store_id=STORE, name="Backtest", url="https://shop.example", currency="USD", sender_email="shop@shop.example",
    sender_name="Backtest", address="1 Example Street",
)  # fmt: skip


class Replay:
    """One part of a backtest, played to the end or until it is stopped.

    Attributes:
        actions: What Temporal would bill, by kind.
        played: How many calls have been played.
        shift: By how much the times in the database are later than those of the recording.
        stopping: Set it to stop after the calls that are being played.
    """

    def __init__(self, engine: AsyncEngine, env: WorkflowEnvironment, calls: Sequence[Call], end: datetime) -> None:
        """Prepare a replay.

        Args:
            engine: An empty, migrated database.
            env: The time-skipping server.
            calls: In the order in which they are played.
            end: When the data ends, for all customers.
        """
        self._engine, self._env = engine, env
        self._clock = Clock(env.client)
        self._calls, self._end = calls, end
        self._todo: deque[Call] = deque()
        self.actions: Counter[str] = Counter()
        self.played = 0
        self.shift = timedelta(0)
        self.stopping = asyncio.Event()

    async def play(self, journey: str, plan: Plan, on_progress: Callable[[int], None] = lambda _: None) -> None:
        """Play the calls, with one journey that customers can enter.

        Raises:
            JourneysError: It cannot go on; says why.
        """
        if not self._calls:
            return
        await self._move_into_the_future()
        self.agenda = Agenda(((at, c) for at, c, _ in self._todo), self._end, {journey: plan})
        self._first_wait = plan.before_first + plan.steps[0].delay
        self._window = _window(plan)
        # A price that concerns many customers becomes events of ours, which nobody recorded (ADR 0021).
        self._echoes = any(PriceDropped in known.entered_by for known in JOURNEYS if known.name == journey)
        await self._open_store(journey, plan)
        async with self._at_work():
            while self._todo and not self.stopping.is_set():
                await self._play_batch(self._next_batch())
                on_progress(self.played)
            if not self.stopping.is_set():
                await self._settle_the_rest()
        if stuck := await queue.parked(self._engine, STORE):
            raise JourneysError(f"{len(stuck)} events could not be routed; the first: {stuck[0].error}")

    async def _move_into_the_future(self) -> None:
        now = await self._clock.now()
        self.shift = max(0, math.ceil((now + _AHEAD - self._calls[0][0]) / YEAR)) * YEAR
        self._todo.extend((at + self.shift, customer, raw) for at, customer, raw in self._calls)
        self._end += self.shift

    async def _open_store(self, journey: str, plan: Plan) -> None:
        began = self._todo[0][0]
        await stores.create(self._engine, _STORE, began, by="system:backtest")
        shut = {name: validated(name, {"enabled": False}) for name in PLANS}
        for name, wanted in {**shut, journey: plan}.items():  # a follow-up is in no list
            await plans.put(self._engine, STORE, name, wanted, began)

    @contextlib.asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        """Have router, workflows and activities ready for the length of the block."""
        task_queue, agenda, client = f"backtest-{uuid4().hex}", self.agenda, self._env.client
        temporal = Engine(client, task_queue)
        self._store = EventStore(self._engine)
        self._carrying = Carrying(self._engine, temporal, agenda, self._clock, self.actions)
        self._router = Router(self._engine, self._carrying, lambda: self._end, retries=(), replays=True)
        loop = asyncio.get_running_loop()
        delivering = Delivering(self._engine, agenda, self.actions)
        worker = Worker(
            client,
            task_queue=task_queue,
            workflows=WORKFLOWS,
            activities=[
                delivering.deliver,
                delivering.abandon,
                Releasing(self._engine, temporal, agenda, self.actions).release,
            ],
            workflow_runner=BillingRunner(
                self.actions,
                lambda workflow_id: loop.call_soon_threadsafe(agenda.began, workflow_id),
                lambda workflow_id: loop.call_soon_threadsafe(agenda.ended, workflow_id),
                lambda because: loop.call_soon_threadsafe(agenda.fail, because),
            ),
            max_cached_workflows=_CACHED,
            max_concurrent_activities=_MOST_AT_ONCE,
            max_heartbeat_throttle_interval=HEARTBEAT,
        )
        try:
            async with _running(worker, agenda):
                yield
        finally:
            await self._store.close()

    def _next_batch(self) -> list[Call]:
        """Take the next calls that have nothing to do with each other, or with a step that is due between them."""
        batch: list[Call] = []
        limit = self._todo[0][0] + self._window
        limits: dict[int, datetime] = {}
        while self._todo and len(batch) < _MOST_AT_ONCE:
            at, customer, _ = self._todo[0]
            alone = NOBODY in (customer, batch[0][1] if batch else customer)
            if batch and (alone or at > limit or at >= limits.get(customer, limit + YEAR)):
                break
            batch.append(self._todo.popleft())
            due = self.agenda.first_due(customer, at) or limit + YEAR
            # A run that this very call begins may be due before the customer's next one.
            limits[customer] = min(due, at + self._first_wait, limits.get(customer, due))
            limit = min(limit, due)
        return batch

    async def _play_batch(self, batch: list[Call]) -> None:
        """Let the clock reach the calls and what comes before them be settled; then play them.

        A step of one of these customers that is woken while the clock moves waits for the customer's calls, and the
        clock for the step: then these calls are played at once. To wake a step while its run is told that it is over
        is trouble for the server all the same (`cli/backtest/stage.py`), so the clock stops short of one that is due
        right behind a call.
        """
        moment = batch[-1][0]
        if any(self.agenda.close_behind(customer, at, _SHORT_OF) for at, customer, _ in batch):
            moment -= _SHORT_OF
        async with self._moved_on(moment) as moving:
            while batch:
                self.agenda.changed.clear()
                ready, batch = self._split(batch, everybody=moving.arrived)
                if ready:
                    await self._play(ready)
                else:
                    await moving.on()

    def _split(self, calls: list[Call], *, everybody: bool) -> tuple[list[Call], list[Call]]:
        """Split off the calls that can be played now: everybody's, or only of those whose steps wait for them."""
        ready: list[Call] = []
        rest: list[Call] = []
        held: set[int] = set()
        for call in calls:
            at, customer, _ = call
            if customer not in held and (everybody or self.agenda.waiting[customer]) and self.agenda.free(customer, at):
                ready.append(call)
            else:
                held.add(customer)
                rest.append(call)
        return ready, rest

    async def _play(self, calls: Sequence[Call]) -> None:
        events = [checked(raw, at) for at, _, raw in calls]
        customers = [customer for _, customer, _ in calls]
        self._carrying.playing(events, customers)
        await self._store.accept(events)
        await self._router.route_these(events)
        if self._echoes:
            await self._router.route_everything()
        await self.agenda.played(customers)
        self.played += len(calls)

    async def _settle_the_rest(self) -> None:
        """Let every step be settled that is due within the data."""
        async with self._moved_on(self._end) as moving:
            while not self.agenda.over():
                self.agenda.changed.clear()
                await moving.on()

    @contextlib.asynccontextmanager
    async def _moved_on(self, moment: datetime) -> AsyncIterator["_Moving"]:
        moving = _Moving(self._clock, self.agenda, moment)
        try:
            yield moving
            await moving.to_the_end()
        finally:
            moving.task.cancel()


@contextlib.asynccontextmanager
async def _running(worker: Worker, agenda: Agenda) -> AsyncIterator[None]:
    """Run a worker for the length of the block.

    It ends once everything has that it is at; where that never comes, it is left behind, and its process ends with the
    part.
    """
    running = asyncio.create_task(worker.run())
    running.add_done_callback(lambda ended: agenda.fail(_why(ended)))
    try:
        yield
    finally:
        leaving = asyncio.create_task(worker.shutdown())
        await asyncio.wait([leaving], timeout=_PATIENCE_S)
        leaving.cancel()
        running.cancel()


def _why(ended: asyncio.Task[None]) -> str:
    error = None if ended.cancelled() else ended.exception()
    return "its worker has ended" if error is None else f"its worker has failed: {type(error).__name__}: {error}"


class _Moving:
    """The clock on its way to a moment, and a little beyond if something that is due takes longer."""

    def __init__(self, clock: Clock, agenda: Agenda, moment: datetime) -> None:
        self._clock, self._agenda, self._moment = clock, agenda, moment
        self.task = asyncio.create_task(clock.reach(moment))
        self._skips = 0
        self.arrived = False

    async def on(self) -> None:
        """Wait until something has changed, and let more time pass if nothing else helps.

        Raises:
            JourneysError: Nothing does.
        """
        self._agenda.check()
        if self.task.done():
            await self.task
            self.arrived = True
            self._skips += 1
            if self._skips > _MOST_SKIPS:
                raise JourneysError(f"at {self._moment:%Y-%m-%d %H:%M:%S} nothing happens: {self._agenda.unsettled()}")
            self.task = asyncio.create_task(self._clock.skip(_longer(self._skips)))
        changed = asyncio.create_task(self._agenda.changed.wait())
        try:
            done, _ = await asyncio.wait([self.task, changed], timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        self._agenda.check()
        if not done:
            raise self._still()

    async def to_the_end(self) -> None:
        """Wait for the clock: it cannot be sent on two ways at once."""
        done, _ = await asyncio.wait([self.task], timeout=_PATIENCE_S)
        if not done:
            raise self._still()
        await self.task

    def _still(self) -> JourneysError:
        return JourneysError(f"the time-skipping server stands still: {self._agenda.unsettled()}")


def _longer(skips: int) -> timedelta:
    return timedelta(seconds=2 ** min(12, max(0, skips - 8)))


def _window(plan: Plan) -> timedelta:
    """How far apart calls may be that are played together: the clock is ahead of the first of them by that much."""
    waits = [plan.before_first, *(step.delay for step in plan.steps)]
    return min([_LONGEST_WINDOW, *(wait / 10 for wait in waits if wait)])
