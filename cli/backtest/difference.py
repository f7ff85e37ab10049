"""The difference between two backtests of one recording: in totals, and for each customer."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel

from cli.backtest.report import Report, Tally

_COMPARED = ("runs", "triggers", "messages", "still_open", "customers_touched", "customers_touched_twice", "actions")


class Change(StrEnum):
    """What the plan changes for a customer."""

    MORE = "more"
    FEWER = "fewer"
    OTHER = "other"


class Changed(BaseModel):
    """One customer for whom something changes; messages are steps with their days."""

    customer: str
    change: Change
    messages: list[str]
    against: list[str]


class Difference(BaseModel):
    """What the plan does otherwise.

    Attributes:
        totals: The plan's numbers less those it is compared with.
        more, fewer, other, same: How many of the customers who got anything under either plan got that.
        changed: Each of them for whom something changes.
    """

    totals: dict[str, int]
    more: int = 0
    fewer: int = 0
    other: int = 0
    same: int = 0
    changed: list[Changed] = []


def difference(report: Report, tally: Tally, against: Report, other: Tally, labels: Mapping[int, str]) -> Difference:
    """Compare two plans.

    Args:
        report: Of the plan.
        tally: Of the plan as well.
        against: Of what it is compared with.
        other: Its tally.
        labels: What the customers are called.
    """
    found = Difference(totals={name: getattr(report, name) - getattr(against, name) for name in _COMPARED})
    for customer in sorted(tally.received.keys() | other.received.keys()):
        mine, theirs = tally.received.get(customer, []), other.received.get(customer, [])
        if mine == theirs:
            found.same += 1
            continue
        change = _change(len(mine) - len(theirs))
        found = found.model_copy(update={change.value: getattr(found, change.value) + 1})
        found.changed.append(
            Changed(
                customer=labels.get(customer, str(customer)),
                change=change,
                messages=[f"{step} {day}" for step, day in mine],
                against=[f"{step} {day}" for step, day in theirs],
            )
        )
    return found


def _change(more: int) -> Change:
    return Change.OTHER if more == 0 else Change.MORE if more > 0 else Change.FEWER
