"""Price drop, from watch lists to letters, on a server that skips time."""

from datetime import timedelta
from typing import Any

import pytest

from testing import TimeSkippingShop

MUG = {"product_id": "mug", "name": "Blue mug", "currency": "EUR", "url": "https://mugs.test/mug"}


async def priced(shop: TimeSkippingShop, price: float, **more: Any) -> None:
    """Tell the catalogue's price, as the shop's back office does."""
    await shop.track("Product Updated", "backend", **MUG | {"price": price} | more)


async def watching(shop: TimeSkippingShop, user: str = "ada", **asked: Any) -> None:
    """Have a customer watch the mug."""
    await shop.subscriber(user)
    await shop.track("Product Added to Wishlist", user, product_id="mug", **asked)


async def outcomes(shop: TimeSkippingShop) -> list[str]:
    """How the runs ended, or that they have not."""
    return [row.outcome for row in await shop.runs("price-drop")]


async def settle(shop: TimeSkippingShop, times: int) -> None:
    """Wait until so many alerts were settled, and their runs are closed."""
    await shop.until_said(times)
    await shop.settled("price-drop")


async def test_a_watched_product_that_falls_below_the_target_is_announced_at_once(shop: TimeSkippingShop) -> None:
    """With the price that the customer saw, and the new one."""
    await priced(shop, 20)
    await watching(shop, target_price=15)
    await priced(shop, 16)
    assert await outcomes(shop) == []

    await priced(shop, 14.5)
    await settle(shop, 1)

    assert await shop.said() == [("alert", "sent")]
    letter = shop.outbox.letters[0]
    assert letter.subject == "Blue mug now costs €14.50"
    assert "€20.00" in letter.text
    assert "€14.50" in letter.text


@pytest.mark.parametrize(
    ("asked", "not_yet", "enough"),
    [
        ({"drop_percent": 20}, 16.01, 16),
        ({}, 19.01, 19),
        ({"target_price": 15, "drop_percent": 10}, 18.01, 18),
        ({"target_price": 15}, 15.01, 15),
    ],
    ids=["percentage", "neither", "both", "target"],
)
async def test_the_price_must_fall_as_far_as_the_customer_said(
    shop: TimeSkippingShop, asked: dict[str, int], not_yet: float, enough: float
) -> None:
    """To the target, by the percentage, whichever comes first; without either by the store's five per cent."""
    await priced(shop, 20)
    await watching(shop, **asked)
    await priced(shop, not_yet)
    assert await outcomes(shop) == []

    await priced(shop, enough)
    await settle(shop, 1)
    assert await shop.said() == [("alert", "sent")]


async def test_once_per_product_and_price(shop: TimeSkippingShop) -> None:
    """Down, up and down to the same price again is one alert; a lower price is another; another product too."""
    await priced(shop, 20)
    await watching(shop)
    await shop.track("Product Added to Wishlist", "ada", product_id="cup", price=20, currency="EUR")
    for price in (15, 20, 15):
        await priced(shop, price)
        await settle(shop, 1)
    await priced(shop, 15)
    assert await shop.said() == [("alert", "sent")]

    await priced(shop, 14)
    await settle(shop, 2)
    await priced(shop, 15, product_id="cup")
    await settle(shop, 3)
    assert await shop.said() == [("alert", "sent")] * 3


async def test_the_old_price_is_the_one_the_customer_saw(shop: TimeSkippingShop) -> None:
    """At the newest look before the drop, not the highest there ever was."""
    await priced(shop, 30)
    await watching(shop)
    await priced(shop, 29.5)
    await shop.track("Product Viewed", product_id="mug", price=15.5, currency="EUR")
    await priced(shop, 15)
    assert await outcomes(shop) == []

    await priced(shop, 14)
    await settle(shop, 1)
    assert "€15.50" in shop.outbox.letters[0].text


async def test_a_price_that_rises_again_ends_the_run(shop: TimeSkippingShop) -> None:
    """A message that has to wait is not sent about a price that is gone."""
    await shop.plan("price-drop", steps=[{"name": "alert", "template": "price-drop", "delay": "PT1H"}])
    await priced(shop, 20)
    await watching(shop, target_price=15)
    await priced(shop, 14)
    await priced(shop, 14.5)
    assert await outcomes(shop) == ["running"]

    await priced(shop, 15.5)
    assert await shop.settled("price-drop") == "COMPLETED"
    assert await outcomes(shop) == ["price_rose"]
    await shop.skip(hours=2)
    assert await shop.said() == []


@pytest.mark.parametrize(
    ("name", "news"),
    [
        ("Product Removed from Wishlist", {}),
        ("Product Added to Wishlist", {"notify_on_price_drop": False}),
        ("Product Updated", {"stock": 0}),
    ],
    ids=["unwatched", "refused", "sold out"],
)
async def test_the_price_is_checked_again_at_the_moment_of_sending(
    shop: TimeSkippingShop, name: str, news: dict[str, Any]
) -> None:
    """The database decides: what is no longer true is not sent."""
    await shop.plan("price-drop", steps=[{"name": "alert", "template": "price-drop", "delay": "PT1H"}])
    await priced(shop, 20)
    await watching(shop, target_price=15)
    await priced(shop, 14)
    await shop.track(name, product_id="mug", **news)
    await shop.skip(hours=2)

    assert await shop.until_said(1) == [("alert", "stale")]


async def test_an_order_of_the_product_ends_the_run_and_another_does_not(shop: TimeSkippingShop) -> None:
    """And who has bought it since watching hears no more of its price."""
    await shop.plan("price-drop", steps=[{"name": "alert", "template": "price-drop", "delay": "PT1H"}])
    await priced(shop, 20)
    await watching(shop)
    await priced(shop, 15)
    await shop.track("Order Completed", order_id="o-1", total=1, products=[{"product_id": "pot"}])
    assert await outcomes(shop) == ["running"]

    await shop.track("Order Completed", order_id="o-2", total=1, products=[{"product_id": "mug"}])
    assert await shop.settled("price-drop") == "COMPLETED"
    await priced(shop, 10)
    assert await outcomes(shop) == ["converted"]


async def test_a_drop_told_before_the_wish_that_it_fulfils_counts(shop: TimeSkippingShop) -> None:
    """The order of arrival does not matter (G2); a wish that is told twice is one alert."""
    await shop.subscriber()
    await priced(shop, 20)
    await shop.tick()
    watched = shop.now
    await shop.skip(minutes=1)
    await priced(shop, 15)
    for second in range(2):
        at = watched + timedelta(seconds=second)
        await shop.track("Product Added to Wishlist", at=at, product_id="mug", target_price=16)
    await settle(shop, 1)

    assert await shop.said() == [("alert", "sent")]
    assert "€20.00" in shop.outbox.letters[0].text


async def test_a_late_price_is_no_news(shop: TimeSkippingShop) -> None:
    """What a product cost an hour ago, told now, alerts nobody (G2)."""
    await priced(shop, 20)
    await watching(shop)
    await shop.tick()
    earlier = shop.now
    await shop.skip(hours=1)
    await priced(shop, 21)
    await shop.track("Product Updated", "backend", at=earlier, **MUG, price=10)

    assert await outcomes(shop) == []


async def test_who_watches_a_product_that_is_cheap_already_hears_of_the_next_drop(shop: TimeSkippingShop) -> None:
    """The customer sees the price when watching; an alert about it would be no news."""
    await priced(shop, 14)
    await watching(shop, target_price=15)
    await priced(shop, 14)
    assert await outcomes(shop) == []

    await priced(shop, 13)
    await settle(shop, 1)
    assert await shop.said() == [("alert", "sent")]


async def test_without_consent_nothing_is_sent(shop: TimeSkippingShop) -> None:
    """To watch a product is not to ask for mail (G5)."""
    await priced(shop, 20)
    await shop.identify("ada", email="ada@example.com")
    await shop.track("Product Added to Wishlist", product_id="mug", target_price=15)
    await priced(shop, 14)
    await settle(shop, 1)

    assert await shop.said() == [("alert", "no_consent")]
