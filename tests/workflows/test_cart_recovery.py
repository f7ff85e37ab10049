"""Cart recovery, from events to letters, on a server that skips time."""

from datetime import timedelta

from testing import TimeSkippingShop

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


async def test_a_cart_left_alone_gets_three_reminders(shop: TimeSkippingShop) -> None:
    """Quiet for an hour: now, after 23 hours, after 25 more."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=59)

    assert await shop.said() == []

    await shop.skip(minutes=2)
    await shop.until_said(1)
    await shop.skip(hours=23, minutes=1)
    await shop.until_said(2)
    await shop.skip(hours=25, minutes=1)

    assert await shop.settled("cart-recovery") == "COMPLETED"
    assert await shop.said() == [("reminder-1", "sent"), ("reminder-2", "sent"), ("reminder-3", "sent")]
    assert "CART10" in shop.outbox.letters[2].text
    assert [row.outcome for row in await shop.runs("cart-recovery")] == ["completed"]


async def test_an_order_ends_the_run_at_once_at_every_step(shop: TimeSkippingShop) -> None:
    """A purchase before each reminder: only the reminders before it were sent."""
    for sent in range(3):
        user = f"buyer-{sent}"
        await shop.subscriber(user)
        await shop.track("Product Added", user, **MUG)
        for reminder in range(sent):
            await shop.skip(minutes=61, hours=25 * reminder)
            await shop.until_said(sum(range(sent)) + reminder + 1)
        await shop.track("Order Completed", user, order_id=f"o-{sent}", total=12.5, products=[MUG])

        assert await shop.settled("cart-recovery") == "COMPLETED"

        await shop.skip(days=5)
        row = (await shop.runs("cart-recovery"))[-1]
        mine = [letter for letter in shop.outbox.letters if letter.to == f"{user}@example.com"]
        assert (row.outcome, sum("thank" not in letter.feedback_id for letter in mine)) == ("converted", sent + 1)


async def test_changing_the_cart_postpones_the_first_reminder_without_an_action_each(shop: TimeSkippingShop) -> None:
    """Twenty changes in the quiet hour cost at most three actions before the first reminder (design, Cost)."""
    await shop.subscriber()
    for minute in range(20):
        await shop.track("Product Added", **MUG | {"product_id": f"mug-{minute}"})
        await shop.skip(minutes=2)
    await shop.skip(minutes=45)

    assert await shop.said() == [("reminder-1", "deferred")]

    await shop.skip(minutes=20)
    assert await shop.until_said(1) == [("reminder-1", "sent")]
    names = [event.event_type for event in (await shop.history("cart-recovery")).events]
    last_delivery = max(i for i, name in enumerate(names) if name in {10, 25})
    actions = [name for name in names[:last_delivery] if name in {1, 10, 17, 25, 26, 40}]
    assert len(actions) <= 3


async def test_an_emptied_cart_ends_the_run(shop: TimeSkippingShop) -> None:
    """Nothing is left to remind of."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.track("Product Removed", **MUG)

    assert await shop.settled("cart-recovery") == "COMPLETED"
    assert [row.outcome for row in await shop.runs("cart-recovery")] == ["cart_emptied"]


async def test_nobody_is_reminded_again_before_the_cool_down_is_over(shop: TimeSkippingShop) -> None:
    """Seven days after the last reminder a new cart counts again."""
    await shop.subscriber()
    await shop.plan("cart-recovery", steps=[{"name": "reminder-1", "template": "cart-reminder"}])
    await shop.track("Product Added", **MUG)
    await shop.skip(hours=2)
    await shop.settled("cart-recovery")
    await shop.track("Product Added", **MUG | {"product_id": "cup"})

    assert len(await shop.runs("cart-recovery")) == 1

    await shop.skip(days=7)
    await shop.track("Product Added", **MUG | {"product_id": "pot"})
    assert len(await shop.runs("cart-recovery")) == 2


async def test_a_run_keeps_the_plan_it_began_with(shop: TimeSkippingShop) -> None:
    """A plan that is changed while a run waits is for the next run (G6)."""
    await shop.subscriber()
    await shop.plan("cart-recovery", quiet="PT2H")
    await shop.track("Product Added", **MUG)
    await shop.plan("cart-recovery", quiet="PT1M")
    await shop.skip(minutes=90)

    assert await shop.said() == []

    await shop.skip(minutes=31)
    assert await shop.until_said(1) == [("reminder-1", "sent")]
    assert (await shop.runs("cart-recovery"))[0].plan_version == 1


async def test_an_order_that_arrives_before_its_cart_counts(shop: TimeSkippingShop) -> None:
    """The order of arrival does not matter (G2): what was bought is not a cart left behind."""
    await shop.subscriber()
    await shop.tick()
    earlier = shop.now - timedelta(minutes=5)
    await shop.track("Order Completed", order_id="o-1", total=12.5, products=[MUG])
    await shop.track("Product Added", at=earlier, **MUG)

    assert await shop.runs("cart-recovery") == []


async def test_without_consent_nothing_is_sent_and_the_reason_is_kept(shop: TimeSkippingShop) -> None:
    """No message without consent (G5)."""
    await shop.identify(email="ada@example.com")
    await shop.track("Product Added", **MUG)
    await shop.skip(hours=2)

    assert await shop.until_said(1) == [("reminder-1", "no_consent")]
    assert shop.outbox.letters == []
