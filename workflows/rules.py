"""What a journey tells the router about itself: who enters, what ends a run, which runs a fact is about."""

from collections.abc import Mapping
from typing import ClassVar

from domain.facts import Fact
from domain.plans import Plan
from domain.runs import Outcome, RunState
from domain.snapshot import Snapshot


class Rules:
    """The rules of a journey; pure, so the router asks them without a workflow.

    Attributes:
        name: The journey's name in workflow ids, plans and the Temporal UI.
        plan: The plan it takes.
        entered_by: The facts that can make a customer enter.
        ends: What ends a run, and how: the one place that says so, for the router and for the workflow.
    """

    name: ClassVar[str]
    plan: ClassVar[type[Plan]]
    entered_by: ClassVar[tuple[type[Fact], ...]]
    ends: ClassVar[Mapping[type[Fact], Outcome]] = {}

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot) -> bool:
        """Tell whether one of the facts in `entered_by` makes this customer enter now."""
        return True

    @classmethod
    def restarts(cls, run: RunState, plan: Plan) -> Outcome | None:
        """Say how a run under way ends when its customer would enter again; None leaves it alone."""
        return None

    @classmethod
    def concerns(cls, fact: Fact, run: RunState, state: Snapshot) -> bool:
        """Tell whether a fact that the journey listens to is about this run."""
        return True
