"""Steps: what is done with many things, a step with all of them before the next one.

One thing many times over costs a processor less than all of them in turn (docs/performance.md).
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from domain.errors import InvalidEvent

T = TypeVar("T")
U = TypeVar("U")


class Refused(NamedTuple):
    """One thing that could not take a step, and why; the error itself would hold on to all of them."""

    number: int
    field: str
    rule: str


def each(step: Callable[[T], U], things: Iterable[tuple[int, T]], refused: list[Refused]) -> list[tuple[int, U]]:
    """Take a step with each of many things; what cannot take it is refused, and only that.

    Args:
        step: Raises `InvalidEvent` for what it refuses.
        things: Each with its number.
        refused: Where those are added that are refused.

    Returns:
        What became of the others, each with its number.
    """
    done: list[tuple[int, U]] = []
    for number, thing in things:
        try:
            done.append((number, step(thing)))
        except InvalidEvent as problem:
            refused.append(Refused(number, problem.field, problem.message))
    return done
