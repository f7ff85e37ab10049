"""Win-back: a few mails to a customer who has not ordered for a long time."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import Fact, OrderPlaced
    from domain.plans import Plan, WinBackPlan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import PinnedPlan, Snapshot
from workflows.journey import Journey


@workflow.defn(name="win-back")
class WinBack(Journey[WinBackPlan]):
    """Waits out the silence after an order, then writes; every order begins a new silence.

    Each order continues the workflow as new, so ten years of orders are many short histories, not a long one.
    """

    name = "win-back"
    plan = WinBackPlan
    entered_by = (OrderPlaced,)
    outlives_deploys = True
    events_first = True

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot, offer: PinnedPlan) -> bool:
        """Begin to wait with the customer's newest order."""
        return fact.at == state.last_purchase_at

    @classmethod
    def restarts(cls, run: RunState, plan: Plan) -> Outcome | None:
        """An order ends the passage: won back if we had written, otherwise the customer never left."""
        return Outcome.CONVERTED if run.sent else Outcome.RESTARTED

    @workflow.run
    async def run(self, entry: Entry[WinBackPlan]) -> Outcome:
        """Wait for the silence to last, then write."""
        async with self.until_exit(entry):
            async for step in self.steps_due():
                await self.send(step)
        return self.outcome
