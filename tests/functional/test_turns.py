"""Whose turn it is on a real Temporal server, when more work waits than the workers can do. Orders, never times."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.failures import as_application_errors
from activities.places import Places
from adapters.temporal.engine import Engine
from domain.commands import StartRun
from domain.delivery import Delivery, Result, Rule, Slot
from domain.facts import CartChanged, Fact, NewsletterSubscribed, Topic
from domain.plans import CartRecoveryPlan, Plan, Step, WelcomePlan
from domain.snapshot import PinnedPlan, Snapshot
from tests.functional.conftest import House, eventually
from workflows import enrolment
from workflows.registry import WORKFLOWS

CROWD, OTHERS = 80, 3
CART = CartRecoveryPlan(
    quiet=timedelta(0), steps=(Step(name="reminder", template="cart-reminder", topic=Topic.ABANDONED_CART),)
)
LETTER = WelcomePlan(steps=(Step(name="letter", template="welcome", topic=Topic.NEWSLETTER, priority=1),))


class Backlog:
    """Work that waits on a task queue, and the order in which a worker is given it."""

    def __init__(self, temporal: Client, task_queue: str) -> None:
        self._temporal, self._task_queue = temporal, task_queue
        self._engine = Engine(temporal, task_queue)
        self._waiting = 0
        self.handed_out: list[tuple[str, Topic]] = []

    async def cart_mails(self, store_id: str, count: int) -> None:
        changed = CartChanged(at=datetime.now(UTC), total_minor=1250, currency="EUR", items=1)
        await self._add(store_id, "cart-recovery", CART, changed, count)

    async def newsletters(self, store_id: str, count: int) -> None:
        await self._add(store_id, "welcome", LETTER, NewsletterSubscribed(at=datetime.now(UTC)), count)

    async def work_off(self) -> None:
        """Let a worker that does two things at a time do all of it."""
        async with self.worker(runs=2, messages=2):
            await eventually(self.done, what="all of it is done")

    def worker(self, *, runs: int, messages: int) -> Worker:
        """Make a worker that has so many of each under way at a time."""
        return Worker(
            self._temporal, task_queue=self._task_queue, workflows=WORKFLOWS, activities=[self.deliver],
            max_concurrent_activities=messages, max_concurrent_workflow_tasks=runs,
        )  # fmt: skip

    async def done(self) -> bool:
        return len(self.handed_out) == self._waiting

    @activity.defn(name="deliver")
    async def deliver(self, slot: Slot) -> Delivery:
        self.handed_out.append((slot.store_id, slot.step.topic))
        return Delivery(result=Result.SENT, rule=Rule.CONSENT, because="")

    async def _add(self, store_id: str, journey: str, plan: Plan, fact: Fact, count: int) -> None:
        """Have the router's own rules begin runs, each of a customer of its own."""
        pinned = {journey: PinnedPlan(journey=journey, version=1, plan=plan)}
        states = [
            Snapshot(store_id=store_id, now=fact.at, trigger=str(uuid4()), customer_id=uuid4(), plans=pinned)
            for _ in range(count)
        ]
        begun = [
            command
            for state in states
            for command in enrolment.commands(fact, state)
            if isinstance(command, StartRun) and command.run.journey == journey
        ]
        assert len(begun) == count
        await asyncio.gather(*(self._engine.execute(store_id, command) for command in begun))
        self._waiting += count


async def test_a_store_with_many_runs_does_not_delay_the_cart_mail_of_another(house: House) -> None:
    """The small store comes last and waits for no more than its turns; newsletters, whoever's, wait for carts."""
    name = uuid4().hex[:8]
    big, small = f"big-{name}", f"small-{name}"
    backlog = Backlog(house.temporal, name)
    await backlog.newsletters(big, OTHERS)
    await backlog.cart_mails(big, CROWD)
    await backlog.cart_mails(small, OTHERS)
    await backlog.work_off()

    order = backlog.handed_out
    small_at = [place for place, (store_id, _) in enumerate(order) if store_id == small]
    letters_at = [place for place, (_, topic) in enumerate(order) if topic is Topic.NEWSLETTER]
    assert len(small_at) == len(letters_at) == OTHERS
    # In turn: one of theirs for each of ours, give or take the few that are in the worker's hands at once.
    assert small_at[-1] < 2 * OTHERS + 8, small_at
    assert letters_at[0] >= CROWD - 8, letters_at


class Hanging(Backlog):
    """Work of which one message is with a mail server that does not answer."""

    def __init__(self, temporal: Client, task_queue: str) -> None:
        super().__init__(temporal, task_queue)
        self.hangs, self.answers = asyncio.Event(), asyncio.Event()
        self._places = Places(1, timedelta(seconds=1))

    @activity.defn(name="deliver")
    async def deliver(self, slot: Slot) -> Delivery:
        with as_application_errors():
            async with self._places.taken():
                if not self.hangs.is_set():
                    self.hangs.set()
                    await self.answers.wait()
                return await super().deliver(slot)

    async def others_done(self) -> bool:
        return len(self.handed_out) == self._waiting - 1


async def test_messages_that_find_all_local_places_taken_go_by_the_queue(house: House) -> None:
    """A mail server that hangs holds up those that it has, and not those that come after."""
    name = uuid4().hex[:8]
    backlog = Hanging(house.temporal, name)
    async with backlog.worker(runs=10, messages=1):
        await backlog.cart_mails(name, 1)
        await asyncio.wait_for(backlog.hangs.wait(), 60)
        await backlog.cart_mails(name, OTHERS)
        await eventually(backlog.others_done, what="all but the one that hangs are sent")
        backlog.answers.set()
        await eventually(backlog.done, what="all of it is done")
