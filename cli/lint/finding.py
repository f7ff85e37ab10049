"""Findings: what is wrong, where, and how to put it right."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cli.lint.subject import House

Place = tuple[str, str, str, str]
"""Where a rule is broken: file, journey, problem and fix."""


@dataclass(frozen=True)
class Finding:
    """One place that breaks a rule.

    Attributes:
        journey: As Postgres names it.
        fix: What to do, in one sentence.
    """

    code: str
    file: str
    journey: str
    problem: str
    fix: str


@dataclass(frozen=True)
class Rule:
    """What journeys must keep.

    Attributes:
        code: Stable: it may stand in scripts.
        forbids: What it finds.
        because: What happens otherwise.
        check: Yields the places that break it.
    """

    code: str
    forbids: str
    because: str
    check: Callable[[House], Iterator[Place]]

    def findings(self, house: House) -> list[Finding]:
        """Return the places that break it."""
        return [Finding(self.code, *place) for place in self.check(house)]
