"""Quiet hours and caps, lived through: what has to wait goes out later, or is recorded as expired; nothing is lost."""

from datetime import timedelta
from typing import Any

from adapters.postgres import sending_rules
from adapters.postgres.tenancy import as_store
from domain.caps import Cap
from domain.quiet_hours import QuietHours
from domain.sending_rules import SendingRules
from testing import TimeSkippingShop

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


async def keeps(shop: TimeSkippingShop, **rules: Any) -> None:
    """Set the store's sending rules."""
    async with as_store(shop.engine, shop.store_id) as connection:
        await sending_rules.put(connection, shop.store_id, SendingRules(**rules), "cli:ops", shop.now)


def night_for_two_hours_more(shop: TimeSkippingShop) -> QuietHours:
    """Quiet hours that began an hour ago, in UTC."""
    return QuietHours(start=(shop.now - HOUR).time(), end=(shop.now + 2 * HOUR).time())


async def one_welcome(shop: TimeSkippingShop, **step: Any) -> None:
    settings = {"name": "welcome-1", "template": "welcome", "topic": "newsletter", **step}
    await shop.plan("welcome", steps=[settings])


async def test_a_message_that_falls_into_the_night_goes_out_in_the_morning(shop: TimeSkippingShop) -> None:
    """It waits to the minute, on the customer's own clock, and is not lost; a store's zone counts for the others."""
    await shop.tick()
    await one_welcome(shop)
    await keeps(shop, quiet_hours={"email": night_for_two_hours_more(shop)})
    subscribed = shop.now
    await shop.identify("ada", email="ada@example.com", timezone="Not/AZone")
    await shop.track("Newsletter Subscribed", "ada")
    await shop.identify("bob", email="bob@example.com", timezone="Etc/GMT-12")  # noon is midnight there
    await shop.track("Newsletter Subscribed", "bob")

    assert sorted(state for _, state in await shop.until_said(2)) == ["deferred", "sent"]
    await shop.skip(hours=1, minutes=55)
    assert [mail.to for mail in await shop.sent()] == ["bob@example.com"]
    await shop.skip(minutes=6)
    _, mail = await shop.sent()
    assert mail.to == "ada@example.com"
    assert timedelta(0) <= mail.at - (subscribed + 2 * HOUR) < MINUTE


async def test_a_welcome_leaves_the_only_slot_of_the_day_to_the_cart_reminder(shop: TimeSkippingShop) -> None:
    """Cart beats newsletter: the one that could go out first waits, and goes out when there is room again."""
    await shop.tick()
    await one_welcome(shop)
    reminder = {"name": "reminder-1", "template": "cart-reminder", "topic": "abandoned_cart_emails"}
    await shop.plan("cart-recovery", steps=[reminder])
    await keeps(shop, caps=(Cap(limit=1, window=DAY),))
    await shop.identify("ada", email="ada@example.com", marketing_consent=True)
    await shop.track("Product Added", "ada", **MUG)
    await shop.skip(minutes=10)
    await shop.track("Newsletter Subscribed", "ada", email="ada@example.com")

    assert await shop.until_said(1) == [("welcome-1", "deferred")]
    await shop.skip(minutes=55)
    assert [mail.step for mail in await shop.sent()] == ["reminder-1"]
    await shop.skip(hours=23)
    assert [mail.step for mail in await shop.sent()] == ["reminder-1"]
    await shop.skip(hours=2)
    first, second = await shop.sent()
    assert (first.step, second.step) == ("reminder-1", "welcome-1")
    assert second.at - first.at >= DAY - MINUTE
    assert await shop.settled("welcome") == "COMPLETED"


async def test_a_message_without_a_slot_before_its_deadline_is_recorded_and_the_journey_goes_on(
    shop: TimeSkippingShop,
) -> None:
    """The first welcome takes the day's slot; the second has no day to wait, the third has."""
    await shop.tick()
    every = [
        {"name": "welcome-1", "template": "welcome", "topic": "newsletter"},
        {"name": "welcome-2", "template": "welcome", "topic": "newsletter", "delay": "PT1H", "deadline": "PT5H"},
        {"name": "welcome-3", "template": "welcome-stories", "topic": "newsletter", "delay": "PT1H"},
    ]
    await shop.plan("welcome", steps=every)
    await keeps(shop, caps=(Cap(limit=1, window=DAY),))
    await shop.identify("ada", email="ada@example.com")
    await shop.track("Newsletter Subscribed", "ada")
    await shop.until_said(1)
    await shop.skip(hours=3)
    assert await shop.until_said(3) == [("welcome-1", "sent"), ("welcome-2", "capped"), ("welcome-3", "deferred")]
    await shop.skip(days=1)
    assert await shop.settled("welcome") == "COMPLETED"
    assert [mail.step for mail in await shop.sent()] == ["welcome-1", "welcome-3"]
