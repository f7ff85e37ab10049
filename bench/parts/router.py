"""The router: how fast one drains stored events of which one in twenty matters, and whether its memory stays."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Text, cast, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import queue
from adapters.postgres.ingest import EventStore
from adapters.postgres.statements import one_of
from adapters.postgres.tables import OPEN, events
from adapters.postgres.tenancy import across_stores
from api.envelope import Arrival, understood
from bench import calls
from bench.environment import Processes
from bench.result import at_most, times_baseline
from bench.runner import Run, part
from bench.stage import STORE, House, house, now
from domain import ids

_RELEVANT = 20
_LOOK_S = 0.5
"""Between two looks at the router's memory, which take its time."""
_CARTS = 10
"""Changes that a customer makes to the cart, as people do: the first enters, the others find the run open."""


@part("router", "stored events drained by one router, one in twenty relevant", minutes=6)
async def router(run: Run) -> None:
    """Store events while no router runs, read them, let one loose, and read as many alike once it is done."""
    count = run.of(small=10_000, full=100_000)
    async with house(without=("router", "worker", "api")) as place:
        await place.plan("cart-recovery", quiet="PT6H")
        await _stored(place.engine, range(count))
        run.say(f"{count:,} events stored")
        read_in = await _read(place.engine)
        drained = await _drained(run, place, count)
        await _stored(place.engine, range(count, 2 * count))
        read_in += await _read(place.engine)
        _found(run, drained, 2 * count / read_in)


async def _stored(engine: AsyncEngine, numbers: range) -> None:
    store, arrival = EventStore(engine), Arrival(store_id=STORE, received_at=now())
    for at in range(0, len(numbers), 2_000):
        raws = [_call(number) for number in numbers[at : at + 2_000]]
        await store.accept([understood(raw, arrival) for raw in raws])
    await store.close()


def _call(number: int) -> dict[str, object]:
    if number % _RELEVANT:
        return calls.seen(f"u-{number % 5_000}", number)
    matters = number // _RELEVANT
    return calls.cart(f"u-{matters // _CARTS}", matters)


async def _read(engine: AsyncEngine) -> float:
    """Read every event as the router does one that matters, and do nothing; return the seconds."""
    began = time.monotonic()
    async with across_stores(engine) as connection:
        for lane in range(ids.SHARDS):
            found = await queue.next_in_lanes(connection, [lane], 1_000_000, now() + timedelta(minutes=1))
            payload = cast(events.c.payload, Text).label("payload")
            whole = select(events.c.id, payload).where(one_of(events.c.id, [queued.id for queued in found]))
            payloads = {row.id: row.payload for row in (await connection.execute(whole)).all()}
            for queued in found:
                queued.read(payloads[queued.id])
    return time.monotonic() - began


async def _select(engine: AsyncEngine) -> float:
    """Read every row in one statement a lane, and make events of them; return the seconds."""
    began = time.monotonic()
    async with across_stores(engine) as connection:
        for lane in range(ids.SHARDS):
            whole = select(events).where(events.c.shard == lane, OPEN).order_by(events.c.id)
            [queue.event_of(row, row.payload) for row in (await connection.execute(whole)).all()]
    return time.monotonic() - began


@dataclass(frozen=True)
class _Drained:
    """How a router drained events: how many a second, what its memory was meanwhile, and what else was seen."""

    rate: float
    memory_mb: list[float]
    detail: dict[str, Any]


async def _drained(run: Run, place: House, count: int) -> _Drained:
    selected = count / await _select(place.engine)
    place.stack.start("router")
    watched = Processes(router=place.stack.pid("router"), postgres=place.stack.pid("postgres"))
    began, memory, left = time.monotonic(), [watched.memory_mb()["router"]], count
    said = count
    while left:
        await asyncio.sleep(0.2)
        left = await place.waiting_events()
        if time.monotonic() - began > _LOOK_S * len(memory):
            memory.append(watched.memory_mb()["router"])
        if left < said - count // 10:
            said = left
            run.say(f"{left:,} left, router {memory[-1]:.0f} MB")
    took = time.monotonic() - began
    cpu = {name: round(seconds / took, 2) for name, seconds in watched.cpu_seconds().items()}
    place.stack.stop("router")
    detail = {
        "selected_rows_per_s": round(selected), "runs_begun": await place.runs_under_way(),
        "microseconds_per_event": round(1e6 * took / count), "processors_used": cpu,
    }  # fmt: skip
    return _Drained(count / took, memory, detail)


def _found(run: Run, drained: _Drained, bare: float) -> None:
    run.found(
        "events drained", drained.rate, "events/s", baseline=bare, goal=times_baseline(0.5),
        baseline_is="the router's own reader, before and after: such rows, made into events, and nothing done",
        detail=drained.detail,
    )  # fmt: skip
    memory = drained.memory_mb
    quarter = max(1, len(memory) // 4)
    early, late = max(memory[: 2 * quarter]), max(memory[-quarter:])
    run.found(
        "router's memory, last quarter over first half", late / early, "x", goal=at_most(1.15),
        detail={"early_mb": early, "late_mb": late},
    )  # fmt: skip
