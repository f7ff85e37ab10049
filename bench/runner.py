"""The runner: finds the parts that were asked for, runs each by itself, and keeps what they say."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.markup import escape

from bench.environment import environment, load
from bench.memory import read_ns
from bench.result import Result
from cli.stack.processes import Stopped, until_asked_to_end
from domain.errors import NotFound

T = TypeVar("T")
Size = Literal["small", "full"]
Act = Callable[["Run"], Awaitable[None]]


class Skipped(Exception):  # noqa: N818 - it is no error: the machine lacks something
    """A part cannot be measured here; says why."""


@dataclass(frozen=True)
class Part:
    """One part of the suite.

    Attributes:
        minutes: About how long the full size takes on two cores; a part that takes thrice as long is stopped.
    """

    name: str
    question: str
    minutes: float
    act: Act


PARTS: dict[str, Part] = {}
"""By name, in the order of the report."""


def part(name: str, question: str, *, minutes: float) -> Callable[[Act], Act]:
    """Make a function a part of the suite."""

    def add(act: Act) -> Act:
        PARTS[name] = Part(name, question, minutes, act)
        return act

    return add


class Run:
    """One part under way: how large it is to be, and where its results go."""

    def __init__(self, name: str, size: Size, console: Console) -> None:
        self.name = name
        self.size = size
        self.results: list[Result] = []
        self._console = console
        self._began = time.monotonic()

    def of(self, *, small: T, full: T) -> T:
        """Choose a number by the size of the run."""
        return full if self.size == "full" else small

    def say(self, text: str) -> None:
        """Tell whoever watches how far it is."""
        self._console.print(f"[dim]{self.name} {time.monotonic() - self._began:6.1f} s[/]  {escape(text)}")

    def found(self, name: str, measured: float, unit: str, **more: Any) -> Result:
        """Add a line to the report."""
        result = Result(part=self.name, name=name, measured=measured, unit=unit, **more)
        self.results.append(result)
        against = "" if result.baseline is None else f", bare {result.baseline:,.4g} {unit}, ratio {result.ratio:.2f}"
        self.say(f"{name}: {measured:,.4g} {unit}{against} {'' if result.goal is None else f'(goal {result.goal})'}")
        return result


def chosen(names: Sequence[str]) -> list[Part]:
    """Return the parts of these names; all of them if none is named.

    Raises:
        NotFound: There is no part of one of these names.
    """
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise NotFound(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return [PARTS[name] for name in names] if names else list(PARTS.values())


def measured(one: Part, size: Size, console: Console) -> dict[str, Any]:
    """Run a part and return its record, for JSON; a part that fails is recorded as failed and stops nothing else.

    One that is asked to end cleans up, and what it has found by then counts.
    """
    run = Run(one.name, size, console)
    record: dict[str, Any] = {"part": one.name, "question": one.question, "size": size}
    record["environment"] = {**environment(), "load_at_start": load(), "read_ns": read_ns()}
    began = time.monotonic()
    run.say(one.question)
    try:
        with until_asked_to_end():
            asyncio.run(_bounded(one, run))
    except Stopped as signal:
        record["stopped"] = f"stopped by {signal}"
    except Skipped as reason:
        record["skipped"] = str(reason)
        run.say(f"skipped: {reason}")
    except Exception as problem:  # noqa: BLE001 - one part that fails must not cost the figures of the others
        record["failed"] = f"{type(problem).__name__}: {problem}"
        console.print_exception(max_frames=4)
    record["seconds"] = round(time.monotonic() - began, 1)
    record["environment"]["load_at_end"] = load()
    record["results"] = [result.as_row() for result in run.results]
    return record


async def _bounded(one: Part, run: Run) -> None:
    async with asyncio.timeout(60 * max(3 * one.minutes, 5)):
        await one.act(run)
