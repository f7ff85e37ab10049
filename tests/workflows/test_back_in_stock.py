"""Back in stock, from events to letters, on a server that skips time."""

from datetime import timedelta

from domain import ids
from testing import TimeSkippingShop


async def waiting(shop: TimeSkippingShop, *users: str) -> None:
    """Customers who ask for the mug, in this order."""
    for user in users:
        await shop.identify(user, email=f"{user}@example.com")
        await shop.track("Back In Stock Requested", user, product_id="mug", name="Blue mug")
        await shop.skip(seconds=1)


def told(shop: TimeSkippingShop) -> list[str]:
    """Who was told, in order."""
    return [letter.to.split("@")[0] for letter in shop.outbox.letters]


async def restock(shop: TimeSkippingShop, units: int) -> None:
    """The catalogue says how many there are."""
    await shop.track("Product Updated", "backend", product_id="mug", stock=units, price=12.5, currency="EUR")


async def test_a_customer_who_asked_is_told_at_once_and_once_more_a_day_later(shop: TimeSkippingShop) -> None:
    """Asking is the consent to the alert; the follow-up comes while the product is still there."""
    await waiting(shop, "ada")
    await shop.skip(days=30)

    assert await shop.said() == []

    await restock(shop, 5)
    await shop.until_said(1)
    await shop.skip(days=1, minutes=1)
    assert await shop.settled("back-in-stock") == "COMPLETED"
    assert await shop.said() == [("alert", "sent"), ("follow-up", "sent")]


async def test_waiting_customers_are_told_in_waves_first_come_first_served(shop: TimeSkippingShop) -> None:
    """Stock times ratio per wave; before each the stock is read again, and a sold-out product is not announced."""
    users = [f"user-{number}" for number in range(7)]
    await waiting(shop, *users)
    await shop.plan("back-in-stock", wave_ratio=2, wave_interval="PT10M")
    await restock(shop, 2)
    await shop.until_said(4)

    assert sorted(told(shop)) == users[:4]

    await shop.track("Product Updated", "backend", product_id="mug", stock=1)
    await shop.skip(minutes=11)
    await shop.until_said(6)
    assert sorted(told(shop)) == users[:6]

    await shop.track("Product Updated", "backend", product_id="mug", stock=0)
    await shop.skip(minutes=11)
    assert sorted(told(shop)) == users[:6]

    await restock(shop, 1)
    await shop.until_said(7)
    assert sorted(told(shop)) == users


async def test_a_worker_that_dies_in_the_middle_of_a_wave_is_noticed_within_a_minute(shop: TimeSkippingShop) -> None:
    """The others of the wave wait for that; and a wave that only takes long is not begun anew."""
    await waiting(shop, "ada")
    await restock(shop, 1)
    await shop.until_said(1)

    waves = shop.env.client.get_workflow_handle(ids.waves_id(shop.store_id, "mug"))
    scheduled = [event.activity_task_scheduled_event_attributes async for event in waves.fetch_history_events()]
    (wave,) = [activity for activity in scheduled if activity.activity_type.name == "release-wave"]
    assert wave.heartbeat_timeout.ToTimedelta() <= timedelta(minutes=1) < wave.start_to_close_timeout.ToTimedelta()


async def test_stock_that_is_gone_before_the_alert_keeps_the_customer_waiting(shop: TimeSkippingShop) -> None:
    """A stale alert is not sent; the next restock is a new chance."""
    await shop.plan("back-in-stock", wave_interval="PT1M")
    await waiting(shop, "ada")
    await shop.router.route_everything()
    await restock(shop, 1)
    await shop.until_said(1)
    await shop.track("Product Updated", "backend", product_id="mug", stock=0)
    await shop.skip(days=1, minutes=1)

    assert await shop.settled("back-in-stock") == "COMPLETED"
    assert await shop.said() == [("alert", "sent"), ("follow-up", "stale")]


async def test_a_purchase_of_the_product_ends_the_wait(shop: TimeSkippingShop) -> None:
    """And takes the customer off the list (requirements/3, property 34); other products do not."""
    await waiting(shop, "ada", "bob")
    mug, cup = ({"product_id": p, "price": 1, "quantity": 1} for p in ("mug", "cup"))
    await shop.track("Order Completed", "ada", order_id="o-1", total=1, products=[mug])
    await shop.track("Order Completed", "bob", order_id="o-2", total=1, products=[cup])
    await restock(shop, 10)
    await shop.until_said(3)

    assert [row.outcome for row in await shop.runs("back-in-stock")] == ["converted", "running"]
    assert told(shop).count("bob") == 2  # thanks for the cup, and the alert


async def test_a_withdrawn_product_ends_the_wait(shop: TimeSkippingShop) -> None:
    """Nobody waits for what will not come."""
    await waiting(shop, "ada")
    await shop.track("Product Updated", "backend", product_id="mug", discontinued=True)

    assert await shop.settled("back-in-stock") == "COMPLETED"
    await shop.at_rest()  # the wave writes down whom it has told after it has told them
    assert [row.outcome for row in await shop.runs("back-in-stock")] == ["withdrawn"]


async def test_patience_ends_after_180_days(shop: TimeSkippingShop) -> None:
    """A request does not wait for ever."""
    await waiting(shop, "ada")
    await shop.skip(days=181)

    assert await shop.settled("back-in-stock") == "COMPLETED"
    assert (await (await shop.handle("back-in-stock")).result()) == "expired"


async def test_a_restock_told_before_the_request_it_answers_counts(shop: TimeSkippingShop) -> None:
    """The order of arrival does not matter (G2)."""
    await shop.tick()
    asked = shop.now
    await shop.skip(minutes=1)
    await restock(shop, 3)
    await shop.identify(email="ada@example.com")
    await shop.track("Back In Stock Requested", at=asked, product_id="mug")

    assert await shop.until_said(1) == [("alert", "sent")]


async def test_asking_twice_is_one_request(shop: TimeSkippingShop) -> None:
    """One run per customer and product."""
    await waiting(shop, "ada", "ada")
    await restock(shop, 5)
    await shop.until_said(1)

    assert told(shop) == ["ada"]
    assert len(await shop.runs("back-in-stock")) == 1


async def test_a_purchase_after_the_alert_is_the_last_word(shop: TimeSkippingShop) -> None:
    """Whoever bought because of the alert gets no follow-up."""
    await waiting(shop, "ada")
    await restock(shop, 5)
    await shop.until_said(1)
    mug = {"product_id": "mug", "price": 1, "quantity": 1}
    await shop.track("Order Completed", order_id="o-1", total=1, products=[mug])

    assert await shop.settled("back-in-stock") == "COMPLETED"
    await shop.skip(days=2)
    assert "follow-up" not in [step for step, _ in await shop.said()]


async def test_a_product_withdrawn_after_the_alert_is_not_followed_up(shop: TimeSkippingShop) -> None:
    """The follow-up re-checks the product, as the alert did."""
    await waiting(shop, "ada")
    await restock(shop, 5)
    await shop.until_said(1)
    await shop.track("Product Updated", "backend", product_id="mug", discontinued=True)
    await shop.skip(days=1, minutes=1)

    assert ("follow-up", "stale") in await shop.said()
