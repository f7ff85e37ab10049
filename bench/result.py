"""Results: what was measured, against what, and whether that is good enough."""

import operator
from typing import Any, Literal

from pydantic import Field

from domain.values import Value

_SENSES = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


class Goal(Value):
    """What a figure, or its ratio to the bare one, is meant to reach."""

    of: Literal["ratio", "measured"]
    sense: Literal[">=", "<=", "<"]
    bound: float

    def __str__(self) -> str:
        """Write it as a table does."""
        sign = {">=": "≥", "<=": "≤", "<": "<"}[self.sense]
        return f"{sign} {self.bound:g}{' x' if self.of == 'ratio' else ''}"


class Result(Value):
    """One line of the report.

    Attributes:
        measured: Ours, in `unit`.
        baseline: The bare thing, in the same unit and from the same run; None where there is none.
        baseline_is: What it is.
        detail: What else was seen on the way: percentiles, processor seconds, sizes.
    """

    part: str
    name: str
    unit: str
    measured: float
    baseline: float | None = None
    baseline_is: str = ""
    goal: Goal | None = None
    detail: dict[str, Any] = Field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours as a multiple of the bare thing."""
        return None if not self.baseline else self.measured / self.baseline

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        reached = self.ratio if self.goal.of == "ratio" else self.measured
        return reached is not None and bool(_SENSES[self.goal.sense](reached, self.goal.bound))

    def as_row(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        goal, bound = (None, None) if self.goal is None else (str(self.goal), self.goal.bound)
        row = self.model_dump(exclude={"goal"})
        return {**row, "ratio": self.ratio, "goal": goal, "bound": bound, "met": self.met}


def at_least(bound: float) -> Goal:
    """Ask for so much of the figure itself."""
    return Goal(of="measured", sense=">=", bound=bound)


def at_most(bound: float) -> Goal:
    """Ask for no more than so much."""
    return Goal(of="measured", sense="<=", bound=bound)


def below(bound: float) -> Goal:
    """Ask for less than so much."""
    return Goal(of="measured", sense="<", bound=bound)


def times_baseline(bound: float) -> Goal:
    """Ask for so much of what the bare thing reaches."""
    return Goal(of="ratio", sense=">=", bound=bound)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share (0 to 1) of the values lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def percentiles(values: list[float]) -> dict[str, float]:
    """Return the median, the usual tails and the worst, rounded."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "worst": 1.0}
    return {name: round(percentile(values, share), 1) for name, share in shares.items()}
