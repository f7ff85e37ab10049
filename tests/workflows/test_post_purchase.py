"""Post-purchase, from events to letters, on a server that skips time."""

from datetime import timedelta

from testing import TimeSkippingShop

STEPS = ["thank-you", "how-to", "related", "review"]


async def order(shop: TimeSkippingShop, order_id: str, user: str = "ada") -> None:
    """A customer buys a mug."""
    mug = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1}
    await shop.track("Order Completed", user, order_id=order_id, total=12.5, currency="EUR", products=[mug])


async def test_an_order_is_followed_for_two_weeks(shop: TimeSkippingShop) -> None:
    """Thanks now, help after 3 days, related products after 7, a review request after 14."""
    await shop.subscriber()
    await order(shop, "o-1")
    await shop.until_said(1)
    for days in (3, 4, 7):
        await shop.skip(days=days, minutes=1)

    assert await shop.settled("post-purchase") == "COMPLETED"
    assert await shop.said() == [(step, "sent") for step in STEPS]
    assert "Blue mug" in shop.outbox.letters[0].text


async def test_thanks_need_no_consent_but_what_follows_does(shop: TimeSkippingShop) -> None:
    """The default plan declares the thank-you transactional, and only that (G5)."""
    await shop.identify(email="ada@example.com")
    await order(shop, "o-1")
    await shop.until_said(1)
    await shop.skip(days=15)

    assert await shop.settled("post-purchase") == "COMPLETED"
    assert await shop.said() == [("thank-you", "sent"), *[(step, "no_consent") for step in STEPS[1:]]]
    assert shop.outbox.letters[0].unsubscribe_url is None


async def test_a_refund_or_cancellation_ends_the_run_at_every_step(shop: TimeSkippingShop) -> None:
    """Nobody is asked for a review of what was sent back."""
    for sent, name in ((1, "Order Refunded"), (2, "Order Cancelled"), (3, "Order Refunded")):
        user = f"buyer-{sent}"
        await shop.subscriber(user)
        await order(shop, user, user)
        await shop.skip(minutes=1)
        for days in (3, 4, 7)[: sent - 1]:
            await shop.skip(days=days, minutes=1)
        await shop.track(name, user, order_id=user)

        assert await shop.settled("post-purchase") == "COMPLETED"
        assert (await shop.runs("post-purchase"))[-1].outcome == "refunded"

        before = len(shop.outbox.letters)
        await shop.skip(days=15)
        assert len(shop.outbox.letters) == before


async def test_a_refund_of_another_order_changes_nothing(shop: TimeSkippingShop) -> None:
    """The exit is about the order that the run is about."""
    await shop.subscriber()
    await order(shop, "o-1")
    await shop.track("Order Refunded", order_id="o-0")

    assert (await shop.runs("post-purchase"))[-1].outcome == "running"


async def test_a_refund_that_arrives_before_its_order_counts(shop: TimeSkippingShop) -> None:
    """The order of arrival does not matter (G2)."""
    await shop.subscriber()
    await shop.track("Order Refunded", order_id="o-1")
    await order(shop, "o-1")

    assert await shop.runs("post-purchase") == []


async def test_the_next_order_restarts_the_journey_for_itself(shop: TimeSkippingShop) -> None:
    """One run at a time: the second order is thanked for too, and the first one's mails are over."""
    await shop.subscriber()
    await order(shop, "o-1")
    await shop.until_said(1)
    await shop.skip(days=1)
    await order(shop, "o-2")
    await shop.until_said(2)
    for days in (3, 4, 7):
        await shop.skip(days=days, minutes=1)

    assert await shop.settled("post-purchase") == "COMPLETED"
    assert [row.outcome for row in await shop.runs("post-purchase")] == ["restarted", "completed"]
    assert [step for step, _ in await shop.said()] == ["thank-you", *STEPS]


async def test_a_plan_may_ignore_the_next_order(shop: TimeSkippingShop) -> None:
    """`next_order` decides."""
    await shop.plan("post-purchase", next_order="ignore")
    await shop.subscriber()
    await order(shop, "o-1")
    await shop.until_said(1)
    await order(shop, "o-2")

    assert [row.order_id for row in await shop.runs("post-purchase")] == ["o-1"]


async def test_the_same_order_told_twice_is_one_order(shop: TimeSkippingShop) -> None:
    """A shop's backend and its browser may both report it, with different message ids."""
    await shop.subscriber()
    await order(shop, "o-1")
    await order(shop, "o-1")
    await shop.until_said(1)
    await shop.skip(minutes=5)

    assert await shop.said() == [("thank-you", "sent")]
    assert len(await shop.runs("post-purchase")) == 1


async def test_an_older_order_that_arrives_late_does_not_restart_anything(shop: TimeSkippingShop) -> None:
    """Only the customer's newest order begins the journey."""
    await shop.subscriber()
    await order(shop, "o-2")
    await shop.until_said(1)
    await shop.track("Order Completed", at=shop.now - timedelta(days=1), order_id="o-1", total=1)

    assert [row.order_id for row in await shop.runs("post-purchase")] == ["o-2"]
