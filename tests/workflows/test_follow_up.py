"""A store's own follow-ups, from events to letters, on a server that skips time."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from adapters.postgres.reports import journeys_of
from adapters.postgres.tables import happenings
from domain.commands import SignalRun, StartRun
from testing import TimeSkippingShop
from testing.inspection import as_owner
from tests.conftest import statements
from tests.follow_ups import EXAMPLES

MASSAGE = {"service_id": "massage", "service_name": "Stone massage", "price": 65}


async def open_shop(shop: TimeSkippingShop, *names: str, beside: str = "follow-up", **plans: dict[str, Any]) -> None:
    """A subscriber, and follow-ups: documented ones by name, others by their settings; no journey but one beside."""
    await shop.only(beside)
    await shop.subscriber()
    for name in names:
        await shop.plan(f"follow-up/{name}", **EXAMPLES[f"follow-up/{name}"])
    for name, settings_ in plans.items():
        step = {"name": "only", "template": "related-services", "delay": "P1D", "topic": "promotional_emails"}
        await shop.plan(f"follow-up/{name.replace('_', '-')}", **({"steps": [step]} | settings_))


def started(shop: TimeSkippingShop) -> list[str]:
    """The journeys of the runs that were begun."""
    return [command.run.journey for command in shop.carried_out if isinstance(command, StartRun)]


async def test_related_services_follow_seven_days_after_a_service(shop: TimeSkippingShop) -> None:
    """requirements/2 §5.1.1: service_completed, 7 days, related services; the mail knows which service it was."""
    await open_shop(shop, "related-services")
    await shop.track("service_completed", **MASSAGE)
    await shop.skip(days=6, hours=23)
    assert await shop.said() == []

    await shop.skip(hours=1, minutes=1)
    assert await shop.settled("follow-up/related-services") == "COMPLETED"
    assert await shop.said() == [("related", "sent")]
    assert "Stone massage" in shop.outbox.letters[0].subject


async def test_an_abandoned_booking_is_recalled_after_an_hour(shop: TimeSkippingShop) -> None:
    """requirements/2 §5.1.1: booking_abandoned, 1 hour."""
    await open_shop(shop, "booking-abandoned")
    await shop.track("booking_abandoned", **MASSAGE)
    await shop.skip(minutes=59)
    assert await shop.said() == []

    await shop.skip(minutes=2)
    assert await shop.settled("follow-up/booking-abandoned") == "COMPLETED"
    assert await shop.said() == [("reminder", "sent")]


@pytest.mark.parametrize("booked", ["booking_completed", "booking_started"])
async def test_whoever_books_after_all_is_left_alone(shop: TimeSkippingShop, booked: str) -> None:
    """An exit ends the run at once, in Postgres and in Temporal."""
    await open_shop(shop, "booking-abandoned")
    await shop.track("booking_abandoned", **MASSAGE)
    await shop.skip(minutes=30)
    await shop.track(booked, booking_id="b-1")

    assert await shop.settled("follow-up/booking-abandoned") == "COMPLETED"
    assert (await shop.runs("follow-up/booking-abandoned"))[0].outcome == "converted"
    await shop.skip(hours=2)
    assert "reminder" not in dict(await shop.said())


async def test_more_than_ten_pages_without_a_booking_earn_an_incentive_a_day_later(shop: TimeSkippingShop) -> None:
    """requirements/2 §5.1.1: ten page views are not more than ten; page calls and page events count alike."""
    await open_shop(shop, "high-engagement")
    for number in range(10):
        await (shop.page(path=f"/{number}") if number % 2 else shop.track("page_viewed", path=f"/{number}"))
    assert started(shop) == []

    await shop.page(path="/10")
    await shop.page(path="/11")
    assert started(shop) == ["follow-up/high-engagement"]

    await shop.skip(days=1, minutes=1)
    assert await shop.settled("follow-up/high-engagement") == "COMPLETED"
    assert await shop.said() == [("incentive", "sent")]


async def test_pages_of_another_day_do_not_count(shop: TimeSkippingShop) -> None:
    """The window ends with the event."""
    await open_shop(shop, "high-engagement")
    for _ in range(10):
        await shop.page()
    await shop.skip(days=1, seconds=1)
    await shop.page()

    assert started(shop) == []


async def test_whoever_has_booked_before_gets_no_incentive(shop: TimeSkippingShop) -> None:
    """Also if that was before the store set the follow-up: purchases are kept as orders."""
    await shop.only("follow-up")
    await shop.track("booking_completed", booking_id="b-1", total=65)
    await open_shop(shop, "high-engagement")
    for _ in range(11):
        await shop.page()

    assert "follow-up/high-engagement" not in started(shop)


async def test_a_booking_ends_the_incentive(shop: TimeSkippingShop) -> None:
    """What must not have happened before must not happen afterwards."""
    await open_shop(shop, "high-engagement")
    for _ in range(11):
        await shop.page()
    await shop.track("booking_completed", booking_id="b-1", total=65)

    assert await shop.settled("follow-up/high-engagement") == "COMPLETED"
    assert (await shop.runs("follow-up/high-engagement"))[0].outcome == "converted"


async def test_a_repeated_event_counts_once(shop: TimeSkippingShop) -> None:
    """A router that died after its commit, or a client that repeats, adds no page view."""
    await open_shop(shop, "high-engagement")
    shop.twice = True
    for _ in range(10):
        await shop.page()
    async with as_owner(shop.engine) as connection:
        assert await connection.scalar(select(func.count()).select_from(happenings)) == 10
    assert started(shop) == []


async def test_ten_and_one_page_views_count_in_whatever_order_they_arrive(shop: TimeSkippingShop) -> None:
    """The last to arrive is not the last to happen (G2)."""
    await open_shop(shop, "high-engagement")
    await shop.tick()
    now = shop.now
    for number in (11, 3, 8, 1, 10, 2, 9, 4, 7, 5, 6):
        assert started(shop) == []
        await shop.page(at=now - timedelta(minutes=60 - number))

    assert started(shop) == ["follow-up/high-engagement"]
    assert (await shop.runs("follow-up/high-engagement"))[0].since == now - timedelta(minutes=49)


async def test_an_event_begins_a_run_once_however_often_it_is_judged(shop: TimeSkippingShop) -> None:
    """A page that comes late makes the newest one be looked at again; it has had its message (G3)."""
    often = {"kind": "count", "event": "page", "more_than": 2, "within": "P1D"}
    at_once = {"name": "only", "template": "related-services", "topic": "promotional_emails"}
    await open_shop(shop, mine={"event": "page", "conditions": [often], "again": "PT0S", "steps": [at_once]})
    for _ in range(3):
        await shop.page()
    await shop.settled("follow-up/mine")
    for _ in range(2):
        await shop.page(at=shop.now - timedelta(hours=23))

    assert started(shop) == ["follow-up/mine"]
    assert await shop.said() == [("only", "sent")]


async def test_an_exit_that_came_first_counts(shop: TimeSkippingShop) -> None:
    """The booking is told before the abandonment that it answers (G2)."""
    await open_shop(shop, "booking-abandoned")
    await shop.tick()
    now = shop.now
    await shop.track("booking_completed", booking_id="b-1", total=65)
    await shop.track("booking_abandoned", at=now - timedelta(minutes=5), **MASSAGE)

    assert "follow-up/booking-abandoned" not in started(shop)


async def test_an_exit_from_before_the_entry_does_not_count(shop: TimeSkippingShop) -> None:
    """The booking of the service that is now completed arrives late (G2)."""
    await open_shop(shop, mine={"event": "service_completed"})
    await shop.track("service_completed", **MASSAGE)
    await shop.track("booking_completed", at=shop.now - timedelta(days=3), booking_id="b-1", total=65)

    assert [run.outcome for run in await shop.runs("follow-up/mine")] == ["running"]


async def test_what_should_have_prevented_the_entry_ends_it_when_it_comes_late(shop: TimeSkippingShop) -> None:
    """Within its window; outside it changes nothing (G2)."""
    tried = {"kind": "none", "event": "voucher used", "within": "P3D"}
    await open_shop(shop, mine={"event": "service_completed", "conditions": [tried]})
    await shop.track("service_completed", **MASSAGE)
    await shop.track("Voucher Used", at=shop.now - timedelta(days=4))
    assert [run.outcome for run in await shop.runs("follow-up/mine")] == ["running"]

    await shop.track("Voucher Used", at=shop.now - timedelta(days=2))
    await shop.settled("follow-up/mine")
    assert [run.outcome for run in await shop.runs("follow-up/mine")] == ["converted"]


async def test_only_an_event_whose_properties_meet_the_condition_begins(shop: TimeSkippingShop) -> None:
    """The router judges them; no workflow ever sees them (G8)."""
    spa = {"kind": "property", "name": "category", "op": "=", "value": "Spa"}
    await open_shop(shop, mine={"event": "service_completed", "conditions": [spa]})
    await shop.track("service_completed", category="hair")
    await shop.track("service_completed")
    assert started(shop) == []

    await shop.track("Service Completed", category="spa", note="a secret of Ada's")
    assert started(shop) == ["follow-up/mine"]
    assert "secret" not in str(shop.carried_out)


async def test_many_follow_ups_of_one_event_are_many_runs(shop: TimeSkippingShop) -> None:
    """Each under its own name, and each ends by itself."""
    await open_shop(shop, first={"event": "checked in", "exits": ["no thanks"]}, second={"event": "Checked In"})
    await shop.track("checked_in", product_id="room-7")
    await shop.track("checked_in", product_id="room-8")
    assert sorted(started(shop)) == ["follow-up/first", "follow-up/second"]

    await shop.track("No Thanks")
    await shop.settled("follow-up/first")
    assert [run.outcome for run in await shop.runs("follow-up/first")] == ["converted"]
    assert [run.outcome for run in await shop.runs("follow-up/second")] == ["running"]
    assert len([command for command in shop.carried_out if isinstance(command, SignalRun)]) == 1

    _, passages = await journeys_of(shop.engine, shop.store_id, "ada")
    assert {passage.journey for passage in passages} == {"follow-up/first", "follow-up/second"}


async def test_a_run_under_way_keeps_the_plan_it_began_with(shop: TimeSkippingShop) -> None:
    """Its steps and its exits (G6); the next run has the new ones."""
    await open_shop(shop, mine={"event": "checked in", "exits": ["no thanks"]})
    await shop.subscriber("bob")
    await shop.subscriber("eve")
    await shop.track("checked in", "ada")
    await shop.track("checked in", "bob")
    soon = {"name": "soon", "template": "related-services", "delay": "PT1H", "topic": "promotional_emails"}
    await shop.plan("follow-up/mine", event="checked in", exits=["other"], steps=[soon])
    await shop.track("no thanks", "bob")
    await shop.settled("follow-up/mine")
    await shop.track("other", "ada")
    await shop.track("checked in", "eve")

    await shop.skip(hours=2)
    assert sorted(await shop.until_said(1)) == [("soon", "sent")]
    await shop.skip(days=1)
    assert sorted(await shop.until_said(2)) == [("only", "sent"), ("soon", "sent")]


async def test_a_follow_up_that_is_switched_off_lets_nobody_in(shop: TimeSkippingShop) -> None:
    """Whoever is in it goes on, and still leaves by its exits."""
    await open_shop(shop, mine={"event": "checked in", "exits": ["no thanks"]})
    await shop.subscriber("bob")
    await shop.track("checked in")
    await open_shop(shop, mine={"event": "checked in", "exits": ["no thanks"], "enabled": False})
    await shop.track("checked in", "bob")
    assert len(await shop.runs("follow-up/mine")) == 1

    await shop.track("no thanks")
    await shop.settled("follow-up/mine")
    assert [run.outcome for run in await shop.runs("follow-up/mine")] == ["converted"]


@pytest.mark.parametrize(("again", "runs"), [("P2D", 2), ("P10D", 1), (None, 1)])
async def test_nobody_enters_again_before_the_plan_says_so(
    shop: TimeSkippingShop, again: str | None, runs: int
) -> None:
    """Counted from the last message; null means once ever."""
    await open_shop(shop, mine={"event": "checked in", "again": again})
    await shop.track("checked in")
    await shop.skip(days=1, minutes=1)
    await shop.settled("follow-up/mine")
    await shop.skip(days=3)
    await shop.track("checked in")

    assert len(await shop.runs("follow-up/mine")) == runs


async def test_follow_ups_of_two_identities_become_one(shop: TimeSkippingShop) -> None:
    """What a browser did counts for the customer it turns out to be, and one run remains."""
    await open_shop(shop, "high-engagement", mine={"event": "checked in", "exits": ["Purchase"]})
    await shop.track("checked in", product_id="room-7")
    await shop.browse("checked in", "browser", product_id="room-8")
    for _ in range(10):
        await shop.browse("page", "browser")
    await shop.identify("ada", "browser")
    await shop.settled("follow-up/mine")
    assert sorted(run.outcome for run in await shop.runs("follow-up/mine")) == ["merged", "running"]

    await shop.page()
    assert "follow-up/high-engagement" in started(shop)


async def test_the_purchase_of_a_joined_identity_ends_a_follow_up(shop: TimeSkippingShop) -> None:
    """The browser bought what the account was about to be reminded of."""
    await open_shop(shop, "booking-abandoned")
    await shop.track("booking_abandoned", **MASSAGE)
    await shop.browse("booking_completed", "browser", booking_id="b-1", total=65)
    await shop.identify("ada", "browser")
    await shop.settled("follow-up/booking-abandoned")

    assert [run.outcome for run in await shop.runs("follow-up/booking-abandoned")] == ["converted"]


async def test_a_follow_up_may_begin_with_a_purchase(shop: TimeSkippingShop) -> None:
    """It knows the order, and the purchase that begins it does not end it."""
    await open_shop(shop, mine={"event": "Purchase"})
    await shop.track("Order Completed", order_id="o-1", total=65)

    assert [(run.outcome, run.order_id) for run in await shop.runs("follow-up/mine")] == [("running", "o-1")]


async def test_a_follow_up_of_a_product_is_not_taken_for_a_place_in_its_queue(shop: TimeSkippingShop) -> None:
    """The end of a product is told to those who wait for it, and ends no other run about it."""
    await open_shop(shop, beside="back-in-stock", mine={"event": "checked in"})
    await shop.track("checked in", product_id="mug")
    await shop.track("Back In Stock Requested", product_id="mug")
    await shop.track("Product Withdrawn", product_id="mug")
    async with asyncio.timeout(20):
        while [run.outcome for run in await shop.runs("back-in-stock")] != ["withdrawn"]:
            await asyncio.sleep(0.02)

    assert [run.outcome for run in await shop.runs("follow-up/mine")] == ["running"]


async def test_a_store_without_follow_ups_pays_nothing(shop: TimeSkippingShop) -> None:
    """No event that only a follow-up could care about costs a look, a row or a customer."""
    await shop.page()
    with statements(shop.engine) as seen:
        await shop.page()
        await shop.track("checked in", uuid4().hex)

    assert [sql for sql in seen if "happenings" in sql or "jsonb_array_elements_text(plans" in sql] == []
    assert [sql for sql in seen if "INSERT INTO customers" in sql] == []
    assert shop.carried_out == []


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(["booking_abandoned", "booking_completed", "page"]))
async def test_the_order_of_arrival_makes_no_difference(shop: TimeSkippingShop, order: list[str]) -> None:
    """Abandoned, then booked, however it reaches us: silence (G2)."""
    user = uuid4().hex
    await open_shop(shop, "booking-abandoned")
    await shop.subscriber(user)
    now = shop.now
    happened = {"booking_abandoned": 20, "page": 10, "booking_completed": 5}
    for name in order:
        await shop.track(name, user, at=now - timedelta(minutes=happened[name]), booking_id=user)
    if await shop.runs("follow-up/booking-abandoned"):
        await shop.settled("follow-up/booking-abandoned")
    await shop.skip(hours=2)

    assert "reminder" not in [step for step, state in await shop.said() if state == "sent"]
