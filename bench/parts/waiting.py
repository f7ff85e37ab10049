"""Many who wait: what a run that waits costs, how soon a restarted worker is useful, and how fast a restock is told."""

import asyncio
import csv
import os
import sys
import time

from adapters.postgres.ingest import EventStore
from api.envelope import Arrival, understood
from bench import calls
from bench.environment import Processes
from bench.result import at_least, at_most
from bench.runner import Run, part
from bench.stage import STORE, House, house, now, until

_PRODUCT = "MUG-1"
_GOAL = 28
"""Customers a second: a hundred thousand within the hour."""
_HOUR_S, _GLANCE_S = 60 * 60, 15 * 60
"""How long the restock is watched at most, and how long if it is slower than its goal by then."""


@part("waiting", "customers who wait for a product, and its restock", minutes=85)
async def waiting(run: Run) -> None:
    """Let a crowd ask for a product, restart the worker, and put the product back into stock."""
    count = run.of(small=500, full=100_000)
    async with house() as place:
        await place.only("back-in-stock")
        await place.plan("back-in-stock", wave_interval="PT5S")
        await _introduced(place, count)
        run.say(f"{count:,} customers imported")
        await _waiting(run, place, count)
        await _restarted(run, place)
        await _restocked(run, place, count - 1)


async def _introduced(place: House, count: int) -> None:
    file = place.directory / "customers.csv"
    with file.open("w", newline="", encoding="utf-8") as rows:
        table = csv.writer(rows)
        table.writerow(("user_id", "email", "first_name"))
        table.writerows((f"w-{number}", f"w-{number}@example.com", "Ada") for number in range(count))
    environment = {**os.environ, "DATABASE_URL": place.stack.info.database_url}
    argv = [sys.executable, "-m", "cli.main", "import", str(file), "--store", STORE]
    process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait():
        raise RuntimeError("the customers were not imported")


async def _waiting(run: Run, place: House, count: int) -> None:
    """Store the requests while no router runs, and then let it begin the runs."""
    place.stack.stop("router")
    size = database_bytes(place)
    store, arrival = EventStore(place.engine), Arrival(store_id=STORE, received_at=now())
    for at in range(0, count, 2_000):
        asked = [calls.stock_request(f"w-{number}", _PRODUCT) for number in range(at, min(at + 2_000, count))]
        await store.accept([understood(call, arrival) for call in asked])
    await store.close()
    place.stack.start("router")
    watched = Processes(**{name: place.stack.pid(name) for name in ("worker", "router", "temporal", "postgres")})
    memory: list[dict[str, float]] = []
    began, said = time.monotonic(), 0

    async def all_wait() -> bool:
        nonlocal said
        memory.append(watched.memory_mb())
        open_events = await place.waiting_events()
        if count - open_events >= said + max(1, count // 10):
            said = count - open_events
            run.say(f"{said:,} begun, worker {memory[-1]['worker']:.0f} MB, temporal {memory[-1]['temporal']:.0f} MB")
        return not open_events and await place.running_workflows() >= count and not await place.waiting_tasks()

    await until(all_wait, every=run.of(small=0.5, full=2.0))
    took = time.monotonic() - began
    await settled(place)
    cpu = watched.cpu_seconds()
    run.found(
        "journeys begun", count / took, "journeys/s",
        detail={"seconds": round(took), "cpu_ms_per_run": {n: round(1000 * s / count, 1) for n, s in cpu.items()}},
    )  # fmt: skip
    grown = (database_bytes(place) - size) / count
    projected = {"ten_million_gb": round(grown * 1e7 / 2**30), "ten_million_hours": round(1e7 * took / count / 3600)}
    run.found("Temporal's database, for each run that waits", grown, "bytes", detail=projected)
    half = memory[len(memory) // 2 :]
    early, late = half[0]["worker"], half[-1]["worker"]
    run.found(
        "worker's memory, all waiting over half of them", late / early, "x", goal=at_most(1.1),
        detail={"half_mb": early, "all_mb": late, "temporal_mb": half[-1]["temporal"], "router_mb": half[-1]["router"]},
    )  # fmt: skip


async def settled(place: House) -> None:
    """Wait until Temporal's database stops growing: the last tasks are done."""
    sizes = [0, database_bytes(place)]
    while sizes[-1] != sizes[-2]:
        await asyncio.sleep(2)
        sizes.append(database_bytes(place))


def database_bytes(place: House) -> int:
    """Return how large Temporal's database is."""
    return sum(file.stat().st_size for file in (place.directory / "stack").glob("temporal.db*"))


async def _restarted(run: Run, place: House) -> None:
    """Start a worker again, and see how long it takes to end the run of somebody who has bought meanwhile."""
    place.stack.stop("worker")
    await place.told([calls.order("w-0", _PRODUCT)])

    async def routed() -> bool:
        return not await place.waiting_events()

    await until(routed)
    (over,) = await place.ended_runs()
    began = time.monotonic()
    place.stack.start("worker")
    ready = time.monotonic() - began
    await place.temporal.get_workflow_handle(over).result()
    run.found(
        "restarted worker is useful", time.monotonic() - began, "s",
        detail={"ready_after_s": round(ready, 2), "worker_mb": Processes(w=place.stack.pid("worker")).memory_mb()["w"]},
    )  # fmt: skip


async def _restocked(run: Run, place: House, count: int) -> None:
    """Put enough back for three waves, and count the mails."""
    await place.told([calls.restock(_PRODUCT, 1 + count // 9)])
    watched = place.processes()
    began, said = time.monotonic(), 0

    async def all_told() -> bool:
        nonlocal said
        sent = len(place.mails())
        if sent >= said + max(1, count // 20):
            said, rate = sent, sent / (time.monotonic() - began)
            run.say(f"{sent:,} told, {rate:.1f}/s, worker {watched.memory_mb()['worker']:.0f} MB")
        took = time.monotonic() - began
        return sent >= count or took > _HOUR_S or (took > _GLANCE_S and sent / took < _GOAL)

    await until(all_told, every=1.0)
    took, sent = time.monotonic() - began, len(place.mails())
    cpu = {name: round(1000 * used / sent, 1) for name, used in watched.cpu_seconds().items()}
    run.found(
        "customers told of a restock", sent / took, "customers/s", goal=at_least(_GOAL),
        detail={"told": sent, "of": count, "seconds": round(took), "cpu_ms_per_customer": cpu},
    )  # fmt: skip
    addresses = [to for _, to in place.mails()]
    run.found("told twice", len(addresses) - len(set(addresses)), "customers", goal=at_most(0))
