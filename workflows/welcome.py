"""Welcome: who we are, for someone new; over with the first order."""

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import ConsentConfirmed, Fact, NewsletterSubscribed, OrderPlaced, SignedUp
    from domain.plans import WelcomePlan
    from domain.runs import Entry, Outcome
    from domain.snapshot import PinnedPlan, Snapshot
from workflows.journey import Journey


@workflow.defn(name="welcome")
class Welcome(Journey[WelcomePlan]):
    """A few mails for someone new; over with the first order, and never again."""

    name = "welcome"
    plan = WelcomePlan
    entered_by = (SignedUp, NewsletterSubscribed, ConsentConfirmed)
    ends: ClassVar = {OrderPlaced: Outcome.CONVERTED}

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot, offer: PinnedPlan) -> bool:
        """Begin once in a customer's life, before the first order, and not before consent has been confirmed."""
        if state.unconfirmed or (isinstance(fact, ConsentConfirmed) and not fact.mail_as_such):
            return False
        return cls.name not in state.begun and state.orders == 0

    @workflow.run
    async def run(self, entry: Entry[WelcomePlan]) -> Outcome:
        """Welcome the customer, step by step."""
        async with self.until_exit(entry):
            async for step in self.steps_due():
                await self.send(step)
        return self.outcome

    @workflow.signal(description="The first order: the customer needs no more introduction.")
    def order_placed(self, order: OrderPlaced) -> None:
        self.end(order)
