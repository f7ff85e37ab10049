"""Cart recovery: reminders for a cart left behind, and silence once the customer buys."""

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import CartQuiet
    from domain.facts import CartChanged, CartEmptied, Fact, OrderPlaced
    from domain.plans import CartRecoveryPlan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import Snapshot
from workflows.journey import Journey


@workflow.defn(name="cart-recovery")
class CartRecovery(Journey):
    """Reminders for a cart left behind; silence once the customer buys."""

    name = "cart-recovery"
    plan = CartRecoveryPlan
    entered_by = (CartChanged,)
    ends: ClassVar = {OrderPlaced: Outcome.CONVERTED, CartEmptied: Outcome.CART_EMPTIED}

    @classmethod
    def begins(cls, fact: Fact, state: Snapshot) -> bool:
        """Begin unless we reminded this customer a short time ago."""
        last = state.last_sent.get(cls.name)
        _, plan = state.plan(cls.name, cls.plan)
        return last is None or last + plan.cool_down <= state.now

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
        with self.until_exit(entry):
            await self.wait_until(entry.since + entry.plan.quiet, summary="until the cart is quiet")
            for reminder in entry.plan.steps:
                await self.wait(reminder.delay, summary=f"before {reminder.name}")
                await self.send(reminder, CartQuiet(quiet=entry.plan.quiet))
        return self.outcome

    @workflow.signal(description="The customer bought; nothing more is sent.")
    def order_placed(self, order: OrderPlaced) -> None:
        self.end(order)

    @workflow.signal(description="The customer took everything out of the cart.")
    def cart_emptied(self, cart: CartEmptied) -> None:
        self.end(cart)
