"""The tracking API under a thousand connections, against a bare route; and how long it takes at half of its peak."""

from urllib.parse import urlsplit

from bench.environment import Processes
from bench.load import Answered, Load, put
from bench.result import at_most, below, times_baseline
from bench.runner import Run, part
from bench.stage import House, free_port, house, program

_CONNECTIONS = 1_000


@part("track", "/v1/track with 1,000 connections", minutes=5)
async def track(run: Run) -> None:
    """Load ours between two halves of the bare one, so that what the machine does meanwhile hits both."""
    seconds = run.of(small=6.0, full=60.0)
    async with house(without=("router", "worker")) as place:
        port = free_port()
        with program(place.directory, "bench.bare_api", port, ready=port) as bare_api:
            bare = Load(port=port, path="/v1/track", key="none", connections=_CONNECTIONS, seconds=seconds / 2)
            ours = _load(place, seconds, "peak")
            before = await put(bare)
            watched = place.processes()
            peak = await put(ours)
            used = watched.cpu_seconds()
            cpu = {name: round(seconds_used / peak.seconds, 2) for name, seconds_used in used.items()}
            alone = Processes(bare=bare_api.pid)
            after = await put(bare)
            bare_cpu = alone.cpu_seconds()["bare"]
        baseline = (before.requests + after.requests) / (before.seconds + after.seconds)
        run.found(
            "requests answered", peak.rate, "requests/s", baseline=baseline, goal=times_baseline(0.7),
            baseline_is="a FastAPI route that parses the same body and answers, served alike",
            detail={
                **_detail(peak), "processors_used": cpu, "bare": _detail(after),
                "api_cpu_us_per_request": round(1e6 * used["api"] / peak.requests),
                "bare_cpu_us_per_request": round(1e6 * bare_cpu / after.requests),
            },
        )  # fmt: skip
        run.found("errors", sum(peak.errors.values()), "requests", goal=at_most(0), detail=peak.errors)
        half = await put(_load(place, seconds / 2, "half", rate=peak.rate / 2))
        run.found(
            "p95 at half of the peak", half.latency_ms["p95"], "ms", goal=below(50),
            detail={"rate": round(half.rate), **_detail(half), "errors": half.errors},
        )  # fmt: skip


def _load(place: House, seconds: float, prefix: str, rate: float | None = None) -> Load:
    port = urlsplit(place.stack.info.api).port or 80
    return Load(
        port=port, path="/v1/track", key=place.stack.info.write_key, connections=_CONNECTIONS, seconds=seconds,
        rate=rate, prefix=prefix,
    )  # fmt: skip


def _detail(answered: Answered) -> dict[str, object]:
    return {"latency_ms": answered.latency_ms, "client_processors": answered.client_cpu}
