"""A customer may enter again before Temporal has noticed the end of the last run."""

from datetime import timedelta

from domain.commands import EndRun, RestartRun, StartRun
from testing import TimeSkippingShop

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


async def test_a_cart_that_is_filled_right_after_an_order_is_recovered(shop: TimeSkippingShop) -> None:
    """A start that finds the last run still open in Temporal follows it, instead of being taken for it."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=10)
    ordered = shop.now - timedelta(seconds=5)
    # The order's signal is held back, as if no worker had read it yet: the second start meets an open run.
    shop.withhold = True
    await shop.track("Order Completed", at=ordered, order_id="o-1", total=12.5, products=[MUG])
    shop.withhold = False
    await shop.track("Product Added", **MUG | {"product_id": "cup", "name": "Tea cup"})
    await shop.skip(minutes=65)
    await shop.until_said(1)

    assert [row.outcome for row in await shop.runs("cart-recovery")] == ["converted", "running"]
    assert any("Tea cup" in letter.text for letter in shop.outbox.letters)


async def test_commands_that_are_carried_out_twice_change_nothing(shop: TimeSkippingShop) -> None:
    """A router that died after its calls, and before it could note them, repeats them."""
    shop.twice = True
    await shop.subscriber()
    await shop.track("Order Completed", order_id="o-1", total=12.5, products=[MUG])
    await shop.until_said(1)
    await shop.track("Order Completed", order_id="o-2", total=12.5, products=[MUG])
    await shop.until_said(2)
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=61)
    await shop.until_said(3)
    await shop.skip(minutes=5)

    assert sorted(step for step, _ in await shop.said()) == ["reminder-1", "thank-you", "thank-you"]
    kinds = {type(command) for command in shop.carried_out}
    assert kinds >= {StartRun, RestartRun}
    assert EndRun not in kinds
