"""Browse abandonment, from looks to letters, on a server that skips time."""

from datetime import timedelta
from itertools import permutations

import pytest

from testing import TimeSkippingShop

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "currency": "EUR", "url": "https://mugs.test/mug"}


async def look(shop: TimeSkippingShop, times: int, user: str = "ada", product: str = "mug") -> None:
    """Look at a product."""
    for _ in range(times):
        await shop.track("Product Viewed", user, **MUG | {"product_id": product})


async def outcomes(shop: TimeSkippingShop) -> list[str]:
    """How the runs ended."""
    return [row.outcome for row in await shop.runs("browse-abandonment")]


async def test_three_looks_and_two_quiet_hours_bring_two_mails(shop: TimeSkippingShop) -> None:
    """The first after two hours without a look, the second a day later; both about the product."""
    await shop.subscriber()
    await look(shop, 3)
    await shop.skip(hours=1, minutes=59)

    assert await shop.said() == []

    await shop.skip(minutes=2)
    await shop.until_said(1)
    await shop.skip(days=1, minutes=1)
    assert await shop.settled("browse-abandonment") == "COMPLETED"
    assert await shop.said() == [("browse-1", "sent"), ("browse-2", "sent")]
    assert all("Blue mug" in letter.subject for letter in shop.outbox.letters)


async def test_looks_are_counted_without_touching_temporal(shop: TimeSkippingShop) -> None:
    """Two looks, looks at different products, and looks too far apart command nothing."""
    await shop.subscriber()
    await look(shop, 2)
    await look(shop, 2, product="cup")
    await shop.skip(days=8)
    await look(shop, 1)

    assert shop.carried_out == []

    await look(shop, 2)
    assert len(shop.carried_out) == 1


async def test_looking_again_makes_the_message_wait_and_costs_nothing(shop: TimeSkippingShop) -> None:
    """However often, the run asks once and waits until the last look is two hours old."""
    await shop.subscriber()
    await look(shop, 3)
    for _ in range(10):
        await shop.skip(minutes=11)
        await look(shop, 1)

    assert len(shop.carried_out) == 1

    await shop.skip(minutes=30)
    assert await shop.until_said(1) == [("browse-1", "deferred")]
    await shop.skip(minutes=91)
    assert await shop.until_said(1) == [("browse-1", "sent")]


@pytest.mark.parametrize(
    ("event", "outcome"), [("Product Added", "cart_filled"), ("Order Completed", "converted")], ids=["cart", "order"]
)
async def test_a_cart_or_an_order_ends_the_run_at_once(shop: TimeSkippingShop, event: str, outcome: str) -> None:
    """Before the first message and after it; of any product."""
    await shop.subscriber("ada")
    await shop.subscriber("bob")
    await look(shop, 3, "ada")
    await shop.track(event, "ada", order_id="o-1", product_id="pot", price=3, products=[{"product_id": "pot"}])
    assert await shop.settled("browse-abandonment") == "COMPLETED"

    await look(shop, 3, "bob")
    await shop.skip(hours=3)
    await shop.until_said(1)
    await shop.track(event, "bob", order_id="o-2", product_id="pot", price=3, products=[{"product_id": "pot"}])
    assert await shop.settled("browse-abandonment") == "COMPLETED"
    assert await outcomes(shop) == [outcome, outcome]
    assert [step for step, _ in await shop.said() if step.startswith("browse")] == ["browse-1"]


async def test_a_customer_with_a_cart_is_another_journeys_business(shop: TimeSkippingShop) -> None:
    """And looks from before a cart or an order do not count after it."""
    await shop.subscriber()
    await look(shop, 2)
    await shop.track("Product Added", **MUG, quantity=1)
    await look(shop, 3)
    assert await outcomes(shop) == []

    await shop.track("Product Removed", **MUG, quantity=1)
    await look(shop, 2)
    assert await outcomes(shop) == []

    await look(shop, 1)
    assert await outcomes(shop) == ["running"]


async def test_nobody_enters_again_before_the_cool_down_is_over(shop: TimeSkippingShop) -> None:
    """Fourteen days after the last message, three new looks count again."""
    await shop.subscriber()
    await look(shop, 3)
    for hours in (3, 25):
        await shop.skip(hours=hours)
    await shop.settled("browse-abandonment")
    await look(shop, 5)
    assert await outcomes(shop) == ["completed"]

    await shop.skip(days=14)
    await look(shop, 2)
    assert await outcomes(shop) == ["completed"]

    await look(shop, 1)
    assert await outcomes(shop) == ["completed", "running"]


async def test_one_run_per_customer_about_the_product_that_came_first(shop: TimeSkippingShop) -> None:
    """Interest in a second product meanwhile begins nothing."""
    await shop.subscriber()
    await look(shop, 3)
    await look(shop, 3, product="cup")

    assert [(row.product_id, row.outcome) for row in await shop.runs("browse-abandonment")] == [("mug", "running")]


async def test_the_order_in_which_looks_arrive_makes_no_difference(shop: TimeSkippingShop) -> None:
    """Three looks ten minutes apart, told in any order: the message comes two hours after the newest (G2)."""
    await shop.tick()
    looks = [shop.now + timedelta(minutes=minute) for minute in (0, 10, 20)]
    await shop.skip(minutes=30)
    for number, told in enumerate(permutations(looks)):
        for at in told:
            await shop.track("Product Viewed", f"user-{number}", at=at, **MUG)

    assert {row.since for row in await shop.runs("browse-abandonment")} == {looks[2]}
    assert len(await outcomes(shop)) == 6


async def test_an_order_told_before_the_looks_it_follows_counts(shop: TimeSkippingShop) -> None:
    """Who bought after the looks is not written to, whatever we hear first (G2)."""
    await shop.subscriber()
    await shop.tick()
    earlier = shop.now - timedelta(minutes=5)
    await shop.track("Order Completed", order_id="o-1", total=1, products=[{"product_id": "pot"}])
    for second in range(3):
        await shop.track("Product Viewed", at=earlier + timedelta(seconds=second), **MUG)

    assert await outcomes(shop) == []


async def test_a_browser_that_becomes_known_later_is_written_to(shop: TimeSkippingShop) -> None:
    """The looks, and the run, are the customer's from then on."""
    for _ in range(3):
        await shop.browse("Product Viewed", "browser-1", **MUG)
    await shop.identify("ada", "browser-1", email="ada@example.com", marketing_consent=True)
    await shop.skip(hours=3)

    assert await shop.until_said(1) == [("browse-1", "sent")]


async def test_looks_of_two_identities_are_counted_together_once_they_are_one(shop: TimeSkippingShop) -> None:
    """Two on the phone, one at the desk: no look has to follow."""
    await shop.subscriber()
    await look(shop, 1)
    for _ in range(2):
        await shop.browse("Product Viewed", "phone", **MUG)
    assert await outcomes(shop) == []

    await shop.identify("ada", "phone")
    await shop.skip(hours=3)
    assert await shop.until_said(1) == [("browse-1", "sent")]


@pytest.mark.parametrize("news", [{"stock": 0}, {"discontinued": True}], ids=["sold out", "withdrawn"])
async def test_a_product_that_cannot_be_bought_is_not_advertised(shop: TimeSkippingShop, news: dict[str, int]) -> None:
    """Asked at the moment of sending."""
    await shop.subscriber()
    await look(shop, 3)
    await shop.track("Product Updated", "backend", product_id="mug", **news)
    await shop.skip(hours=3)

    assert await shop.until_said(1) == [("browse-1", "stale")]
