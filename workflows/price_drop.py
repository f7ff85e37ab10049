"""Price drop: an alert when a product on the watch list costs less than the customer saw."""

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import PriceLow
    from domain.facts import Fact, OrderPlaced, PriceDropped, PriceRose
    from domain.plans import PriceDropPlan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import Snapshot
from workflows.journey import Journey


@workflow.defn(name="price-drop")
class PriceDrop(Journey[PriceDropPlan]):
    """Tells a customer once for each product and price; the price is read again at the moment of sending."""

    name = "price-drop"
    plan = PriceDropPlan
    entered_by = (PriceDropped,)
    ends: ClassVar = {OrderPlaced: Outcome.CONVERTED, PriceRose: Outcome.PRICE_ROSE}
    one_per_product = True

    @classmethod
    def concerns(cls, fact: Fact, run: RunState, state: Snapshot) -> bool:
        """An order counts if the product was in it, a price if it is the product's."""
        if isinstance(fact, OrderPlaced):
            return run.product_id in {line.product_id for line in fact.lines}
        return isinstance(fact, PriceRose) and fact.product_id == run.product_id

    @workflow.run
    async def run(self, entry: Entry[PriceDropPlan]) -> Outcome:
        """Tell the customer, if the price is still so low."""
        async with self.until_exit(entry):
            async for step in self.steps_due():
                await self.send(step, PriceLow(product_id=entry.product_id or "", percent=self.entry.plan.percent))
        return self.outcome

    @workflow.signal(description="The customer bought the product.")
    def order_placed(self, order: OrderPlaced) -> None:
        self.end(order)

    @workflow.signal(description="The price went up again, beyond what the customer wants to hear of.")
    def price_rose(self, price: PriceRose) -> None:
        self.end(price)
