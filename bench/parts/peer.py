"""The best peer that could be run: the same kind of run as the one by which Parcelvoy was measured.

Its figures were measured once, on such a machine (two shared cores with client and databases, loopback; Parcelvoy
3d59d28, one API and one worker on Node 20, MariaDB, Redis), while a bare Temporal server there went through 19
workflows of three activities a second. They are goals here and no baselines: they are not of the same run.
"""

import asyncio
import time
from urllib.parse import urlsplit

from sqlalchemy import select
from temporalio.api.enums.v1 import EventType

from adapters.postgres.tables import decisions, messages
from adapters.postgres.tenancy import as_store
from bench import bare_workflow, calls
from bench.bare_workflow import bare_rate
from bench.load import Load, put
from bench.result import at_least, at_most, below, percentiles
from bench.runner import Run, part
from bench.stage import STORE, House, house, program, until

_A_REST = 390
"""Events that are left when the load ends, and so many that a rate can be told: what the peer does in a second. Of less
the time is that between two looks."""


@part("peer", "the same kind of run as the best peer's", minutes=8)
async def peer(run: Run) -> None:
    """Ingest, reaction, mails a second, exact delays, exits and memory, on one stack."""
    async with house() as place:
        watched = place.processes()
        idle = _ours(watched.memory_mb())
        await place.only("cart-recovery")
        await _yardstick(run, place)
        await _ingest(run, place)
        await _reaction(run, place)
        await _mails(run, place, run.of(small=60, full=2_000), 1, 41)
        await _mails(run, place, run.of(small=30, full=700), 3, 42)
        run.found("tasks that the worker was given and lost", await _lost_tasks(place), "tasks", goal=at_most(0))
        await _exact(run, place)
        await _exits(run, place)
        memory = watched.memory_mb()
        run.found("memory of api, worker and router, idle", idle, "MB", goal=below(385))
        run.found("memory of api, worker and router, afterwards", _ours(memory), "MB", goal=below(880), detail=memory)


def _ours(memory: dict[str, float]) -> float:
    return sum(memory[name] for name in ("api", "worker", "router"))


async def _yardstick(run: Run, place: House) -> None:
    with program(place.directory, "bench.bare_workflow", place.stack.info.temporal_address, ready=bare_workflow.READY):
        rate = await bare_rate(place.temporal, run.of(small=50, full=300))
    run.found("yardstick: bare workflows here (19/s there)", rate, "workflows/s")


async def _ingest(run: Run, place: House) -> None:
    await place.plan("cart-recovery", quiet="PT6H")
    info = place.stack.info
    load = Load(
        port=urlsplit(info.api).port or 80, path="/v1/track", key=info.write_key, connections=64,
        seconds=run.of(small=5.0, full=30.0), prefix="peer",
    )  # fmt: skip
    began = time.monotonic()
    answered = await put(load)
    left = await place.waiting_events()
    drained = time.monotonic()

    async def routed() -> bool:
        return not await place.waiting_events()

    await until(routed)
    run.found("ingest, 64 connections", answered.rate, "events/s", goal=at_least(417), detail=answered.latency_ms)
    run.found("ingest, p95", answered.latency_ms["p95"], "ms", goal=at_most(212))
    during = (answered.requests - left) / (drained - began)
    run.found("processed during the load", during, "events/s", goal=at_least(234), detail={"left": left})
    if left >= _A_REST:
        run.found("processed after it", left / (time.monotonic() - drained), "events/s", goal=at_least(390))


async def _reaction(run: Run, place: House) -> None:
    count = run.of(small=20, full=100)
    await place.plan("cart-recovery", quiet="PT0S", steps=[{"name": "one", "template": "cart-reminder"}])
    users = [f"quick{number}" for number in range(count)]
    await place.told([calls.subscriber(user) for user in users])
    await _quiet(place)
    told = {}
    for user in users:
        told[f"{user}@example.com"] = time.time()
        (await place.http.post("/v1/track", json=calls.cart(user))).raise_for_status()
        await asyncio.sleep(0.2)
    await _until_mails(place, told, count)
    waits = percentiles([1000 * (at - told[to]) for at, to in place.mails() if to in told])
    run.found("event to first mail, p50", waits["p50"], "ms", goal=at_most(103), detail=waits)
    run.found("event to first mail, p95", waits["p95"], "ms", goal=at_most(126))


async def _mails(run: Run, place: House, count: int, each: int, peers: float) -> None:
    steps = [
        {"name": f"m-{n}", "template": "cart-reminder", "delay": "PT1S" if n else "PT0S"} for n in range(each)
    ]  # fmt: skip
    await place.plan("cart-recovery", quiet="PT0S", steps=steps)
    users = [f"m{each}x{number}" for number in range(count)]
    await place.told([calls.subscriber(user) for user in users])
    await _quiet(place)
    began = time.time()
    await place.told([calls.cart(user) for user in users])
    to = {f"{user}@example.com": began for user in users}
    await _until_mails(place, to, count * each)
    last = max(at for at, address in place.mails() if address in to)
    rate = count * each / (last - began)
    run.found(f"mails, {count} customers x {each}", rate, "mails/s", goal=at_least(peers))
    await _quiet(place)


async def _lost_tasks(place: House) -> int:
    """Count the tasks of runs that were handed out, and of which Temporal heard nothing more."""
    lost, turns = 0, asyncio.Semaphore(8)

    async def look(workflow_id: str) -> None:
        nonlocal lost
        async with turns:
            async for event in place.temporal.get_workflow_handle(workflow_id).fetch_history_events():
                lost += event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT

    await asyncio.gather(*(look(workflow_id) for workflow_id in await place.ended_runs()))
    return lost


async def _exact(run: Run, place: House) -> None:
    """How late messages leave that come due by a timer."""
    query = (
        select(messages.c.sending_at, decisions.c.due)
        .join(
            decisions,
            (decisions.c.store_id == messages.c.store_id)
            & (decisions.c.run_id == messages.c.run_id)
            & (decisions.c.step == messages.c.step),
        )
        .where(messages.c.store_id == STORE, messages.c.state == "sent", decisions.c.result == "sent")
        .where(messages.c.step.like("exact-%"))
    )
    count = run.of(small=10, full=50)
    steps = [{"name": f"exact-{n}", "template": "cart-reminder", "delay": f"PT{n}S"} for n in (1, 5)]
    await place.plan("cart-recovery", quiet="PT0S", steps=steps)
    users = [f"exact{number}" for number in range(count)]
    await place.told([calls.subscriber(user) for user in users])
    for user in users:
        await place.told([calls.cart(user)])
    await _until_mails(place, {f"{user}@example.com": 0.0 for user in users}, 2 * count)
    async with as_store(place.engine, STORE) as connection:
        late = [1000 * (row.sending_at - row.due).total_seconds() for row in (await connection.execute(query)).all()]
    run.found(
        "delays of 1 s and 5 s: how late, p95",
        percentiles(late)["p95"],
        "ms",
        goal=below(1_000),
        detail=percentiles(late),
    )


async def _exits(run: Run, place: House) -> None:
    """Purchases before the second of two messages, of those who enter for the first and for the second time."""
    steps = [{"name": f"exit-{n}", "template": "cart-reminder", "delay": f"PT{3 * n}S"} for n in range(2)]
    await place.plan("cart-recovery", quiet="PT0S", cool_down="PT0S", steps=steps)
    users = [f"exit{number}" for number in range(10)]
    to = {f"{user}@example.com": 0.0 for user in users}
    await place.told([calls.subscriber(user) for user in users])
    for turn in (1, 2):
        await place.told([calls.cart(user, turn) for user in users])
        await _until_mails(place, to, turn * len(users))
        await place.told([calls.order(user, number=turn) for user in users])
        await _quiet(place)
    await asyncio.sleep(4)
    sent = sum(address in to for _, address in place.mails())
    run.found(
        "mails after the purchase, 10 first and 10 second entries", sent - 2 * len(users), "mails", goal=at_most(0)
    )


async def _until_mails(place: House, to: dict[str, float], count: int) -> None:
    async def all_there() -> bool:
        return sum(address in to for _, address in place.mails()) >= count

    await until(all_there, every=0.1)


async def _quiet(place: House) -> None:
    """Wait until every event is routed and no run is under way."""

    async def quiet() -> bool:
        return not await place.waiting_events() and not await place.runs_under_way()

    await until(quiet, every=0.1)
