"""Double opt-in: asks whoever reads the mails of an address whether the consent that was given for it is meant."""

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import Unconfirmed
    from domain.facts import ConsentConfirmed, ConsentPending, ConsentWithdrawn, Fact
    from domain.plans import DoubleOptInPlan, Plan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import PinnedPlan, Snapshot
from workflows.journey import Journey


@workflow.defn(name="double-opt-in")
class DoubleOptIn(Journey[DoubleOptInPlan]):
    """One mail with a link, then patience; what is not confirmed in time never counts."""

    name = "double-opt-in"
    plan = DoubleOptInPlan
    entered_by = (ConsentPending,)
    ends: ClassVar = {ConsentConfirmed: Outcome.CONFIRMED, ConsentWithdrawn: Outcome.WITHDRAWN}

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot, offer: PinnedPlan) -> bool:
        """Ask a new address at once, and the same one again only if the last mail is some time ago."""
        plan, run = state.plan(cls.name, DoubleOptInPlan), state.open_run(cls.name)
        moved = isinstance(fact, ConsentPending) and fact.new_address
        rested = moved or state.rested(cls.name, plan.again)
        return rested and (run is None or (run.since < fact.at and (moved or run.sent > 0)))

    @classmethod
    def restarts(cls, run: RunState, plan: Plan) -> Outcome | None:
        """Whoever asks again gets another mail, and the time begins anew."""
        return Outcome.RESTARTED

    @workflow.run
    async def run(self, entry: Entry[DoubleOptInPlan]) -> Outcome:
        """Ask, and wait for the answer."""
        async with self.until_exit(entry):
            async for step in self.steps_due():
                plan = self.entry.plan
                await self.send(step, Unconfirmed(by=entry.begun_at + plan.patience, again=plan.again))
            patience = lambda: entry.begun_at + self.entry.plan.patience - workflow.now()  # noqa: E731
            await self.wait_for(lambda: False, at_most=patience, summary="for the answer to the mail")
            self.leave(Outcome.EXPIRED, because="nobody confirmed it in time")
        return self.outcome

    @workflow.signal(description="Whoever reads the mails has confirmed it: the consent counts.")
    def consent_confirmed(self, confirmation: ConsentConfirmed) -> None:
        self.end(confirmation)

    @workflow.signal(description="There is nothing left to confirm.")
    def consent_withdrawn(self, withdrawal: ConsentWithdrawn) -> None:
        self.end(withdrawal)
