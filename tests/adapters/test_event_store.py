"""The door of the event store: shared commits, exactly-once storage, and faults that stay with their cause."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from adapters.postgres.engine import create_engine
from adapters.postgres.ingest import EventStore
from domain.errors import InvalidEvent, Overloaded, Unavailable
from domain.events import Event, Who
from domain.ids import shard
from testing.inspection import as_owner

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def event(message_id: str, payload: dict[str, Any] | None = None) -> Event:
    return Event(
        store_id="mugs",
        id=uuid7(),
        message_id=message_id,
        type="track",
        name="X",
        who=Who(user_id="u-1"),
        payload=payload or {"event": "X"},
        at=NOON,
        received_at=NOON,
    )


async def stored(engine) -> list[str]:
    async with as_owner(engine) as connection:
        return list((await connection.execute(text("select message_id from events order by message_id"))).scalars())


async def test_requests_that_arrive_together_share_a_commit(engine):
    """Two hundred requests at once need a few commits, not two hundred."""
    events = EventStore(engine)
    new = await asyncio.gather(*(events.accept([event(f"m-{n:03}")]) for n in range(200)))

    assert new == [1] * 200
    assert len(await stored(engine)) == 200
    assert events.commits <= 5


async def test_a_commit_is_answered_to_each_request_by_itself(engine):
    """Of two requests with the same event in one commit, one is told that it was new."""
    events = EventStore(engine)
    first, second, both = await asyncio.gather(
        events.accept([event("m-1")]),
        events.accept([event("m-1"), event("m-2")]),
        events.accept([event("m-2"), event("m-3"), event("m-3")]),
    )

    assert first + second + both == 3
    assert await stored(engine) == ["m-1", "m-2", "m-3"]
    assert await events.accept([event("m-1")]) == 0


async def test_an_event_gets_the_lane_of_its_customer(engine):
    """All events of one identity are in one lane, whoever stored them."""
    await EventStore(engine).accept([event("m-1")])
    async with as_owner(engine) as connection:
        found = await connection.scalar(text("select shard from events"))

    assert found == shard("mugs", "u:u-1")


FULL = {
    "type": "page", "name": "Basket", "who": Who("u-1", "a-1", "ann@example.com", uuid4()), "ip": "192.0.2.0",
    "received_at": NOON + timedelta(minutes=5),
}  # fmt: skip
EMPTY = {"name": "", "who": Who()}


@pytest.mark.parametrize("told", [[EMPTY], [{}, EMPTY], [FULL], [EMPTY, FULL], [FULL, EMPTY, {}]])
async def test_what_is_stored_is_what_was_told_and_an_empty_text_is_not_nothing(engine, told):
    """Of what none of the events in a commit has, nothing is sent; the others keep theirs, each its own."""
    events = [event(f"m-{n}")._replace(**fields) for n, fields in enumerate(told)]
    await EventStore(engine).accept(events)
    query = """
        select id, message_id, type, name, user_id, anonymous_id, email, customer_id, payload, at, received_at, ip,
               shard
        from events order by message_id
    """
    async with as_owner(engine) as connection:
        rows = (await connection.execute(text(query))).all()

    assert [tuple(row) for row in rows] == [
        (
            one.id, one.message_id, one.type, one.name, *one.who, one.payload, one.at, one.received_at, one.ip,
            shard("mugs", one.who.lane),
        )
        for one in events
    ]  # fmt: skip


async def test_routers_hear_of_new_events_and_only_of_new_ones(engine, settings):
    """NOTIFY comes with the commit of something new."""
    events = EventStore(engine)
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as listener:
        await listener.execute("listen journeys_events")
        await events.accept([event("m-1")])
        await events.accept([event("m-1")])
        await events.accept([event("m-2")])
        heard = [note.channel async for note in listener.notifies(timeout=60, stop_after=2)]
        more = [note async for note in listener.notifies(timeout=0.05)]

    assert (heard, more) == (["journeys_events"] * 2, [])


async def test_one_bad_request_fails_alone(engine):
    """What Postgres cannot represent is the fault of its request; the others in the commit are stored."""
    events = EventStore(engine)
    results = await asyncio.gather(
        events.accept([event("good-1")]),
        events.accept([event("bad", {"note": "a\0b"})]),
        events.accept([event("good-2")]),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [int, InvalidEvent, int]
    assert await stored(engine) == ["good-1", "good-2"]


async def test_more_than_fits_is_refused_and_may_come_again(engine):
    """A full queue answers at once instead of growing."""
    events = EventStore(engine, capacity=1_000)
    results = await asyncio.gather(
        *(events.accept([event(f"m-{n:02}", {"pad": "x" * 100})]) for n in range(50)), return_exceptions=True
    )
    refused = [n for n, result in enumerate(results) if isinstance(result, Overloaded)]

    assert 0 < len(refused) < 50
    assert len(await stored(engine)) == 50 - len(refused)
    assert await events.accept([event("later")]) == 1


async def test_a_database_that_is_not_there_is_unavailable_not_wrong():
    """Nobody listens: 503, so that clients keep the event."""
    engine = create_engine("postgresql+psycopg://postgres@127.0.0.1:1/nowhere")
    with pytest.raises(Unavailable):
        await EventStore(engine).accept([event("m-1")])
    await engine.dispose()


async def test_a_commit_that_takes_too_long_is_given_up_and_may_be_repeated(engine, settings):
    """Whether it happened or not, the repeat is stored once."""
    events = EventStore(engine, patience=0.2)
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url) as blocker:
        await blocker.execute("lock table events in access exclusive mode")
        with pytest.raises(Unavailable):
            await events.accept([event("m-1")])
    await EventStore(engine).accept([event("m-1")])

    assert await stored(engine) == ["m-1"]


async def test_the_store_goes_on_after_its_connections_were_cut(engine, settings):
    """A restarted database costs nobody an event."""
    events = EventStore(engine)
    await events.accept([event("before")])
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as killer:
        await killer.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    await events.accept([event("after")])

    assert await stored(engine) == ["after", "before"]


async def test_a_connection_that_is_cut_in_the_midst_of_work_costs_one_commit(engine, settings):
    """What waited behind it is stored by another connection, and not refused in its turn."""
    events = EventStore(engine, share=20)  # more than one event and less than two
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url) as blocker:
        await blocker.execute("lock table events in access exclusive mode")
        first, second = (asyncio.create_task(events.accept([event(name)])) for name in ("first", "second"))
        async with (
            await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as killer,
            asyncio.timeout(20),
        ):
            kill = """
                select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock'
            """
            while not (await killer.execute(kill)).rowcount:
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await first
    assert await second == 1
    assert await stored(engine) == ["second"]


async def test_whoever_waited_for_a_commit_shares_the_next_with_those_who_come_right_after_it(engine, settings):
    """The one whose answer has just come asks again, as a client does that has more to say."""
    events = EventStore(engine)
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url) as blocker:
        await blocker.execute("lock table events in access exclusive mode")
        first = asyncio.create_task(events.accept([event("first")]))
        await _blocked(settings, 1)
        second = asyncio.create_task(events.accept([event("second")]))
        await asyncio.sleep(0)
    assert await first == 1
    assert await asyncio.gather(second, events.accept([event("third")])) == [1, 1]
    assert events.commits == 2


async def test_while_a_whole_share_waits_another_commit_is_under_way_but_never_a_fourth(engine, settings):
    """What makes no whole share waits for one of them: in a commit of its own it would only be one commit more."""
    events = EventStore(engine, share=26)  # two events
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url) as blocker:
        await blocker.execute("lock table events in access exclusive mode")
        requests = []
        for count, under_way in ((1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (8, 3)):
            while len(requests) < count:
                requests.append(asyncio.create_task(events.accept([event(f"m-{len(requests)}")])))
            await _blocked(settings, under_way)
            assert len([task for task in asyncio.all_tasks() if task.get_name() == "journeys-ingest"]) == under_way
    assert await asyncio.gather(*requests) == [1] * 8
    assert events.commits == 5
    await events.close()
    assert await stored(engine) == [f"m-{n}" for n in range(8)]


async def _blocked(settings, commits: int) -> None:
    """Wait until so many commits wait for a lock, with nothing left for the loop to do."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    async with (
        await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as watcher,
        asyncio.timeout(20),
    ):
        while (await (await watcher.execute(query)).fetchone()) != (commits,):
            await asyncio.sleep(0.01)
        for _ in range(20):
            await asyncio.sleep(0)


async def test_a_client_that_hangs_up_disturbs_nobody(engine):
    """Its event may be stored; the others surely are."""
    events = EventStore(engine)
    impatient = asyncio.create_task(events.accept([event("impatient")]))
    patient = asyncio.create_task(events.accept([event("patient")]))
    await asyncio.sleep(0)
    impatient.cancel()

    assert await patient == 1
    assert "patient" in await stored(engine)


async def test_closing_waits_for_what_was_accepted(engine):
    """A graceful stop loses nothing."""
    events = EventStore(engine)
    waiting = [asyncio.create_task(events.accept([event(f"m-{n}")])) for n in range(5)]
    await asyncio.sleep(0)
    await events.close()

    assert len(await stored(engine)) == 5
    assert [await task for task in waiting] == [1] * 5


async def test_processes_with_the_same_events_do_not_lock_each_other_out(engine, settings):
    """A client that repeats a batch at another process: each event once, no deadlock."""
    engines = [create_engine(settings.sqlalchemy_url) for _ in range(3)]
    names = [f"m-{n:03}" for n in range(60)]
    rng = random.Random(7)
    for _ in range(5):
        run = uuid4().hex[:6]
        batches = [[event(f"{run}-{name}") for name in rng.sample(names, 60)] for _ in range(9)]
        new = await asyncio.gather(*(EventStore(engines[n % 3]).accept(batch) for n, batch in enumerate(batches)))
        assert sum(new) == 60
    for other in engines:
        await other.dispose()

    assert len(await stored(engine)) == 300
