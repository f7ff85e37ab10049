"""Latency: from an acknowledged event to the run that it begins, and from a purchase to the run that it ends."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from adapters.postgres.tables import identities, runs
from adapters.postgres.tenancy import as_store
from bench import calls
from bench.load import Load, put
from bench.result import below, percentiles
from bench.runner import Run, part
from bench.stage import STORE, House, house, until

_CONNECTIONS = 64
_APART_S = (0.3, 0.7)
"""Between two customers: each costs as much as dozens of the events beside, and what is measured is not their load."""


@part("latency", "event acknowledged until journey started; purchase acknowledged until run closed", minutes=6)
async def latency(run: Run) -> None:
    """Measure on an idle stack, and then at half of the load that API and router together can take."""
    count = run.of(small=20, full=100)
    async with house() as place:
        await place.only("cart-recovery")
        # The purchase finds the run between two reminders: in the quiet hour it has no task yet that could see it.
        steps = [{"name": f"r-{n}", "template": "cart-reminder", "delay": f"PT{6 * n}H"} for n in range(2)]
        await place.plan("cart-recovery", quiet="PT0S", steps=steps)
        await _measured(run, place, count, "unloaded", {})
        rate = await _sustained(place, run.of(small=5.0, full=20.0))
        run.say(f"the chain sustains {rate:.0f} events/s")
        # Longer than the measuring takes: each customer has two events, half a second apart from the next.
        load = asyncio.create_task(put(_load(place, 30 + 2.5 * count, "half", rate / 2)))
        await asyncio.sleep(3)
        await _measured(run, place, count, "at half load", {"events_per_s_beside": round(rate / 2)})
        load.cancel()
        await asyncio.wait([load])


async def _measured(run: Run, place: House, count: int, when: str, detail: Mapping[str, Any]) -> None:
    users = [f"{when.rsplit(maxsplit=1)[-1]}-{number}" for number in range(count)]
    await place.told([calls.subscriber(user) for user in users])
    await asyncio.sleep(1)
    begun = await _acknowledged(place, users, calls.cart)
    ids = await _workflows(place, begun)
    started = {user: (await place.temporal.get_workflow_handle(ids[user]).describe()).start_time for user in users}
    waits = [1000 * (started[user].timestamp() - begun[user]) for user in users]
    _found(run, f"event to journey started, {when}", waits, detail)

    async def reminded() -> bool:
        return {f"{user}@example.com" for user in users} <= {to for _, to in place.mails()}

    await until(reminded)
    await asyncio.sleep(1)
    ended = await _acknowledged(place, users, calls.order)
    closed: dict[str, float] = {}

    async def all_closed() -> bool:
        for user in users:
            if user not in closed:
                found = await place.temporal.get_workflow_handle(ids[user]).describe()
                if found.close_time is None:
                    return False
                closed[user] = found.close_time.timestamp()
        return True

    await until(all_closed)
    _found(run, f"purchase to run closed, {when}", [1000 * (closed[user] - ended[user]) for user in users], detail)


def _found(run: Run, name: str, waits: list[float], detail: Mapping[str, Any]) -> None:
    spread = percentiles(waits)
    run.found(name, spread["p95"], "ms (p95)", goal=below(250), detail={**spread, **detail})


async def _acknowledged(place: House, users: list[str], call: Callable[[str], dict[str, Any]]) -> dict[str, float]:
    """Send one event of each, one after the other; return when each was acknowledged, in seconds since 1970."""
    moments = {}
    for user in users:
        (await place.http.post("/v1/track", json=call(user))).raise_for_status()
        moments[user] = time.time()
        await asyncio.sleep(random.uniform(*_APART_S))
    return moments


async def _workflows(place: House, users: Mapping[str, float]) -> dict[str, str]:
    """Return the workflow of each user, once all have one."""
    theirs = (identities.c.store_id == runs.c.store_id) & (identities.c.customer_id == runs.c.customer_id)
    query = select(identities.c.value, runs.c.workflow_id).join(runs, theirs)
    query = query.where(identities.c.store_id == STORE, identities.c.value.in_(users))
    found: dict[str, str] = {}

    async def all_there() -> bool:
        async with as_store(place.engine, STORE) as connection:
            found.update({row.value: row.workflow_id for row in await connection.execute(query)})
        return len(found) == len(users)

    await until(all_there)
    return found


def _load(place: House, seconds: float, prefix: str, rate: float | None) -> Load:
    info = place.stack.info
    return Load(
        port=urlsplit(info.api).port or 80, path="/v1/track", key=info.write_key, connections=_CONNECTIONS,
        seconds=seconds, rate=rate, prefix=prefix,
    )  # fmt: skip


async def _sustained(place: House, seconds: float) -> float:
    """Load the API as it will bear, and wait for the router; return the rate at which events went all the way."""
    began = time.monotonic()
    answered = await put(_load(place, seconds, "all", None))

    async def routed() -> bool:
        return not await place.waiting_events()

    await until(routed)
    return answered.requests / (time.monotonic() - began)
