"""A whole shop on a time-skipping server: real router, workflows, ledger and templates; only mail stays here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from google.protobuf.duration_pb2 import Duration
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.testservice.v1 import SleepRequest
from temporalio.client import WorkflowHandle, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import templates
from activities.deliver import Deliver
from activities.note import NoteOperation
from activities.rollout import RollOut
from activities.stock import ReleaseWave
from adapters.channels.memory import MemoryChannel
from adapters.postgres import plans, queue, stores
from adapters.postgres.audit import PostgresOperations
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.pauses import PostgresPauses
from adapters.postgres.rollouts import PostgresReplans
from adapters.postgres.tables import messages, runs
from adapters.postgres.tenancy import as_store
from adapters.postgres.waitlist import PostgresWaitlist
from adapters.rendering.renderer import TemplateRenderer
from adapters.temporal.engine import Engine
from adapters.temporal.rollouts import TemporalRuns
from domain import ids
from domain.commands import Command, ReleaseStock
from domain.delivery import Result
from domain.events import Event, Who
from domain.facts import Fact, Topic
from domain.message import StoreCard
from domain.plans import PLANS, validated
from domain.tokens import Signer
from rehearsal.clock import RunsClock, business_time
from rehearsal.examples import EXAMPLES
from rehearsal.rest import busy
from worker.router import Router
from workflows.registry import WORKFLOWS

_LONGEST_SKIP = timedelta(minutes=4)
"""How long a machine may take to live through what a test skips."""
_PATIENCE_S = 60.0
"""How long it may take over what is to be done at once: seconds, where other work keeps it busy."""


class Mail(NamedTuple):
    """A message in the outbox."""

    journey: str
    step: str
    to: str
    subject: str
    text: str
    at: datetime


class TimeSkippingShop:
    """A store whose customers live through months in milliseconds."""

    def __init__(self, env: WorkflowEnvironment, engine: AsyncEngine, task_queue: str) -> None:
        self.store_id = f"shop-{uuid4().hex[:12]}"
        self.env = env
        self.engine = engine
        self.outbox = MemoryChannel()
        self.events = EventStore(engine)
        self.now = datetime.fromtimestamp(0, UTC)
        self.task_queue = task_queue
        self.temporal = Engine(env.client, task_queue)
        self.carried_out: list[Command] = []
        self.withhold = False
        self.twice = False
        self.router = Router(engine, self, lambda: self.now, retries=())

    async def execute(self, store_id: str, command: Command) -> bool:
        """Carry out a command for the router: not at all, or twice, if a test says so."""
        self.carried_out.append(command)
        if self.withhold:
            return True
        if self.twice:
            await self.temporal.execute(store_id, command)
        return await self.temporal.execute(store_id, command)

    async def track(self, name: str, user: str = "ada", /, *, at: datetime | None = None, **properties: Any) -> UUID:
        """Accept an event as the API would, and route it."""
        payload = {"type": "track", "event": name, "properties": properties}
        return await self._accept("track", name, Who(user_id=user), payload, at)

    async def identify(self, user: str | None = "ada", anonymous: str | None = None, **traits: Any) -> UUID:
        """Tell the store who a customer is."""
        who = Who(user_id=user, anonymous_id=anonymous, email=traits.get("email"))
        return await self._accept("identify", None, who, {"type": "identify", "traits": traits}, None)

    async def browse(self, name: str, anonymous: str, /, **properties: Any) -> UUID:
        """Accept an event of a browser whose customer is not known yet."""
        payload = {"type": "track", "event": name, "properties": properties}
        return await self._accept("track", name, Who(anonymous_id=anonymous), payload, None)

    async def page(self, user: str = "ada", /, *, at: datetime | None = None, **properties: Any) -> UUID:
        """Accept a page call."""
        return await self._accept("page", None, Who(user_id=user), {"type": "page", "properties": properties}, at)

    async def alias(self, previous: str, user: str) -> UUID:
        """Declare two ids to be one person."""
        payload = {"type": "alias", "previousId": previous, "userId": user}
        return await self._accept("alias", None, Who(user_id=user), payload, None)

    async def subscribe_by_address(self, address: str) -> UUID:
        """A newsletter form knows nothing but the address."""
        payload = {"type": "track", "event": "Newsletter Subscribed", "properties": {"email": address}}
        return await self._accept("track", "Newsletter Subscribed", Who(email=address), payload, None)

    async def subscriber(self, user: str = "ada") -> None:
        """A customer with an address and consent, who is too old for a welcome."""
        await self.identify(user, email=f"{user}@example.com", firstName=user.title(), marketing_consent=True)

    async def confirm(self, *topics: Topic) -> None:
        """Have whoever reads the newest confirmation mail press the button behind its link."""
        await self.at_rest()
        asking = select(messages).where(messages.c.store_id == self.store_id, messages.c.journey == "double-opt-in")
        async with as_store(self.engine, self.store_id) as connection:
            mail = (await connection.execute(asking.order_by(messages.c.claimed_at.desc()).limit(1))).one()
        said = {"message_id": str(mail.message_id), "topics": dict.fromkeys(topics or [Topic.MARKETING], True)}
        payload = {"type": "track", "event": "Consent Confirmed", "properties": said}
        await self._accept("track", "Consent Confirmed", Who(customer_id=mail.customer_id), payload, None)

    async def happened(self, fact: type[Fact], user: str = "ada", /, **properties: Any) -> None:
        """Have a customer do what a fact is about: the events of `rehearsal.examples`, the last with `properties`."""
        *before, told = EXAMPLES[fact]
        for call in before:
            await self.track(call.event, user, **call.properties)
        await self.track(told.event, user, **{**told.properties, **properties})

    async def plan(self, journey: str, **settings: Any) -> None:
        """Override a plan of the store."""
        await plans.put(self.engine, self.store_id, journey, validated(journey, settings), self.now)

    async def only(self, journey: str) -> None:
        """Switch the other journeys off, so that theirs are no messages of a test about this one."""
        for other in PLANS.keys() - {journey}:
            await self.plan(other, enabled=False)

    async def skip(self, **duration: float) -> None:
        """Let time pass, and every timer that is due fire."""
        passing = Duration()
        passing.FromTimedelta(timedelta(**duration))
        # What `WorkflowEnvironment.sleep` does, which has half a minute for the runs of a day, however many wake.
        server = self.env.client.test_service
        await server.unlock_time_skipping_with_sleep(SleepRequest(duration=passing), timeout=_LONGEST_SKIP)
        await self.tick()

    async def tick(self) -> None:
        """Read the server's clock."""
        self.now = await self.env.get_current_time()

    async def sent(self, journey: str | None = None) -> list[Mail]:
        """The outbox, oldest first, once every run has done what it can do now; of one journey, if one is named."""
        await self.at_rest()
        letters = {letter.message_id.strip("<").partition("@")[0]: letter for letter in self.outbox.letters}
        mine = select(messages).where(messages.c.store_id == self.store_id, messages.c.state == Result.SENT)
        async with as_store(self.engine, self.store_id) as connection:
            rows = (await connection.execute(mine.order_by(messages.c.settled_at, messages.c.message_id))).all()
        found = [(row, letters[row.message_id.hex]) for row in rows if journey in {None, row.journey}]
        return [Mail(row.journey, row.step, mail.to, mail.subject, mail.text, row.settled_at) for row, mail in found]

    async def at_rest(self, deadline: float = _PATIENCE_S) -> None:
        """Wait until every run waits for the time or an event, without moving time."""
        async with asyncio.timeout(deadline):
            for workflow_id in await self._workflow_ids():
                handle = self.env.client.get_workflow_handle(workflow_id)
                while await busy(handle):
                    await asyncio.sleep(0.02)

    async def said(self) -> list[tuple[str, str]]:
        """What was sent or withheld, by step, oldest first."""
        query = select(messages.c.step, messages.c.state).where(messages.c.store_id == self.store_id)
        async with as_store(self.engine, self.store_id) as connection:
            rows = (await connection.execute(query.order_by(messages.c.claimed_at))).all()
        return [(row.step, row.state) for row in rows]

    async def runs(self, journey: str) -> list[Any]:
        """The rows of a journey's runs, oldest first."""
        mine = select(runs).where(runs.c.store_id == self.store_id, runs.c.journey == journey)
        async with as_store(self.engine, self.store_id) as connection:
            return list((await connection.execute(mine.order_by(runs.c.begun_at))).all())

    async def handle(self, journey: str) -> WorkflowHandle[Any, Any]:
        """The newest run of a journey in Temporal."""
        return self.env.client.get_workflow_handle((await self.runs(journey))[-1].workflow_id)

    async def history(self, journey: str) -> WorkflowHistory:
        """What Temporal recorded of a journey's newest run."""
        return await (await self.handle(journey)).fetch_history()

    async def settled(self, journey: str, deadline: float = _PATIENCE_S) -> str:
        """Wait until the newest run of a journey is closed, without moving time, and return its outcome."""
        handle = await self.handle(journey)
        async with asyncio.timeout(deadline):
            while (description := await handle.describe()).close_time is None:
                await asyncio.sleep(0.02)
        return description.status.name if description.status else ""

    async def until_said(self, count: int, deadline: float = _PATIENCE_S) -> list[tuple[str, str]]:
        """Wait until so many slots are settled or deferred, without moving time."""
        async with asyncio.timeout(deadline):
            while len(said := await self.said()) < count or any(s in {"claimed", "sending"} for _, s in said):
                await asyncio.sleep(0.02)
        return said

    async def close(self) -> None:
        """Close the door for events, and let work under way be finished: a worker may not end in the middle of it.

        Runs that wait are left to their server, which no other shop shares.
        """
        with contextlib.suppress(TimeoutError):
            await self.at_rest(deadline=10.0)
        await self.events.close()

    async def _workflow_ids(self) -> list[str]:
        mine = select(runs.c.workflow_id).where(runs.c.store_id == self.store_id).distinct()
        async with as_store(self.engine, self.store_id) as connection:
            workflow_ids = list((await connection.execute(mine)).scalars())
        waves = (command.product_id for command in self.carried_out if isinstance(command, ReleaseStock))
        # Waves tell runs, so they come to rest first.
        return [*(ids.waves_id(self.store_id, product_id) for product_id in dict.fromkeys(waves)), *workflow_ids]

    async def _accept(
        self, kind: Any, name: str | None, who: Who, payload: dict[str, Any], at: datetime | None
    ) -> UUID:
        await self.tick()
        event = Event(
            store_id=self.store_id, id=new_id(), message_id=uuid4().hex, type=kind, name=name, who=who, payload=payload,
            at=at or self.now, received_at=self.now,
        )  # fmt: skip
        await self.events.accept([event])
        await self.router.route_everything()
        if stuck := await queue.parked(self.engine, self.store_id):
            raise RuntimeError(f"an event could not be routed: {stuck[0].error}")
        return event.id


@contextlib.asynccontextmanager
async def opened(env: WorkflowEnvironment, engine: AsyncEngine) -> AsyncIterator[TimeSkippingShop]:
    """Open a store with a worker of its own, and close it when the block ends."""
    task_queue = f"shop-{uuid4().hex}"
    shop = TimeSkippingShop(env, engine, task_queue)
    renderer = TemplateRenderer(Path(templates.__path__[0]), Signer(["a-secret-for-tests-only"]), "https://j.test")
    deliver = Deliver(PostgresLedger(engine), renderer, shop.outbox, business_time)
    waves = ReleaseWave(PostgresWaitlist(engine), shop.temporal, business_time)
    rollout = RollOut(
        PostgresReplans(engine), PostgresPauses(engine), TemporalRuns(env.client, shop.temporal), business_time
    )
    note = NoteOperation(PostgresOperations(engine), business_time)
    await shop.tick()
    card = StoreCard(
        store_id=shop.store_id, name="Mugs & More", url="https://mugs.test", currency="EUR",
        sender_email="hello@mugs.test", sender_name="Mugs & More", address="1 Kiln Lane, Stoke",
    )  # fmt: skip
    await stores.create(engine, card, shop.now, by="system:rehearsal")
    activities: list[Callable[..., Any]] = [
        deliver.deliver,
        deliver.abandon,
        waves.release,
        note.note,
        rollout.roll_out,
    ]
    async with Worker(
        env.client, task_queue=task_queue, workflows=WORKFLOWS, activities=activities, interceptors=[RunsClock()]
    ):
        yield shop
        await shop.close()
