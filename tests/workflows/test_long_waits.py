"""Runs that last for years, and runs that are put off for weeks, keep small histories."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowHistory

from adapters.postgres.identities import new_id
from domain.events import Event, Who
from rehearsal.costs import size
from rehearsal.examples import MUG
from testing import TimeSkippingShop
from workflows import journey as base

CONTINUED = 28
"""The event that a run goes on in another history."""
LONG_HISTORY = base._LONG_HISTORY
LIMIT_EVENTS, LIMIT_BYTES = 51_200, 50_000_000
"""Where Temporal ends a run."""


async def histories(shop: TimeSkippingShop, journey: str) -> list[WorkflowHistory]:
    """Every history of a journey's newest workflow, in order."""
    newest = await shop.history(journey)
    run_id = newest.events[0].workflow_execution_started_event_attributes.first_execution_run_id
    found = []
    while run_id:
        handle = shop.env.client.get_workflow_handle(newest.workflow_id, run_id=run_id)
        found.append(await handle.fetch_history())
        run_id = found[-1].events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


async def test_ten_years_of_orders_are_many_short_histories(shop: TimeSkippingShop) -> None:
    """Each order of a regular customer continues win-back as new: no history grows with the years."""
    await shop.only("win-back")
    await shop.subscriber()
    for number in range(43):
        await shop.track("Order Completed", order_id=f"o-{number}", total=12.5, currency="EUR")
        await shop.skip(days=84)
    chain = await histories(shop, "win-back")

    assert await shop.sent() == []
    assert len(chain) == 43
    assert max(len(history.events) for history in chain) <= 12
    assert max(size(history) for history in chain) < 6_000


async def test_a_customer_won_back_every_year_costs_no_longer_history(shop: TimeSkippingShop) -> None:
    """Ten times silent, written to three times, and back: each year stays by itself."""
    await shop.only("win-back")
    await shop.subscriber()
    for year in range(9):
        await shop.track("Order Completed", order_id=f"o-{year}", total=12.5, currency="EUR")
        await shop.skip(days=365)
    chain = await histories(shop, "win-back")

    assert len(await shop.sent("win-back")) == 27
    assert len(chain) == 1
    assert len(chain[-1].events) < 50


def cart_of(shop: TimeSkippingShop, quantity: int) -> Event:
    """A shop's word that the cart holds so many mugs now."""
    payload = {"type": "track", "event": "Cart Updated", "properties": {"products": [{**MUG, "quantity": quantity}]}}
    return Event(
        store_id=shop.store_id, id=new_id(), message_id=f"m-{quantity}", type="track", name="Cart Updated",
        who=Who(user_id="ada"), payload=payload, at=shop.now + timedelta(seconds=quantity), received_at=shop.now,
    )  # fmt: skip


async def test_a_thousand_cart_changes_reach_the_workflow_as_nothing(shop: TimeSkippingShop) -> None:
    """The cart is in Postgres: however often it changes in the quiet hour, there is one timer for it."""
    await shop.only("cart-recovery")
    await shop.subscriber()
    await shop.events.accept([cart_of(shop, quantity) for quantity in range(1, 1_001)])
    await shop.router.route_everything()
    await shop.skip(hours=3)
    await shop.at_rest()
    (history,) = await histories(shop, "cart-recovery")

    assert [mail.step for mail in await shop.sent()] == ["reminder-1"]
    assert len(history.events) < 30
    assert size(history) < 10_000


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """Histories count as long after fewer events, so that the test needs no weeks of them."""
    monkeypatch.setattr(base, "_LONG_HISTORY", 30)
    return 30


async def test_a_cart_that_is_never_left_alone_goes_on_in_new_histories(shop: TimeSkippingShop, short: int) -> None:
    """Changed every 50 minutes for a day, and then left: the reminders come as if there had been one history."""
    await shop.only("cart-recovery")
    await shop.subscriber()
    for number in range(30):
        await shop.track("Product Added", **{**MUG, "product_id": f"mug-{number}"})
        await shop.skip(minutes=50)
        await shop.at_rest()
    left = shop.now - timedelta(minutes=50)
    await shop.skip(days=3)
    assert await shop.settled("cart-recovery") == "COMPLETED"
    chain = await histories(shop, "cart-recovery")
    mails = await shop.sent()
    longest = max(len(history.events) for history in chain[:-1])

    assert len(chain) > 3
    assert all(history.events[-1].event_type == CONTINUED for history in chain[:-1])
    assert longest < short + 20
    assert [mail.step for mail in mails] == ["reminder-1", "reminder-2", "reminder-3"]
    after = [mail.at - left for mail in mails]
    expected = [timedelta(hours=hours) for hours in (1, 24, 49)]
    assert [abs(real - wanted) < timedelta(minutes=1) for real, wanted in zip(after, expected, strict=True)] == [
        True
    ] * 3
    assert len(chain[-1].events) < longest + 40
    assert LONG_HISTORY + 40 < LIMIT_EVENTS / 20
    assert max(size(history) / len(history.events) for history in chain) * (LONG_HISTORY + 40) < LIMIT_BYTES / 20


async def test_an_order_ends_a_run_that_went_on_in_a_new_history(shop: TimeSkippingShop, short: int) -> None:
    """The exit finds it wherever it is; the row and the outcome are those of one run."""
    await shop.only("cart-recovery")
    await shop.subscriber()
    for number in range(12):
        await shop.track("Product Added", **{**MUG, "product_id": f"mug-{number}"})
        await shop.skip(minutes=50)
        await shop.at_rest()
    assert len(await histories(shop, "cart-recovery")) > 1
    await shop.track("Order Completed", order_id="o-1", total=12.5, products=[MUG])
    await shop.settled("cart-recovery")
    await shop.skip(days=5)

    assert [run.outcome for run in await shop.runs("cart-recovery")] == ["converted"]
    assert await shop.sent() == []
