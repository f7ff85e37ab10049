"""A customer pauses marketing: what is due meanwhile waits or is recorded, and an early end is heard at once."""

from datetime import timedelta
from typing import Any

from testing import TimeSkippingShop

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


async def two_welcomes(shop: TimeSkippingShop, **second: Any) -> None:
    """The first at once, the second an hour later."""
    first = {"name": "welcome-1", "template": "welcome", "topic": "newsletter"}
    again = {"name": "welcome-2", "template": "welcome-stories", "topic": "newsletter", "delay": "PT1H", **second}
    await shop.plan("welcome", steps=[first, again])
    await shop.identify(email="ada@example.com")


async def test_a_message_waits_for_the_end_of_the_pause_and_goes_out_then(shop: TimeSkippingShop) -> None:
    """To the minute; and the next one comes an hour after it, not at the same moment."""
    await shop.tick()
    await two_welcomes(shop)
    paused = shop.now
    await shop.track("Marketing Paused", days=2)
    await shop.track("Newsletter Subscribed")
    assert await shop.until_said(1) == [("welcome-1", "deferred")]

    await shop.skip(days=1, hours=23)
    assert await shop.sent() == []
    await shop.skip(hours=1, minutes=1)
    [first] = await shop.sent()
    assert timedelta(0) <= first.at - (paused + 2 * DAY) < 2 * MINUTE
    await shop.skip(hours=1)
    _, second = await shop.sent()
    assert second.at - first.at >= 59 * MINUTE
    assert await shop.settled("welcome") == "COMPLETED"


async def test_the_end_of_a_pause_is_heard_at_once(shop: TimeSkippingShop) -> None:
    """Nobody waits for the day that was first said, also if the pause is only made shorter."""
    await shop.tick()
    await two_welcomes(shop)
    await shop.track("Marketing Paused", days=3)
    await shop.track("Newsletter Subscribed")
    assert await shop.until_said(1) == [("welcome-1", "deferred")]

    await shop.skip(minutes=1)
    await shop.track("Marketing Paused", until=(shop.now + DAY).isoformat())
    await shop.at_rest()
    await shop.skip(minutes=1)
    assert await shop.sent() == []
    await shop.track("Marketing Resumed")
    assert [mail.step for mail in await shop.sent()] == ["welcome-1"]


async def test_a_pause_of_thirty_days_costs_no_message_without_a_record(shop: TimeSkippingShop) -> None:
    """What could not go out before its deadline says so; what may wait longer goes out; orders are written about."""
    await shop.tick()
    await two_welcomes(shop, deadline="P40D")
    await shop.track("Marketing Paused")
    await shop.track("Newsletter Subscribed")
    assert await shop.until_said(1) == [("welcome-1", "dropped")]
    await shop.skip(hours=2)
    assert await shop.said() == [("welcome-1", "dropped"), ("welcome-2", "deferred")]

    thanks = {"name": "thank-you", "template": "order-thank-you", "transactional": True}
    await shop.plan("post-purchase", steps=[thanks])
    order = {"order_id": "1001", "total": 10, "products": [{"product_id": "mug", "quantity": 1, "price": 10}]}
    await shop.track("Marketing Paused", "bob")
    await shop.track("Order Completed", "bob", email="bob@example.com", **order)
    await shop.skip(minutes=5)
    assert [(mail.step, mail.to) for mail in await shop.sent()] == [("thank-you", "bob@example.com")]
    await shop.skip(days=30)
    assert [mail.step for mail in await shop.sent()][1:] == ["welcome-2"]
