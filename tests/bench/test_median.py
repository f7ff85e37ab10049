"""Several runs of a part, of which each line of the report is the middle one."""

from typing import Any

import pytest

from bench.median import median
from bench.result import Goal, Result, at_least, at_most, below, times_baseline


def record(*results: Result, **more: Any) -> dict[str, Any]:
    return {"part": "example", "seconds": 10.0, "results": [result.as_row() for result in results], **more}


def figure(measured: float, goal: Goal | None = None, baseline: float | None = None, name: str = "figure") -> Result:
    return Result(part="example", name=name, unit="x", measured=measured, baseline=baseline, goal=goal)


@pytest.mark.parametrize(
    ("goal", "runs", "middle"),
    [
        (None, [3, 1, 2], 2),
        (at_least(10), [12, 8, 11], 11),
        (at_least(10), [12, 8], 8),
        (below(10), [8, 12], 12),
        (at_most(5), [9, 4, 5, 3], 5),
        (at_most(0), [0, 0, 1], 1),
        (at_most(0), [0, 0, 0], 0),
    ],
)
def test_a_line_is_that_of_the_middle_run_and_of_two_the_worse(
    goal: Goal | None, runs: list[float], middle: float
) -> None:
    """But what must not happen at all must not happen in any run."""
    made = median([record(figure(measured, goal)) for measured in runs])["results"][0]

    assert made["measured"] == middle
    assert made["runs"] == runs
    assert made["met"] == figure(middle, goal).met


def test_a_ratio_is_compared_and_not_what_it_is_made_of() -> None:
    """A quick hour is quick for both."""
    goal = times_baseline(0.5)
    runs = [figure(90, goal, baseline=200), figure(30, goal, baseline=50), figure(55, goal, baseline=100)]
    made = median([record(run) for run in runs])["results"][0]

    assert (made["measured"], made["ratio"], made["met"]) == (55, 0.55, True)
    assert made["runs"] == [0.45, 0.6, 0.55]


def test_a_line_that_not_every_run_has_is_made_of_those_that_have_it() -> None:
    """How fast the rest was done, where there was a rest."""
    made = median([record(figure(1)), record(figure(3), figure(7, name="rest")), record(figure(2))])

    assert {row["name"]: row["measured"] for row in made["results"]} == {"figure": 2, "rest": 7}


def test_a_run_that_failed_fails_them_all() -> None:
    """The figures of the others are shown."""
    made = median([record(figure(1), failed="RuntimeError: no luck"), record(figure(3)), record(figure(2))])

    assert made["failed"] == "RuntimeError: no luck"
    assert made["results"][0]["measured"] == 2
    assert made["seconds"] == 30


def test_one_run_is_its_own_record() -> None:
    """Nothing is added to it."""
    only = record(figure(1))

    assert median([only]) is only
