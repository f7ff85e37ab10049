"""The tracking API's batches of a hundred, against a bare COPY of the rows that they became."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import psycopg

from bench.load import Load, put
from bench.result import at_most, times_baseline
from bench.runner import Run, part
from bench.stage import House, house

_EACH = 100
_CONNECTIONS = 24
"""As many as it takes for the API to have no pause: while some wait for one of three commits, others are read."""


@part("batch", "/v1/batch with 100 events a call", minutes=4)
async def batch(run: Run) -> None:
    """Send batches to one process of the API, then to two; after each, copy the rows there are to a table alike."""
    async with house(without=("router", "worker")) as place:
        own = urlsplit(place.stack.info.api).port or 80
        one = await _sent(place, run.of(small=6.0, full=30.0), [own])
        by_copy = [await _copied(place)]
        with place.another_api() as another:
            ports = [own, int(another.program.env["JOURNEYS_API_PORT"])]
            two = await _sent(place, run.of(small=6.0, full=30.0), ports, another=another.pid)
        by_copy.append(await _copied(place))
        names = ("events accepted by one process", "events accepted by two")
        for name, (rate, detail), bare in zip(names, (one, two), by_copy, strict=True):
            run.found(
                name, rate, "events/s", baseline=bare, goal=times_baseline(0.5),
                baseline_is="one COPY of the same rows into a table alike, with its indexes", detail=detail,
            )  # fmt: skip
        errors = sum(sum(detail["errors"].values()) for _, detail in (one, two))
        run.found("errors", errors, "requests", goal=at_most(0))


async def _sent(
    place: House, seconds: float, ports: Sequence[int], **watch: int | None
) -> tuple[float, dict[str, Any]]:
    """Load processes of the API alike; return the events per second, and what it took."""
    loads = [
        Load(
            port=port, path="/v1/batch", key=place.stack.info.write_key, connections=_CONNECTIONS // len(ports),
            seconds=seconds, each=_EACH, prefix=f"{len(ports)}-{port}",
        )
        for port in ports
    ]  # fmt: skip
    watched = place.processes(**watch)
    answered = await asyncio.gather(*(put(load) for load in loads))
    cpu = {name: round(used / seconds, 2) for name, used in watched.cpu_seconds().items()}
    return _EACH * sum(each.rate for each in answered), {
        "latency_ms": [each.latency_ms for each in answered],
        "processors_used": cpu,
        "client_processors": sum(each.client_cpu for each in answered),
        "connections": _CONNECTIONS,
        "errors": dict(sum((Counter(each.errors) for each in answered), Counter[str]())),
    }


async def _copied(place: House) -> float:
    rows, took = await asyncio.to_thread(copied, place.stack.info.database_url)
    return rows / took


def copied(url: str) -> tuple[int, float]:
    """Copy the events of a database into an empty table alike; return how many, and the seconds of the writing."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table bare_events (like events including all)")
        with connection.cursor().copy("copy (select * from events) to stdout") as out:
            blocks = list(out)
        began = time.monotonic()
        with connection.cursor().copy("copy bare_events from stdin") as into:
            for block in blocks:
                into.write(block)
        took = time.monotonic() - began
        connection.execute("drop table bare_events")
    return len(blocks), took
