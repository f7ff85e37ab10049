"""Win-back, from events to letters, on a server that skips time."""

from testing import TimeSkippingShop

STEPS = ["win-back-1", "win-back-2", "win-back-3"]


async def order(shop: TimeSkippingShop, order_id: str) -> None:
    """A customer buys; only win-back is looked at here."""
    await shop.track("Order Completed", order_id=order_id, total=12.5, currency="EUR")


async def quiet_shop(shop: TimeSkippingShop) -> None:
    """A store without post-purchase mails, and a subscriber."""
    await shop.plan("post-purchase", enabled=False, steps=[{"name": "none", "template": "order-how-to"}])
    await shop.subscriber()


async def test_a_silent_customer_hears_from_us_after_90_days(shop: TimeSkippingShop) -> None:
    """90 days after the last order, then a week and two weeks later; the last one has a code."""
    await quiet_shop(shop)
    await order(shop, "o-1")
    await shop.skip(days=89)

    assert await shop.said() == []

    await shop.skip(days=1, minutes=1)
    await shop.until_said(1)
    for _ in range(2):
        await shop.skip(days=7, minutes=1)
    assert await shop.settled("win-back") == "COMPLETED"
    assert await shop.said() == [(step, "sent") for step in STEPS]
    assert "COMEBACK15" in shop.outbox.letters[-1].text


async def test_every_order_begins_a_new_silence(shop: TimeSkippingShop) -> None:
    """The passage before it is closed as restarted; each has a short history of its own."""
    await quiet_shop(shop)
    for number in range(3):
        await order(shop, f"o-{number}")
        await shop.skip(days=60)

    assert await shop.said() == []
    assert [row.outcome for row in await shop.runs("win-back")] == ["restarted", "restarted", "running"]

    await shop.skip(days=31)
    await shop.until_said(1)
    assert len((await shop.history("win-back")).events) < 30


async def test_an_order_after_a_message_is_a_customer_won_back(shop: TimeSkippingShop) -> None:
    """At every step: the passage is converted, no message follows, and the next silence begins."""
    await quiet_shop(shop)
    for sent in (1, 2):
        await order(shop, f"o-{sent}")
        said = len(await shop.said())
        await shop.skip(days=90, minutes=1)
        await shop.until_said(said + 1)
        for _ in range(sent - 1):
            await shop.skip(days=7, minutes=1)
            await shop.until_said(said + sent)
        await order(shop, f"back-{sent}")

        assert [row.outcome for row in await shop.runs("win-back")][-2:] == ["converted", "running"]

        before = len(shop.outbox.letters)
        await shop.skip(days=30)
        assert len(shop.outbox.letters) == before


async def test_a_credit_note_does_not_restart_the_clock(shop: TimeSkippingShop) -> None:
    """Only an order does (shared definitions of the data)."""
    await quiet_shop(shop)
    await order(shop, "o-1")
    await shop.skip(days=30)
    await shop.track("Order Refunded", order_id="o-0")
    await shop.skip(days=60, minutes=1)

    assert await shop.until_said(1) == [("win-back-1", "sent")]


async def test_a_refund_that_overtakes_its_order_changes_nothing(shop: TimeSkippingShop) -> None:
    """Whoever gave an order back has been here all the same: the silence counts from then, whatever came first."""
    await quiet_shop(shop)
    await shop.track("Order Refunded", order_id="o-1")
    await order(shop, "o-1")
    await shop.skip(days=90, minutes=1)

    assert await shop.until_said(1) == [("win-back-1", "sent")]
