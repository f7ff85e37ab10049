"""What a journey tells the router about itself: who enters, what ends a run, which runs a fact is about."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from domain.facts import Fact
from domain.plans import Plan
from domain.runs import Outcome, RunState
from domain.snapshot import PinnedPlan, Snapshot


class Rules:
    """The rules of a journey; pure, so the router asks them without a workflow.

    Attributes:
        name: The journey's name in workflow ids, plans and the Temporal UI.
        plan: The plan it takes.
        entered_by: The facts that can make a customer enter.
        ends: What ends a run, and how: the one place that says so, for the router and for the workflow.
        one_per_product: A customer may have one run for each product, not one in all.
        outlives_deploys: Its runs wait so long that they move to new code instead of staying with the old.
        events_first: A recorded event at the very instant at which a step is due comes before it (replays only;
            otherwise the commits decide). True where the plan says "longer than", not "at least".
    """

    name: ClassVar[str]
    plan: ClassVar[type[Plan]]
    entered_by: ClassVar[tuple[type[Fact], ...]]
    ends: ClassVar[Mapping[type[Fact], Outcome]] = {}
    one_per_product: ClassVar[bool] = False
    outlives_deploys: ClassVar[bool] = False
    events_first: ClassVar[bool] = False

    @classmethod
    def offered(cls, state: Snapshot) -> Sequence[PinnedPlan]:
        """Return the plans by which a store's customers can enter: one, unless a store adds its own."""
        return [state.pinned(cls.name, cls.plan)]

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot, offer: PinnedPlan) -> bool:
        """Tell whether one of the facts in `entered_by` makes this customer enter now."""
        return True

    @classmethod
    def hold(cls, fact: Fact, plan: Plan) -> timedelta:
        """Say how long after a fact there is nothing to do yet: Temporal holds the first task back for it."""
        return timedelta(0)

    @classmethod
    def restarts(cls, run: RunState, plan: Plan) -> Outcome | None:
        """Say how a run under way ends when its customer would enter again; None leaves it alone."""
        return None

    @classmethod
    def concerns(cls, fact: Fact, run: RunState, state: Snapshot) -> bool:
        """Tell whether a fact that the journey listens to is about this run."""
        return True
