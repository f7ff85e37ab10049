"""Double opt-in, from events to letters, on a server that skips time: no marketing before the mailbox has answered."""

from sqlalchemy import select

from adapters.postgres import suppressions
from adapters.postgres.tables import messages
from adapters.postgres.tenancy import as_store
from domain.facts import Topic
from testing import TimeSkippingShop


async def asking(shop: TimeSkippingShop, **settings: object) -> None:
    """The shop asks for confirmations."""
    await shop.plan("double-opt-in", **{"enabled": True, **settings})


async def subscribed(shop: TimeSkippingShop, user: str = "ada", email: str = "ada@example.com") -> None:
    """Somebody fills in the form for the newsletter."""
    await shop.identify(user, email=email, firstName="Ada")
    await shop.track("Newsletter Subscribed", user)


async def steps(shop: TimeSkippingShop) -> list[str]:
    return [mail.step for mail in await shop.sent()]


async def outcome(shop: TimeSkippingShop) -> str:
    """What a marketer reads."""
    await shop.settled("double-opt-in")
    return str(await (await shop.handle("double-opt-in")).result())


async def test_the_welcome_waits_for_the_confirmation(shop: TimeSkippingShop) -> None:
    """One mail that is no advertisement, then nothing; the answer begins what a subscription begins."""
    await asking(shop)
    await subscribed(shop)
    await shop.track("Product Added", product_id="mug", price=5)
    (mail,) = await shop.sent()
    assert (mail.step, mail.to) == ("confirm", "ada@example.com")
    assert "https://j.test/confirm?token=" in mail.text
    assert "/unsubscribe?" not in mail.text

    await shop.skip(days=1)
    assert await steps(shop) == ["confirm"]
    assert ("reminder-1", "no_consent") in await shop.said()
    assert await shop.runs("welcome") == []

    await shop.confirm()
    assert await outcome(shop) == "confirmed"
    assert [row.outcome for row in await shop.runs("double-opt-in")] == ["confirmed"]
    assert (await steps(shop))[:2] == ["confirm", "welcome-1"]


async def test_what_nobody_confirms_never_counts(shop: TimeSkippingShop) -> None:
    """Expired after the plan's patience: one mail in all, and none of any journey afterwards."""
    await asking(shop, patience="P3D")
    await subscribed(shop)
    await shop.skip(days=3, minutes=1)
    assert await outcome(shop) == "expired"

    await shop.track("Order Completed", order_id="o-1", total=5)
    await shop.skip(days=110)
    assert await steps(shop) == ["confirm", "thank-you"], "the thanks for an order are no advertisement"


async def test_a_store_may_remind_once(shop: TimeSkippingShop) -> None:
    """By its plan; not whoever has answered, and nobody after the time is over."""
    ask = {"name": "confirm", "template": "double-opt-in"}
    await asking(shop, steps=[ask, {**ask, "name": "remind", "delay": "P2D"}])
    await subscribed(shop)
    await subscribed(shop, "bob", "bob@example.com")
    await shop.sent()
    await shop.confirm()
    confirmed = [row.customer_id for row in await shop.runs("double-opt-in") if row.outcome == "confirmed"]
    await shop.skip(days=2, minutes=1)

    assert (await steps(shop)).count("remind") == 1
    async with as_store(shop.engine, shop.store_id) as connection:
        reminded = await connection.scalar(select(messages.c.customer_id).where(messages.c.step == "remind"))
    assert [reminded] != confirmed


async def test_a_withdrawal_ends_it(shop: TimeSkippingShop) -> None:
    """At once; the link in the mail has nothing left to confirm, and the welcome never begins."""
    await asking(shop)
    await subscribed(shop)
    await shop.sent()
    await shop.track("Unsubscribed")

    assert await outcome(shop) == "withdrawn"
    assert await shop.runs("welcome") == []


async def test_whoever_asks_again_a_day_later_gets_a_new_mail(shop: TimeSkippingShop) -> None:
    """The first got lost; its run ends, and the time to confirm begins anew."""
    await asking(shop, patience="P2D")
    await subscribed(shop)
    await shop.sent()
    await shop.skip(hours=30)
    await shop.track("Newsletter Subscribed")
    await shop.sent()
    await shop.skip(hours=30)
    await shop.confirm()

    assert await outcome(shop) == "confirmed"
    assert (await steps(shop))[:3] == ["confirm", "confirm", "welcome-1"]


async def test_nobody_is_written_to_again_and_again_by_others(shop: TimeSkippingShop) -> None:
    """An address that many accounts are made with gets one mail a day; one that bounced or complained gets none."""
    await asking(shop)
    await shop.tick()
    async with as_store(shop.engine, shop.store_id) as connection:
        for address, reason in (("gone@example.com", "bounced"), ("cross@example.com", "complained")):
            await suppressions.suppress(connection, shop.store_id, address, reason, shop.now)  # type: ignore[arg-type]
    for number in range(3):
        await subscribed(shop, f"bot-{number}", "victim@example.com")
    await subscribed(shop, "carl", "gone@example.com")
    await subscribed(shop, "dora", "cross@example.com")

    assert [mail.to for mail in await shop.sent()] == ["victim@example.com"]
    assert sorted(state for _, state in await shop.said()) == ["capped", "capped", "sent", "suppressed", "suppressed"]


async def test_alerts_that_were_confirmed_begin_no_welcome(shop: TimeSkippingShop) -> None:
    """To ask for a product is to ask for the alert about it, and for nothing else."""
    await asking(shop)
    await shop.identify(email="ada@example.com")
    await shop.track("Product Updated", "backend", product_id="mug", stock=0)
    await shop.track("Back In Stock Requested", product_id="mug")
    await shop.sent()
    await shop.confirm(Topic.BACK_IN_STOCK)
    await shop.track("Product Updated", "backend", product_id="mug", stock=5)

    assert await steps(shop) == ["confirm", "alert"]
    assert await shop.runs("welcome") == []
