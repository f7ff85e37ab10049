"""Browse abandonment: a word about the product that a customer keeps looking at, and silence once there is a cart."""

from datetime import timedelta
from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import Undecided
    from domain.facts import CartChanged, Fact, InterestShown, OrderPlaced
    from domain.plans import BrowseAbandonmentPlan, Plan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import PinnedPlan, Snapshot
from workflows.journey import Journey


@workflow.defn(name="browse-abandonment")
class BrowseAbandonment(Journey[BrowseAbandonmentPlan]):
    """Writes about one product; the looks are counted in Postgres, and nothing is here before they are enough."""

    name = "browse-abandonment"
    plan = BrowseAbandonmentPlan
    entered_by = (InterestShown,)
    ends: ClassVar = {OrderPlaced: Outcome.CONVERTED, CartChanged: Outcome.CART_FILLED}

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot, offer: PinnedPlan) -> bool:
        """Begin without a cart, unless we wrote to this customer a short time ago."""
        return not state.cart.lines and state.rested(cls.name, state.plan(cls.name, cls.plan).cool_down)

    @classmethod
    def hold(cls, fact: Fact, plan: Plan) -> timedelta:
        """There is nothing to do before the customer has stopped looking."""
        return plan.before_first

    @classmethod
    def concerns(cls, fact: Fact, run: RunState, state: Snapshot) -> bool:
        """A cart or an order counts, unless we hear of it so late that it was over before the first look."""
        return bool(state.cart.lines) or fact.at > run.since - state.plan(cls.name, cls.plan).window

    @workflow.run
    async def run(self, entry: Entry[BrowseAbandonmentPlan]) -> Outcome:
        """Write once the customer has not looked for a while; looking again only makes the message wait."""
        async with self.until_exit(entry):
            async for step in self.steps_due():
                await self.send(step, Undecided(product_id=entry.product_id or "", quiet=self.entry.plan.quiet))
        return self.outcome

    @workflow.signal(description="The customer bought; nothing more is sent.")
    def order_placed(self, order: OrderPlaced) -> None:
        self.end(order)

    @workflow.signal(description="The customer has a cart now, which is another journey's business.")
    def cart_changed(self, cart: CartChanged) -> None:
        self.end(cart)
