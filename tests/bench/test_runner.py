"""The suite of benchmarks as it is run: a part by itself, to its end or until somebody has seen enough."""

import asyncio
import os
import signal

import pytest
from rich.console import Console

from bench.memory import circle_through
from bench.runner import Act, Part, Run, measured


def part(act: Act) -> Part:
    return Part("example", "an example", 1, act)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_part_that_is_stopped_cleans_up_and_what_it_found_counts(number: signal.Signals) -> None:
    """An hour of measuring is not lost because the last figure was not waited for."""
    left: list[str] = []

    async def patient(run: Run) -> None:
        try:
            run.found("first figure", 1.5, "s")
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            left.append("cleaned up")

    record = measured(part(patient), "small", Console(quiet=True))

    assert record["stopped"] == f"stopped by {number.name}"
    assert [row["measured"] for row in record["results"]] == [1.5]
    assert left == ["cleaned up"]


def test_a_part_that_fails_is_told_as_failed() -> None:
    """With the figures that it had found."""

    async def unlucky(run: Run) -> None:
        run.found("first figure", 1.5, "s")
        raise RuntimeError("no luck")

    record = measured(part(unlucky), "small", Console(quiet=True))

    assert record["failed"] == "RuntimeError: no luck"
    assert len(record["results"]) == 1
    assert "stopped" not in record


def test_a_record_says_how_quick_the_memory_of_the_machine_was() -> None:
    """Near the processor and far from it; how much longer the second takes differs from hour to hour."""

    async def nothing(_: Run) -> None:
        pass

    record = measured(part(nothing), "small", Console(quiet=True))

    assert record["environment"]["read_ns"].keys() == {"64 kB", "16384 kB"}
    assert all(ns > 0 for ns in record["environment"]["read_ns"].values())


def test_each_read_leads_to_another_place_until_all_have_been_visited() -> None:
    """In a shorter circle what is read again and again would be near."""
    circle = circle_through(1_000)
    place, visited = 0, set()
    for _ in circle:
        place = circle[place]
        visited.add(place)

    assert visited == set(range(1_000))
