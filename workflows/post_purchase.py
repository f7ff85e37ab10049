"""Post-purchase: thanks, help, related products and a request for a review after an order."""

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import OrderStands
    from domain.facts import Fact, OrderCancelled, OrderPlaced, OrderRefunded
    from domain.plans import Plan, PostPurchasePlan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import PinnedPlan, Snapshot
from workflows.journey import Journey


@workflow.defn(name="post-purchase")
class PostPurchase(Journey[PostPurchasePlan]):
    """Looks after a customer who has bought; over when the order is refunded or cancelled."""

    name = "post-purchase"
    plan = PostPurchasePlan
    entered_by = (OrderPlaced,)
    ends: ClassVar = {OrderRefunded: Outcome.REFUNDED, OrderCancelled: Outcome.REFUNDED}

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot, offer: PinnedPlan) -> bool:
        """Begin with every order that stands and is the customer's newest."""
        return fact.at == state.last_order_at

    @classmethod
    def restarts(cls, run: RunState, plan: Plan) -> Outcome | None:
        """The next order begins again for itself, if the plan says so."""
        return Outcome.RESTARTED if isinstance(plan, PostPurchasePlan) and plan.next_order == "restart" else None

    @classmethod
    def concerns(cls, fact: Fact, run: RunState, state: Snapshot) -> bool:
        """A refund or cancellation is about one order."""
        return isinstance(fact, OrderRefunded | OrderCancelled) and fact.order_id == run.order_id

    @workflow.run
    async def run(self, entry: Entry[PostPurchasePlan]) -> Outcome:
        """Thank the customer and stay in touch, while the order stands."""
        async with self.until_exit(entry):
            async for step in self.steps_due():
                await self.send(step, OrderStands(order_id=entry.order_id or ""))
        return self.outcome

    @workflow.signal(description="The money went back.")
    def order_refunded(self, refund: OrderRefunded) -> None:
        self.end(refund)

    @workflow.signal(description="The order was called off.")
    def order_cancelled(self, cancellation: OrderCancelled) -> None:
        self.end(cancellation)
