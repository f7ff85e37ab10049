"""The router against a real Postgres; what it hands to Temporal is recorded at the port where Temporal begins."""

import asyncio
import contextlib
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from itertools import chain
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event as happens
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import plans, queue, routing
from adapters.postgres.at_once import asked_at_once, unbegun
from adapters.postgres.batch import Batch
from adapters.postgres.engine import create_engine
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.queue import Queued
from adapters.postgres.tables import carts, events, orders
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from cli import health
from domain import ids
from domain.commands import Command, RestartRun, StartRun
from domain.errors import Unavailable
from domain.events import Event, Who
from domain.plans import validated
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock
from worker import lanes, main, router
from worker.router import Router

SECOND = timedelta(seconds=1)
POISON = "Coupon Denied"
"""A name that is known, or nobody would try to understand its events."""


class Temporal:
    """Records what it is told to do (the `Executor` port), and fails when a test says so."""

    def __init__(self) -> None:
        self.done: list[Command] = []
        self.fails: Callable[[Command], Exception | None] = lambda _: None
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()

    async def execute(self, store_id: str, command: Command) -> bool:
        self.asked.set()
        await self.answers.wait()
        problem = self.fails(command)
        if problem is not None:
            raise problem
        self.done.append(command)
        return True

    def placed(self) -> list[str]:
        """The same orders, of all customers."""
        return list(chain.from_iterable(self.orders().values()))

    def orders(self) -> dict[UUID, list[str]]:
        """The orders that post-purchase runs were begun for, by customer, as they came."""
        begun: dict[UUID, list[str]] = defaultdict(list)
        for command in self.done:
            if isinstance(command, StartRun | RestartRun) and command.run.journey == "post-purchase":
                begun[command.run.customer_id].append(command.run.order_id or "")
        return begun


@pytest.fixture
def temporal() -> Temporal:
    return Temporal()


@pytest.fixture
async def door(engine: AsyncEngine, store: Shop) -> AsyncIterator[EventStore]:
    """Where events come in."""
    door = EventStore(engine)
    yield door
    await door.close()


def told(clock: SteppedClock, name: str, user: str = "ada", **properties: Any) -> Event:
    event_id = new_id()
    return Event(
        store_id="mugs", id=event_id, message_id=str(event_id), type="track", name=name, who=Who(user_id=user),
        payload={"type": "track", "event": name, "properties": properties}, at=clock(), received_at=clock(),
    )  # fmt: skip


def ordered(clock: SteppedClock, user: str, order_id: str) -> Event:
    return told(clock, "Order Completed", user, order_id=order_id, products=[{"product_id": "cup", "price": 5}])


async def states(engine: AsyncEngine) -> dict[str, int]:
    async with as_owner(engine) as connection:
        query = select(events.c.state, func.count()).group_by(events.c.state)
        return {row.state: row[1] for row in (await connection.execute(query)).all()}


async def until(condition: Callable[[], Any], deadline: float = 60.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(deadline):
        while not await condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(*routers: Router) -> AsyncIterator[None]:
    """Let routers run for the block, and stop them as a deployment does."""
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(each.run(stopping)) for each in routers]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)


async def test_several_routers_share_the_work_without_doubling_it(
    engine: AsyncEngine, settings: Settings, door: EventStore, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event is routed, every command carried out once, and each customer's in the order of the events."""
    monkeypatch.setattr(lanes, "HANDFUL", 8)  # or one would take all of so few
    wanted: dict[str, list[str]] = defaultdict(list)
    accepted = []
    for round_ in range(4):
        clock.advance(SECOND)
        for user in range(40):
            wanted[f"u-{user}"].append(f"o-{user}-{round_}")
            accepted.append(ordered(clock, f"u-{user}", f"o-{user}-{round_}"))
    await door.accept(accepted)
    engines = [create_engine(settings.sqlalchemy_url) for _ in range(3)]
    temporals = [Temporal() for _ in engines]

    async def all_routed() -> bool:
        return await states(engine) == {"routed": len(accepted)}

    routers = [Router(own, temporal, clock) for own, temporal in zip(engines, temporals, strict=True)]
    async with running(*routers):
        await until(all_routed)
    for own in engines:
        await own.dispose()

    begun = [list(orders.values()) for orders in (temporal.orders() for temporal in temporals)]
    assert sorted(chain.from_iterable(begun)) == sorted(wanted.values())
    assert sum(1 for mine in begun if mine) > 1


async def test_a_router_that_is_told_to_stop_leaves_what_it_has_not_begun(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event under way is finished, both commits; the rest of its batch and lane is the next router's, at once."""
    monkeypatch.setattr(router, "_BATCH", 2)
    await door.accept([ordered(clock, "ada", f"o-{number}") for number in range(6)])
    temporal.answers.clear()
    stopping = asyncio.Event()
    ending = asyncio.create_task(Router(engine, temporal, clock).run(stopping))
    await asyncio.wait_for(temporal.asked.wait(), 60)
    stopping.set()
    temporal.answers.set()
    await asyncio.wait_for(ending, 60)

    assert await states(engine) == {"routed": 1, "applied": 1, "pending": 4}
    await Router(engine, temporal, clock).route_everything()
    assert temporal.placed() == [f"o-{number}" for number in range(6)]


async def test_one_bad_event_in_a_batch_does_not_stop_the_others(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All fifty stand in one lane and one transaction; forty-nine are applied at once, in a few transactions."""
    lane = ids.shard("mugs", "u:ada")
    users = [u for u in (f"u-{n}" for n in range(9_999)) if ids.shard("mugs", f"u:{u}") == lane][:49]
    batch = [told(clock, "Product Added", user, product_id="cup") for user in users]
    batch.insert(20, told(clock, POISON))
    poison(monkeypatch)
    await door.accept(batch)
    begun: list[object] = []
    happens.listen(engine.sync_engine, "begin", begun.append)
    await Router(engine, temporal, clock).route_everything()

    assert await states(engine) == {"routed": 49, "pending": 1}
    assert len(begun) < 40
    async with as_owner(engine) as connection:
        assert await connection.scalar(select(func.count()).select_from(carts)) == 49


def poison(monkeypatch: pytest.MonkeyPatch, message: str = "cannot be understood") -> None:
    """Make events named POISON impossible to understand."""

    def understood(event: Event, *more: Any) -> Any:
        if event.name == POISON:
            raise ValueError(message)
        return facts(event, *more)

    facts = routing.facts
    monkeypatch.setattr(routing, "facts", understood)


async def test_a_poisoned_event_is_retried_then_parked_and_can_be_replayed(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deliberate retries, each when it is due; its customer waits that long, nobody else; then an operator decides."""
    retries = (SECOND, 5 * SECOND)
    router_ = Router(engine, temporal, clock, retries)
    with monkeypatch.context() as poisoned:
        poison(poisoned)
        await door.accept([told(clock, POISON), ordered(clock, "ada", "o-1"), ordered(clock, "bob", "o-2")])
        for attempt, wait in enumerate((timedelta(0), *retries)):
            clock.advance(wait)
            await asyncio.wait_for(router_.route_everything(), 60)
            async with as_owner(engine) as connection:
                row = (await connection.execute(select(events).where(events.c.name == POISON))).one()
            assert row.attempts == attempt + 1
            assert row.state == ("pending" if attempt < len(retries) else "parked")
            placed = temporal.placed()
            assert placed == (["o-2"] if attempt < len(retries) else ["o-2", "o-1"])
        (parked,) = await queue.parked(engine, "mugs")
        assert (parked.name, parked.error) == (POISON, "ValueError: cannot be understood")

    assert await queue.retry(engine, "mugs", parked.id) == 1
    await router_.route_everything()
    assert await states(engine) == {"routed": 3}
    assert await queue.parked(engine, "mugs") == []


async def test_an_error_that_quotes_what_postgres_cannot_store_is_noted_all_the_same(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the note itself would fail, and its lane with it, for ever."""
    poison(monkeypatch, "a NUL \0 in the middle")
    await door.accept([told(clock, POISON), ordered(clock, "ada", "o-1")])
    await asyncio.wait_for(Router(engine, temporal, clock, retries=()).route_everything(), 60)
    assert await states(engine) == {"parked": 1, "routed": 1}


async def test_commands_that_cannot_be_carried_out_park_their_event_only(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal
) -> None:
    """The state was applied, so nothing of it is lost; the replay owes the commands alone."""
    temporal.fails = lambda command: ValueError("no") if "o-1" in command.model_dump_json() else None
    await door.accept([ordered(clock, "ada", "o-1"), ordered(clock, "bob", "o-2")])
    await Router(engine, temporal, clock, retries=()).route_everything()
    assert await states(engine) == {"parked": 1, "routed": 1}
    async with as_owner(engine) as connection:
        assert await connection.scalar(select(func.count()).select_from(orders)) == 2
    assert temporal.placed() == ["o-2"]

    temporal.fails = lambda _: None
    assert await queue.retry(engine, "mugs") == 1
    await Router(engine, temporal, clock, retries=()).route_everything()
    assert await states(engine) == {"routed": 2}
    assert temporal.placed() == ["o-2", "o-1"]


async def test_a_long_backlog_behind_a_failing_event_does_not_hide_the_others(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More events of one customer wait than a batch holds; the next customer in the lane is served all the same."""
    poison(monkeypatch)
    monkeypatch.setattr(router, "_BATCH", 5)
    lane = ids.shard("mugs", "u:ada")
    neighbour = next(u for u in (f"u-{n}" for n in range(9_999)) if ids.shard("mugs", f"u:{u}") == lane)
    poisoned = told(clock, POISON)
    backlog = [told(clock, "Product Viewed", product_id="cup") for _ in range(12)]
    await door.accept([poisoned, *backlog, ordered(clock, neighbour, "o-1")])
    await asyncio.wait_for(Router(engine, temporal, clock).route_everything(), 60)

    assert temporal.placed() == ["o-1"]
    assert await states(engine) == {"pending": 13, "routed": 1}


async def test_the_lane_that_has_waited_longest_comes_first(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock
) -> None:
    """New events of other lanes may come as fast as they like: no lane starves for its number."""
    users = [f"user-{number}" for number in range(40)]
    lane_of = {user: ids.shard("mugs", f"u:{user}") for user in users}
    waited = sorted(users, key=lambda user: -lane_of[user])
    for user in waited:
        await door.accept([told(clock, "Product Viewed", user, product_id="cup")])
        clock.advance(SECOND)
    await door.accept([told(clock, "Product Viewed", waited[-1], product_id="cup")])
    async with unbegun(engine).connect() as connection:
        found = await queue.waiting_lanes(connection, clock())

    assert list(found) == sorted(set(lane_of.values()), reverse=True)


async def test_while_temporal_is_down_state_goes_on_and_commands_wait(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal
) -> None:
    """G1: nothing is parked, nothing is lost, and it resumes by itself."""
    temporal.fails = lambda _: Unavailable("Temporal cannot be reached")
    users = [f"u-{n}" for n in range(10)]
    await door.accept([ordered(clock, user, f"o-{user}") for user in users])

    async def applied() -> bool:
        return await states(engine) == {"applied": 10}

    async def routed() -> bool:
        return await states(engine) == {"routed": 10}

    async with running(Router(engine, temporal, clock, retries=())):
        await until(applied)
        async with as_owner(engine) as connection:
            assert await connection.scalar(select(func.count()).select_from(orders)) == 10
        assert temporal.done == []
        temporal.fails = lambda _: None
        await until(routed)
    assert sorted(temporal.placed()) == sorted(f"o-{user}" for user in users)


async def test_a_crash_after_the_state_was_changed_repeats_the_commands(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal
) -> None:
    """G1: between the two commits the commands are on record; whoever comes next carries them out."""
    await door.accept([ordered(clock, "ada", "o-1")])
    temporal.answers.clear()
    crashing = asyncio.create_task(Router(engine, temporal, clock).route_everything())
    await asyncio.wait_for(temporal.asked.wait(), 60)
    crashing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await crashing
    assert await states(engine) == {"applied": 1}

    survivor = Temporal()
    await Router(engine, survivor, clock).route_everything()
    assert survivor.placed() == ["o-1"]
    assert temporal.done == []


async def test_the_lane_of_a_router_that_lost_its_connection_is_free_at_once(
    engine: AsyncEngine, settings: Settings, door: EventStore, clock: SteppedClock, temporal: Temporal
) -> None:
    """The advisory lock lives and dies with the connection; the survivor finishes, and the other does no harm."""
    separator = "&" if "?" in settings.sqlalchemy_url else "?"
    other = create_engine(f"{settings.sqlalchemy_url}{separator}application_name=doomed")
    temporal.answers.clear()
    await door.accept([ordered(clock, "ada", "o-1")])
    hanging = asyncio.create_task(Router(other, temporal, clock).route_everything())
    await asyncio.wait_for(temporal.asked.wait(), 60)
    survivor = Temporal()
    await asyncio.wait_for(Router(engine, survivor, clock).route_everything(), 60)
    assert survivor.done == []  # the lane is taken

    async with as_owner(engine) as connection:
        kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'doomed'"
        await connection.execute(text(kill))

    async def taken_over() -> bool:
        await Router(engine, survivor, clock).route_everything()
        return await states(engine) == {"routed": 1}

    await until(taken_over)
    temporal.answers.set()
    await asyncio.gather(hanging, return_exceptions=True)
    await other.dispose()
    assert survivor.placed() == ["o-1"]
    assert await states(engine) == {"routed": 1}


async def test_an_event_that_nothing_comes_of_is_noted_by_one_router(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock
) -> None:
    """Of two that have read it, the second learns that it was the first, and does not count it again."""
    both = [ordered(clock, "ada", f"o-{number}") for number in range(2)]
    await door.accept(both)

    async def pass_by(*events: Event) -> set[UUID]:
        async with as_store(engine, both[0].store_id) as connection:
            (rows,) = await asked_at_once(connection, queue.passed_by([event.id for event in events]))
            return {row.id for row in rows}

    assert await pass_by(both[0]) == set()
    assert await pass_by(*both) == {both[0].id}
    assert await states(engine) == {"routed": 2}


async def test_a_plan_that_is_set_between_two_batches_is_known_to_the_second(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock, temporal: Temporal
) -> None:
    """Nothing came of the first event, and the router remembers what a store has settled as long as it is true."""
    routing_on = Router(engine, temporal, clock)
    step = {"name": "reminder", "delay": "PT1H", "template": "booking-abandoned", "topic": "abandoned_cart_emails"}
    plan = validated("follow-up/mine", {"event": "machine_serviced", "exits": ["machine_sold"], "steps": [step]})
    for runs in (0, 2):
        await door.accept([told(clock, "machine_serviced", user) for user in ("ada", "bob")])
        await door.accept([told(clock, "Button Clicked", "ada")])
        await routing_on.route_everything()
        begun = {command.run.customer_id for command in temporal.done if isinstance(command, StartRun)}
        assert len(begun) == runs
        await plans.put(engine, "mugs", "follow-up/mine", plan, clock())
    assert await states(engine) == {"routed": 6}


async def test_two_routers_that_both_read_an_event_apply_it_once(
    engine: AsyncEngine, door: EventStore, clock: SteppedClock
) -> None:
    """A router whose lane was lost is still applying; the next owner must not overwrite the commands that it owes."""
    event = ordered(clock, "ada", "o-1")
    await door.accept([event])

    async def apply() -> Sequence[Command]:
        async with as_store(engine, event.store_id) as connection:
            (locked,) = await asked_at_once(connection, queue.still_pending([Queued(event)]))
            if not locked:
                return ()
            commands = await routing.route(connection, event, clock(), Batch())
            await asyncio.sleep(0)
            await asked_at_once(connection, *queue.applied({event.id: commands}))
            return commands

    applied = await asyncio.gather(*(apply() for _ in range(4)))
    assert sorted(len(commands) > 0 for commands in applied) == [False, False, False, True]
    assert await states(engine) == {"applied": 1}


async def test_a_notification_wakes_a_router_that_would_not_look(
    engine: AsyncEngine, settings: Settings, door: EventStore, clock: SteppedClock, temporal: Temporal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With a poll of an hour, only NOTIFY can bring the event through."""
    monkeypatch.setattr(router, "POLL", timedelta(hours=1))
    waker = Router(engine, temporal, clock)

    async def routed() -> bool:
        return await states(engine) == {"routed": 1}

    async with main._beside(main._listen(settings.psycopg_url, waker)), running(waker):
        await until(lambda: _listens(engine))
        await door.accept([ordered(clock, "ada", "o-1")])
        await until(routed)


async def test_a_router_that_is_woken_again_and_again_looks_once_a_breath(
    engine: AsyncEngine, store: Shop, clock: SteppedClock, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load each commit of the door wakes it; what has gathered meanwhile shares a look."""
    breath_s, looks = 0.1, 0

    async def look(*_: Any) -> dict[int, int]:
        nonlocal looks
        looks += 1
        return {}

    monkeypatch.setattr(router, "_SHORTEST_BREATH_S", breath_s)
    monkeypatch.setattr(router.queue, "waiting_lanes", look)
    woken, loop = Router(engine, temporal, clock), asyncio.get_running_loop()
    began = loop.time()
    async with running(woken):
        while loop.time() - began < 5 * breath_s or looks < 2:
            woken.wake()
            await asyncio.sleep(0.001)

    early_s = looks * 0.001  # the loop's timers go by the millisecond
    assert looks <= (loop.time() - began + early_s) / breath_s + 1


async def _listens(engine: AsyncEngine) -> bool:
    async with as_owner(engine) as connection:
        query = "select count(*) from pg_stat_activity where query ilike 'listen %' and pid <> pg_backend_pid()"
        return bool(await connection.scalar(text(query)))


@pytest.mark.parametrize("trusted_s", [0.0, 3_600.0], ids=["asked-whether-alive", "trusted"])
async def test_a_router_survives_the_loss_of_every_connection(
    engine: AsyncEngine, settings: Settings, door: EventStore, clock: SteppedClock, temporal: Temporal,
    trusted_s: float,
) -> None:  # fmt: skip
    """As after a restart of the database: what comes in afterwards is routed without anybody's help."""
    own = create_engine(settings.sqlalchemy_url, trusted_s=trusted_s)

    async def routed(count: int) -> bool:
        return await states(engine) == {"routed": count}

    async with running(Router(own, temporal, clock)):
        await door.accept([ordered(clock, "ada", "o-1")])
        await until(lambda: routed(1))
        async with as_owner(engine) as connection:
            await connection.execute(
                text("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                     " and datname = current_database()")
            )  # fmt: skip
        await door.accept([ordered(clock, "bob", "o-2")])
        await until(lambda: routed(2))
    await own.dispose()


async def test_the_health_of_a_router_is_that_of_this_machine(
    engine: AsyncEngine, settings: Settings, clock: SteppedClock, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods behind one gateway have one address: another one's router must not stand for ours."""
    listening = asyncio.create_task(main._listen(settings.psycopg_url, Router(engine, temporal, clock)))

    async def found() -> bool:
        with contextlib.suppress(Unavailable):
            await asyncio.to_thread(health._router_listens, settings.psycopg_url)
            return True
        return False

    try:
        await until(found)
        monkeypatch.setattr(socket, "gethostname", lambda: "another-pod")
        assert not await found()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
