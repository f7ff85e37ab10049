"""The stage: the parts of production that a replay puts something of its own in front of.

Router, journeys, ledger and gate are the real ones. What stands here waits for its turn, tells them the time, counts,
and takes the mail unseen.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.empty_pb2 import Empty
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.api.testservice.v1 import SleepRequest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.failures import as_application_errors
from activities.heartbeats import heartbeats
from activities.stock import ReleaseWave, WaveRequest, WaveResult
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import identities
from adapters.postgres.tenancy import as_store
from adapters.postgres.waitlist import PostgresWaitlist
from adapters.temporal.engine import Engine
from cli.backtest.agenda import Agenda
from cli.backtest.recording import STORE
from cli.backtest.script import NOBODY
from domain.commands import Command, EndRun, JoinRun, NewRun, ReleaseStock, RestartRun, SignalRun, StartRun
from domain.delivery import Delivery, Slot
from domain.errors import EventsPending, JourneysError, PlacesTaken, Unavailable
from domain.events import Event
from domain.facts import AnyFact

_PATIENCE_S = 60.0
_COURTESY_S = 5.0
HEARTBEAT = timedelta(milliseconds=20)
"""How often the worker may report to the server at most."""
_LONGEST_CALL = timedelta(hours=1)
"""Everything that is due until then happens in one call; whether anything does is watched by the caller."""


class Delivering:
    """The delivery, in its turn and at its own time: the gate decides, and whatever may go out counts as sent."""

    def __init__(self, engine: AsyncEngine, agenda: Agenda, actions: Counter[str]) -> None:
        self._ledger = PostgresLedger(engine, gather=_nothing)
        self._agenda, self._actions = agenda, actions

    @activity.defn(name="deliver")
    async def deliver(self, slot: Slot) -> Delivery:
        """Settle a slot when everything before it has been played.

        Raises:
            ApplicationError: Retryable: events of the customer are not applied yet. Or this is a local attempt, and its
                turn has not come: it would keep its run's task, and so the clock, while it waits. It is queued.
        """
        with as_application_errors():
            await self._turn(slot)
            try:
                delivery = (await self._ledger.claim(slot, slot.due)).delivery
            except EventsPending:
                raise
            except Exception as error:
                # Temporal would try again for a day of its time, and nobody would know why nothing happens.
                self._agenda.fail(f"{slot.step.name}: {type(error).__name__}: {error}")
                raise
        delivery = delivery.model_copy(update={"at": delivery.at or slot.due})
        await self._agenda.settled(slot, delivery)
        return delivery

    @activity.defn(name="abandon-delivery")
    async def abandon(self, slot: Slot, left: bool = False) -> Delivery:
        """Settle a slot that is not asked for again, at the time at which it was due."""
        with as_application_errors():
            delivery = await self._ledger.abandon(slot, slot.due, left=left)
            return delivery.model_copy(update={"at": slot.due})

    async def _turn(self, slot: Slot) -> None:
        if not activity.info().is_local:
            with heartbeats():
                await self._agenda.turn(slot)
            if not self._agenda.under_way(slot):
                await _cancelled()
        elif not self._agenda.may_go(slot):
            self._actions["activities"] -= 1  # in production it would have settled the slot
            self._agenda.queued(slot)
            raise PlacesTaken


async def _cancelled() -> None:
    """Wait until a run that has just been told of its end has cancelled this attempt, which then goes on all the same.

    The time-skipping server refuses the task of a run that cancels an attempt whose answer is under way
    ("ACTIVITY_UNKNOWN"), and its clock stands from then on.
    """
    try:
        async with asyncio.timeout(_COURTESY_S):
            while True:
                activity.heartbeat()  # its answer brings the cancellation
                await asyncio.sleep(HEARTBEAT.total_seconds())
    except TimeoutError:
        return
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None:
            task.uncancel()


async def _nothing(*_: object) -> None:
    """Gather nothing: no message is rendered here, and nobody refuses one."""


class Releasing(ReleaseWave):
    """The release of a wave; the customers who are told are expected to hear of it."""

    def __init__(self, engine: AsyncEngine, temporal: Engine, agenda: Agenda, actions: Counter[str]) -> None:
        super().__init__(PostgresWaitlist(engine), self, _server_time)
        self._temporal, self._agenda, self._actions = temporal, agenda, actions

    @activity.defn(name="release-wave")
    async def release(self, request: WaveRequest) -> WaveResult:
        """Release it and say when the next one comes."""
        result = await super().release(request)
        more = result.told and result.waiting
        self._agenda.wave_over(request.product_id, _server_time() + self._agenda.wave_interval if more else None)
        return result

    async def tell(self, workflow_id: str, fact: AnyFact) -> None:
        """Tell a run, as the real port does."""
        self._agenda.told(workflow_id, _server_time())
        self._actions["signals"] += 1
        await self._temporal.tell(workflow_id, fact)


def _server_time() -> datetime:
    return activity.info().current_attempt_scheduled_time


class Clock:
    """The server's clock: it can be moved on, but neither stopped nor turned back."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def now(self) -> datetime:
        """Read it."""
        answer = await self._client.test_service.get_current_time(Empty())
        return answer.time.ToDatetime().replace(tzinfo=UTC)

    async def reach(self, moment: datetime) -> None:
        """Let the time pass up to a moment, and everything happen that is due until then."""
        await self.skip(moment - await self.now())

    async def skip(self, duration: timedelta) -> None:
        """Let some time pass; nothing skips while anybody is at work."""
        if duration > timedelta(0):
            request = SleepRequest()
            request.duration.FromTimedelta(duration)
            try:
                await self._client.test_service.unlock_time_skipping_with_sleep(request, timeout=_LONGEST_CALL)
            except RPCError as error:
                raise JourneysError(f"the time-skipping server does not answer: {error.message}") from error


class Carrying:
    """Carries out the router's commands, counts them, and keeps the agenda (implements `worker.dispatch.Executor`)."""

    def __init__(
        self, engine: AsyncEngine, temporal: Engine, agenda: Agenda, clock: Clock, actions: Counter[str]
    ) -> None:
        self._engine, self._temporal, self._agenda = engine, temporal, agenda
        self._clock, self._actions = clock, actions
        self._playing: dict[UUID, int] = {}
        self._known: dict[tuple[str, str], int] = {}
        self._now = datetime.fromtimestamp(0, UTC)

    def playing(self, events: Sequence[Event], customers: Sequence[int]) -> None:
        """Say whose the events are that the next commands come from."""
        self._playing = {event.id: customer for event, customer in zip(events, customers, strict=True)}
        for event, customer in zip(events, customers, strict=True):
            if customer != NOBODY:
                who = {"user": event.who.user_id, "anonymous": event.who.anonymous_id, "email": event.who.email}
                self._known |= {(kind, value): customer for kind, value in who.items() if value is not None}
        self._now = events[-1].at

    async def execute(self, store_id: str, command: Command) -> bool:
        """Carry out a command, once what came before it is through in Temporal as well."""
        if (workflow_id := _addressed(command)) is not None:
            await self._through(workflow_id)
        if isinstance(command, StartRun | RestartRun):
            self._agenda.heard(command, await self._whose(command.run), self._now)
            command = command.model_copy(update={"run": await self._staged(command.run)})
        else:
            self._agenda.heard(command, NOBODY, self._now)
        self._actions["starts" if isinstance(command, StartRun | ReleaseStock) else "signals"] += 1
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    return await self._temporal.execute(store_id, command)
                except Unavailable:  # the run is just closing
                    await asyncio.sleep(0.02)

    async def _whose(self, run: NewRun) -> int:
        """Find the customer of the recording; what the catalogue says may begin the runs of many."""
        if (customer := self._playing.get(run.trigger_event, NOBODY)) != NOBODY:
            return customer
        if run.customer_id in self._agenda.customers:
            return self._agenda.customers[run.customer_id]
        mine = select(identities.c.kind, identities.c.value).where(
            identities.c.store_id == STORE, identities.c.customer_id == run.customer_id
        )
        async with as_store(self._engine, STORE) as connection:
            rows = (await connection.execute(mine)).all()
        return next((self._known[row.kind, row.value] for row in rows if (row.kind, row.value) in self._known), NOBODY)

    async def _through(self, workflow_id: str) -> None:
        """Let a passage end before its customer's next one begins, as it would with hours in between.

        And let a step that was woken before its turn wait for it in the worker: the time-skipping server's clock stands
        once a run has cancelled an attempt that nobody had taken up.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_COURTESY_S):
                while self._agenda.busy(workflow_id):
                    self._agenda.changed.clear()
                    await self._agenda.changed.wait()

    async def _staged(self, run: NewRun) -> NewRun:
        """Have the first task held back until its moment, not for a time: the server's clock is a little ahead."""
        if not run.delay:
            return run
        begun_at = datetime.fromisoformat(run.entry["begun_at"])
        left = max(begun_at + run.delay - await self._clock.now(), timedelta(0))
        return run.model_copy(update={"delay": left})


def _addressed(command: Command) -> str | None:
    match command:
        case StartRun(run=run) | RestartRun(run=run):
            return run.workflow_id
        case SignalRun(workflow_id=workflow_id) | EndRun(workflow_id=workflow_id) | JoinRun(workflow_id=workflow_id):
            return workflow_id
        case ReleaseStock():
            return None
