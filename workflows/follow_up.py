"""Follow-up: a store's own journey, made of a plan alone: an event, conditions, messages, exits."""

from datetime import timedelta
from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import EventHeard, Fact
    from domain.plans import FollowUpPlan, Plan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import PinnedPlan, Snapshot
from workflows.journey import Journey


@workflow.defn(name="follow-up")
class FollowUp(Journey[FollowUpPlan]):
    """Writes some time after an event, unless something happens that makes it needless."""

    name = "follow-up"
    plan = FollowUpPlan
    entered_by = (EventHeard,)
    ends: ClassVar = {EventHeard: Outcome.CONVERTED}
    outlives_deploys = True
    events_first = True

    @classmethod
    def offered(cls, state: Snapshot) -> list[PinnedPlan]:
        """A store has as many as it likes, each under a name of its own."""
        return [pinned for _, pinned in sorted(state.plans.items()) if isinstance(pinned.plan, FollowUpPlan)]

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot, offer: PinnedPlan) -> bool:
        """Begin if the event meets the conditions and the last time is long enough ago."""
        met = isinstance(fact, EventHeard) and offer.journey in fact.meets
        return met and state.rested(offer.journey, state.plan(offer.journey, FollowUpPlan).again)

    @classmethod
    def hold(cls, fact: Fact, plan: Plan) -> timedelta:
        """There is nothing to do before the first message."""
        return plan.steps[0].delay

    @classmethod
    def concerns(cls, fact: Fact, run: RunState, state: Snapshot) -> bool:
        """What the plan names counts, if it happened since, or should not have happened before."""
        plan = state.plan(run.journey, FollowUpPlan)
        return isinstance(fact, EventHeard) and plan.ends(run.exits, fact.name, fact.at - run.since)

    @workflow.run
    async def run(self, entry: Entry[FollowUpPlan]) -> Outcome:
        """Send what the plan says."""
        async with self.until_exit(entry):
            async for step in self.steps_due():
                await self.send(step)
        return self.outcome

    @workflow.signal(description="Something happened that ends this follow-up by its plan.")
    def event_heard(self, event: EventHeard) -> None:
        self.end(event)
