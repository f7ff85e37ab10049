"""The shop that engineers test their journeys in: what it shows is what happened, and only what was asked for."""

from datetime import timedelta

from domain.facts import CartChanged, NewsletterSubscribed, OrderPlaced
from testing import Mail, TimeSkippingShop


async def test_the_outbox_shows_every_mail_in_order(shop: TimeSkippingShop) -> None:
    """To whom, about what, of which step, and when."""
    await shop.subscriber("ada")
    await shop.happened(CartChanged, "ada")
    began = shop.now
    await shop.skip(days=3)
    mails = await shop.sent()

    assert [(mail.journey, mail.step, mail.to) for mail in mails] == [
        ("cart-recovery", f"reminder-{number}", "ada@example.com") for number in (1, 2, 3)
    ]
    assert mails[0].subject == "You left Blue mug in your cart"
    assert "Blue mug" in mails[0].text
    assert [round((mail.at - began) / timedelta(hours=1)) for mail in mails] == [1, 24, 49]


async def test_the_outbox_can_be_asked_for_one_journey(shop: TimeSkippingShop) -> None:
    """What other journeys send does not disturb a test."""
    await shop.subscriber()
    await shop.happened(NewsletterSubscribed)
    await shop.until_said(1)  # the order ends the welcome
    await shop.happened(OrderPlaced)
    await shop.skip(days=1)

    assert {mail.journey for mail in await shop.sent()} == {"welcome", "post-purchase"}
    assert [mail.step for mail in await shop.sent("post-purchase")] == ["thank-you"]


async def test_nothing_is_shown_while_a_run_is_still_at_work(shop: TimeSkippingShop) -> None:
    """No test has to wait for what is being done right now."""
    for number in range(5):
        await shop.subscriber(f"user-{number}")
        await shop.happened(OrderPlaced, f"user-{number}", order_id=f"o-{number}")

    assert len(await shop.sent()) == 5


async def test_only_one_journey_lets_customers_in(shop: TimeSkippingShop) -> None:
    """The others are switched off as a store would do it: by their plans."""
    await shop.only("post-purchase")
    await shop.subscriber()
    await shop.happened(OrderPlaced)
    await shop.skip(days=120)
    mails: list[Mail] = await shop.sent()

    assert {mail.journey for mail in mails} == {"post-purchase"}
    assert await shop.runs("win-back") == []
