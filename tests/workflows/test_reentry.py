"""A customer may enter again before Temporal has noticed the end of the last run."""

import asyncio
from datetime import timedelta

import pytest

from domain.commands import EndRun, RestartRun, StartRun
from domain.message import Letter
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


async def test_a_start_that_is_repeated_long_before_the_end_begins_nothing_again(shop: TimeSkippingShop) -> None:
    """It is an old word by the time at which the passage is over."""
    await shop.only("back-in-stock")
    await shop.subscriber()
    await shop.track("Back In Stock Requested", product_id="mug")
    for command in list(shop.carried_out):
        await shop.temporal.execute(shop.store_id, command)
    await shop.track("Product Updated", "backend", product_id="mug", stock=5)
    await shop.until_said(1)
    await shop.skip(days=1, minutes=1)

    assert await shop.settled("back-in-stock") == "COMPLETED"


async def test_commands_of_the_passage_before_that_come_again_do_not_cost_this_one_its_messages(
    shop: TimeSkippingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A router that died after a cart, an order and a cart repeats all three, while the second cart's mail goes out."""
    await shop.only("cart-recovery")
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=10)
    await shop.track("Order Completed", order_id="o-1", total=12.5, products=[MUG])
    await shop.track("Product Added", **MUG | {"product_id": "cup", "name": "Tea cup"})
    send, under_way, goes_out = shop.outbox.send, asyncio.Event(), asyncio.Event()

    async def slowly(letter: Letter) -> None:
        under_way.set()
        await goes_out.wait()
        await send(letter)

    monkeypatch.setattr(shop.outbox, "send", slowly)
    skipping = asyncio.create_task(shop.skip(minutes=65))
    await asyncio.wait_for(under_way.wait(), 20)
    for command in list(shop.carried_out):
        await shop.temporal.execute(shop.store_id, command)
    goes_out.set()
    await skipping
    await shop.until_said(1)
    await shop.skip(days=5)

    assert await shop.said() == [("reminder-1", "sent"), ("reminder-2", "sent"), ("reminder-3", "sent")]
    assert [row.outcome for row in await shop.runs("cart-recovery")] == ["converted", "completed"]
