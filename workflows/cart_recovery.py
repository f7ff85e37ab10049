"""Cart recovery: reminders for a cart left behind, and silence once the customer buys."""

from datetime import timedelta
from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import CartQuiet
    from domain.facts import CartChanged, CartEmptied, Fact, OrderPlaced
    from domain.plans import CartRecoveryPlan, Plan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import PinnedPlan, Snapshot
from workflows.journey import Journey


@workflow.defn(name="cart-recovery")
class CartRecovery(Journey[CartRecoveryPlan]):
    """Reminders for a cart left behind; silence once the customer buys."""

    name = "cart-recovery"
    plan = CartRecoveryPlan
    entered_by = (CartChanged,)
    ends: ClassVar = {OrderPlaced: Outcome.CONVERTED, CartEmptied: Outcome.CART_EMPTIED}

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot, offer: PinnedPlan) -> bool:
        """Begin unless we reminded this customer a short time ago."""
        last = state.last_sent.get(cls.name)
        return last is None or last + state.plan(cls.name, cls.plan).cool_down <= state.now

    @classmethod
    def hold(cls, fact: Fact, plan: Plan) -> timedelta:
        """There is nothing to do before the cart has been quiet."""
        return plan.before_first

    @classmethod
    def concerns(cls, fact: Fact, run: RunState, state: Snapshot) -> bool:
        """An order counts unless the customer has put something into the cart since."""
        return not state.cart.lines

    @workflow.run
    async def run(self, entry: Entry[CartRecoveryPlan]) -> Outcome:
        """Remind, as long as the cart is still there and still quiet.

        Temporal holds the first task back for the quiet hour (start delay), and a cart that changes meanwhile
        only makes the first `send` wait: twenty changes cost no signal and one timer.
        """
        async with self.until_exit(entry):
            async for reminder in self.steps_due():
                await self.send(reminder, CartQuiet(quiet=self.entry.plan.quiet))
        return self.outcome

    @workflow.signal(description="The customer bought; nothing more is sent.")
    def order_placed(self, order: OrderPlaced) -> None:
        self.end(order)

    @workflow.signal(description="The customer took everything out of the cart.")
    def cart_emptied(self, cart: CartEmptied) -> None:
        self.end(cart)
