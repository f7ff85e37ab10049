"""The tracking API's batches of a hundred, against a bare COPY of the rows that they became."""

import asyncio
import time
from urllib.parse import urlsplit

import psycopg

from bench.load import Load, put
from bench.result import at_most, times_baseline
from bench.runner import Run, part
from bench.stage import house

_EACH = 100
_CONNECTIONS = 8


@part("batch", "/v1/batch with 100 events a call", minutes=3)
async def batch(run: Run) -> None:
    """Send batches, and then copy the rows that they left into a table alike."""
    seconds = run.of(small=6.0, full=30.0)
    async with house(without=("router", "worker")) as place:
        port = urlsplit(place.stack.info.api).port or 80
        load = Load(
            port=port, path="/v1/batch", key=place.stack.info.write_key, connections=_CONNECTIONS, seconds=seconds,
            each=_EACH,
        )  # fmt: skip
        watched = place.processes()
        answered = await put(load)
        cpu = {name: round(used / answered.seconds, 2) for name, used in watched.cpu_seconds().items()}
        rows, took = await asyncio.to_thread(copied, place.stack.info.database_url)
        run.found(
            "events accepted", _EACH * answered.rate, "events/s", baseline=rows / took, goal=times_baseline(0.5),
            baseline_is="one COPY of the same rows into a table alike, with its indexes",
            detail={
                "latency_ms": answered.latency_ms, "processors_used": cpu, "client_processors": answered.client_cpu,
                "rows": rows, "connections": _CONNECTIONS,
            },
        )  # fmt: skip
        run.found("errors", sum(answered.errors.values()), "requests", goal=at_most(0), detail=answered.errors)


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
