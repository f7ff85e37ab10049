"""Win-back: a few mails to a customer who has not ordered for a long time."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import Fact, OrderPlaced
    from domain.plans import Plan, WinBackPlan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import Snapshot
from workflows.journey import Journey


@workflow.defn(name="win-back")
class WinBack(Journey):
    """Waits out the silence after an order, then writes; every order begins a new silence.

    Each order continues the workflow as new, so ten years of orders are many short histories, not a long one.
    """

    name = "win-back"
    plan = WinBackPlan
    entered_by = (OrderPlaced,)

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot) -> bool:
        """Begin to wait with the customer's newest order."""
        return fact.at == state.last_order_at

    @classmethod
    def restarts(cls, run: RunState, plan: Plan) -> Outcome | None:
        """An order ends the passage: won back if we had written, otherwise the customer never left."""
        return Outcome.CONVERTED if run.sent else Outcome.RESTARTED

    @workflow.run
    async def run(self, entry: Entry[WinBackPlan]) -> Outcome:
        """Wait for the silence to last, then write."""
        with self.until_exit(entry):
            lapsed_at = entry.since + entry.plan.silence
            await self.wait_until(lapsed_at, summary="until the customer has been silent for long enough")
            for step in entry.plan.steps:
                await self.wait(step.delay, summary=f"before {step.name}")
                await self.send(step)
        return self.outcome
