"""Welcome, from events to letters, on a server that skips time."""

from datetime import timedelta

from testing import TimeSkippingShop

STEPS = ["welcome-1", "welcome-2", "welcome-3"]


async def newcomer(shop: TimeSkippingShop, user: str = "ada") -> None:
    """Someone new who asks for the newsletter."""
    await shop.identify(user, email=f"{user}@example.com", firstName=user.title())
    await shop.track("Newsletter Subscribed", user)


async def test_someone_new_is_welcomed_three_times(shop: TimeSkippingShop) -> None:
    """Now, after two days, after two more."""
    await newcomer(shop)
    await shop.until_said(1)
    for _ in range(2):
        await shop.skip(days=2, minutes=1)

    assert await shop.settled("welcome") == "COMPLETED"
    assert await shop.said() == [(step, "sent") for step in STEPS]


async def test_the_first_order_ends_the_welcome_at_every_step(shop: TimeSkippingShop) -> None:
    """Whatever has been sent, nothing follows the order."""
    for sent in (1, 2):
        user = f"new-{sent}"
        await newcomer(shop, user)
        said = len(await shop.until_said(1))
        for _ in range(sent - 1):
            await shop.skip(days=2, minutes=1)
        await shop.track("Order Completed", user, order_id=user, total=5)

        assert await shop.settled("welcome") == "COMPLETED"
        assert (await shop.runs("welcome"))[-1].outcome == "converted"

        await shop.skip(days=5)
        assert len([s for s, _ in await shop.said() if s in STEPS]) == (sent * (sent + 1)) // 2
        assert said


async def test_nobody_is_welcomed_twice(shop: TimeSkippingShop) -> None:
    """Signing up after subscribing, or again years later, is not new."""
    await newcomer(shop)
    await shop.track("Signed Up")
    await shop.until_said(1)
    await shop.skip(days=10)
    await shop.settled("welcome")
    await shop.track("Signed Up")

    assert len(await shop.runs("welcome")) == 1
    assert [step for step, _ in await shop.said()] == STEPS


async def test_a_customer_who_has_bought_is_not_welcomed(shop: TimeSkippingShop) -> None:
    """The journey introduces the shop to those who do not know it."""
    await shop.track("Order Completed", order_id="o-1", total=5)
    await newcomer(shop)

    assert await shop.runs("welcome") == []


async def test_a_store_can_change_every_number(shop: TimeSkippingShop) -> None:
    """A plan override is what the next run follows."""
    await shop.plan("welcome", steps=[{"name": "hello", "template": "welcome", "delay": "PT30M"}])
    await newcomer(shop)

    assert await shop.said() == []

    await shop.skip(minutes=31)
    assert await shop.settled("welcome") == "COMPLETED"
    assert await shop.said() == [("hello", "sent")]


async def test_an_unsubscribe_stops_what_is_under_way_at_its_next_claim(shop: TimeSkippingShop) -> None:
    """Unsubscribing needs no signal: the gate reads it (requirements/3, property 4)."""
    await newcomer(shop)
    await shop.until_said(1)
    await shop.track("Unsubscribed")
    await shop.skip(days=2, minutes=1)

    assert (await shop.until_said(2))[1] == ("welcome-2", "suppressed")
    assert len(shop.outbox.letters) == 1


async def test_a_message_of_another_journey_makes_the_next_one_wait_for_the_gap(shop: TimeSkippingShop) -> None:
    """One marketing message per customer per plan-defined gap; it waits, it is not lost."""
    await shop.plan("welcome", gap="PT6H", steps=[{"name": "late", "template": "welcome", "delay": "PT2H"}])
    await newcomer(shop)
    await shop.track("Product Added", product_id="mug", price=5)
    await shop.skip(minutes=61)
    await shop.until_said(1)
    await shop.skip(minutes=60)

    assert await shop.until_said(2) == [("reminder-1", "sent"), ("late", "deferred")]

    await shop.skip(hours=5, minutes=2)
    assert await shop.settled("welcome") == "COMPLETED"
    assert sorted(await shop.said()) == [("late", "sent"), ("reminder-1", "sent")]


async def test_an_event_that_is_a_year_late_starts_nothing(shop: TimeSkippingShop) -> None:
    """Importing old data does not welcome old customers."""
    await shop.tick()
    await shop.track("Signed Up", at=shop.now - timedelta(days=365), email="ada@example.com")

    assert await shop.runs("welcome") == []
