"""Back in stock: an alert when a product someone asked for can be bought again, and one follow-up."""

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.delivery import InStock, Result
    from domain.facts import Fact, OrderPlaced, ProductWithdrawn, StockReleased, StockRequested
    from domain.plans import BackInStockPlan
    from domain.runs import Entry, Outcome, RunState
    from domain.snapshot import Snapshot
from workflows.journey import Journey


@workflow.defn(name="back-in-stock")
class BackInStock(Journey[BackInStockPlan]):
    """Waits for its turn in a restock (see stock_waves.py), then tells the customer."""

    name = "back-in-stock"
    plan = BackInStockPlan
    entered_by = (StockRequested,)
    ends: ClassVar = {OrderPlaced: Outcome.CONVERTED, ProductWithdrawn: Outcome.WITHDRAWN}
    one_per_product = True
    outlives_deploys = True
    my_turn = False

    @classmethod
    def concerns(cls, fact: Fact, run: RunState, state: Snapshot) -> bool:
        """An order counts if the product was in it, unless the customer has asked for another since."""
        return isinstance(fact, OrderPlaced) and fact.at >= run.since and run.product_id in fact.product_ids

    @workflow.run
    async def run(self, entry: Entry[BackInStockPlan]) -> Outcome:
        """Alert when it is the customer's turn; if the stock is gone by then, wait for the next restock."""
        in_stock = InStock(product_id=entry.product_id or "")
        async with self.until_exit(entry):
            while True:
                patience = lambda: entry.since + self.entry.plan.patience - workflow.now()  # noqa: E731
                if not await self.wait_for(lambda: self.my_turn, at_most=patience, summary="for the restock"):
                    self.leave(Outcome.EXPIRED, because="the product did not come back in time")
                self.my_turn = False
                alert = self.entry.plan.steps[0]
                if (await self.send(alert, in_stock, again_if_stale=True)).result is not Result.STALE:
                    break
            async for step in self.steps_due():
                await self.send(step, in_stock)
        return self.outcome

    @workflow.signal(description="The product is back and it is this customer's turn.")
    def stock_released(self, release: StockReleased) -> None:
        self.my_turn = True

    @workflow.signal(description="The customer bought the product.")
    def order_placed(self, order: OrderPlaced) -> None:
        self.end(order)

    @workflow.signal(description="The product will not come back.")
    def product_withdrawn(self, product: ProductWithdrawn) -> None:
        self.end(product)
