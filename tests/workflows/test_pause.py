"""Pause and resume: nobody is dropped, nothing is sent, and nothing comes out in one go."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from temporalio.testing import ActivityEnvironment

from activities.rollout import PAGE, RollOut
from adapters.postgres import pauses
from adapters.postgres.identities import new_id
from adapters.postgres.pauses import PostgresPauses
from adapters.postgres.rollouts import PostgresReplans
from adapters.postgres.tables import audit, messages
from adapters.postgres.tenancy import as_store
from adapters.temporal import rollouts
from adapters.temporal.rollouts import TemporalRuns
from domain.errors import OperationRefused
from domain.events import Event, Who
from domain.operations import OnResume, Pause
from domain.rollouts import Tally
from testing import TimeSkippingShop
from testing.inspection import as_owner

HOUR = timedelta(hours=1)
MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


async def pause(shop: TimeSkippingShop, journey: str = "welcome") -> datetime:
    await shop.tick()
    await pauses.begin(shop.engine, shop.store_id, journey, "cli:ops", shop.now)
    return shop.now


async def resume(
    shop: TimeSkippingShop, policy: OnResume, journey: str = "welcome", over: timedelta = 4 * HOUR
) -> Tally:
    order = await pauses.order_to_resume(shop.engine, shop.store_id, journey, policy, over, "cli:ops")
    handle = await rollouts.begin(shop.env.client, shop.task_queue, order)
    with shop.env.auto_time_skipping_disabled():
        return await handle.result()


async def until(true: Callable[[], Coroutine[Any, Any, bool]], deadline: float = 90.0) -> None:
    """Wait for a condition, without moving time."""
    async with asyncio.timeout(deadline):
        while not await true():
            await asyncio.sleep(0.1)


async def newcomers(shop: TimeSkippingShop, *names: str) -> None:
    """Many people subscribe at this moment."""
    await shop.tick()
    addresses = [f"{name}@example.com" for name in names]
    events = [
        Event(
            store_id=shop.store_id, id=new_id(), message_id=uuid4().hex, type="track", name="Newsletter Subscribed",
            who=Who(email=address), at=shop.now, received_at=shop.now,
            payload={"type": "track", "event": "Newsletter Subscribed", "properties": {"email": address}},
        )
        for address in addresses
    ]  # fmt: skip
    await shop.events.accept(events)
    await shop.router.route_everything()


async def waiting_crowd(shop: TimeSkippingShop, count: int, *, steps: int, groups: int = 10) -> None:
    """So many runs that wait for their first message, begun over an hour; it is due a day later, the next in two."""
    every = [
        {"name": "welcome-1", "template": "welcome", "delay": "P1D", "topic": "newsletter"},
        {"name": "welcome-2", "template": "welcome-stories", "delay": "P2D", "topic": "newsletter"},
    ]
    await shop.plan("welcome", steps=every[:steps])
    for group in range(min(groups, count)):
        await newcomers(shop, *(f"c{number}" for number in range(group, count, groups)))
        if count > 1:
            await shop.skip(minutes=60 / groups)


async def rows(shop: TimeSkippingShop, step: str = "welcome-1") -> list[Any]:
    query = select(messages).where(messages.c.store_id == shop.store_id, messages.c.step == step)
    async with as_owner(shop.engine) as connection:
        return list((await connection.execute(query)).all())


async def states(shop: TimeSkippingShop, step: str = "welcome-1") -> dict[str, int]:
    query = (
        select(messages.c.state, func.count().label("runs"))
        .where(messages.c.store_id == shop.store_id, messages.c.step == step)
        .group_by(messages.c.state)
    )
    async with as_owner(shop.engine) as connection:
        return {row.state: row.runs for row in (await connection.execute(query)).all()}


async def all_are(shop: TimeSkippingShop, count: int, state: str, step: str = "welcome-1") -> None:
    """Wait until so many messages are in a state, without moving time."""

    async def true() -> bool:
        return (await states(shop, step)).get(state, 0) == count

    await until(true)


async def none_is(shop: TimeSkippingShop, state: str) -> bool:
    return state not in await states(shop)


async def the_pauses(shop: TimeSkippingShop) -> tuple[Pause, ...]:
    async with as_store(shop.engine, shop.store_id) as connection:
        return await pauses.of_journey(connection, shop.store_id, "welcome")


def busiest_hour(times: list[datetime]) -> int:
    """The most messages in any sixty minutes."""
    return max(sum(start <= time < start + HOUR for time in times) for start in times)


async def test_five_hundred_runs_held_up_by_a_pause_come_out_spread(shop: TimeSkippingShop) -> None:
    """Their time comes in the pause: nothing is sent, nobody is dropped; then each gets its message once, in peace."""
    await waiting_crowd(shop, 500, steps=1, groups=2)
    await pause(shop)
    await shop.skip(days=1, hours=1)
    await all_are(shop, 500, "paused")
    assert shop.outbox.letters == []
    assert {run.outcome for run in await shop.runs("welcome")} == {"running"}

    tally = await resume(shop, OnResume.SPREAD)
    (over,) = await the_pauses(shop)
    assert (tally.done, tally.ended, tally.later) == (500, 0, {})
    await until(lambda: none_is(shop, "paused"))
    await shop.skip(hours=4, minutes=10)
    await all_are(shop, 500, "sent")

    sent = [row.claimed_at for row in await rows(shop)]
    assert over.until is not None
    assert min(sent) >= over.until
    assert max(sent) <= over.until + 4 * HOUR + timedelta(minutes=1)
    assert busiest_hour(sent) < 165
    assert set(Counter(letter.to for letter in shop.outbox.letters).values()) == {1}
    assert len(shop.outbox.letters) == 500
    assert {run.outcome for run in await shop.runs("welcome")} == {"completed"}


async def test_a_shift_keeps_everybodys_distances(shop: TimeSkippingShop) -> None:
    """Who subscribed ten minutes after the other hears ten minutes after the other; at both steps."""
    await waiting_crowd(shop, 20, steps=2)
    since = await pause(shop)
    await shop.skip(days=1, hours=1)
    await all_are(shop, 20, "paused")
    await resume(shop, OnResume.SHIFT)
    (over,) = await the_pauses(shop)
    assert over.until is not None
    length = over.until - since
    await all_are(shop, 20, "deferred")
    assert shop.outbox.letters == []
    await shop.skip(days=1, hours=2)
    await all_are(shop, 20, "sent")
    await shop.skip(days=2, hours=1)
    await all_are(shop, 20, "sent", step="welcome-2")

    begun = {run.run_id: run.begun_at for run in await shop.runs("welcome")}
    for step, days in (("welcome-1", 1), ("welcome-2", 3)):
        late = [row.claimed_at - (begun[row.run_id] + timedelta(days=days) + length) for row in await rows(shop, step)]
        assert max(late) < timedelta(minutes=1)
        assert min(late) >= timedelta(0)


async def test_dropping_what_is_overdue_does_not_bunch_the_next_step(shop: TimeSkippingShop) -> None:
    """The second message comes when it would have come without the pause, to each customer at his own time."""
    await waiting_crowd(shop, 20, steps=2)
    await pause(shop)
    await shop.skip(days=1, hours=1)
    await all_are(shop, 20, "paused")
    await resume(shop, OnResume.DROP_OVERDUE)
    await all_are(shop, 20, "dropped")
    await shop.skip(days=2, hours=1)
    await all_are(shop, 20, "sent", step="welcome-2")

    begun = {run.run_id: run.begun_at for run in await shop.runs("welcome")}
    late = [row.claimed_at - (begun[row.run_id] + timedelta(days=3)) for row in await rows(shop, "welcome-2")]
    assert max(late) < timedelta(minutes=1)
    assert len(shop.outbox.letters) == 20
    assert {run.outcome for run in await shop.runs("welcome")} == {"completed"}


async def test_a_timer_that_ends_after_the_resume_knows_of_the_pause(shop: TimeSkippingShop) -> None:
    """Nobody told that run: its claim finds the pause and is put off by it, once."""
    await waiting_crowd(shop, 1, steps=2)
    await pause(shop)
    await shop.skip(hours=10)
    assert (await resume(shop, OnResume.SHIFT)).done == 0
    await shop.skip(hours=14, minutes=1)
    await all_are(shop, 1, "deferred")
    await shop.skip(hours=10, minutes=5)
    await all_are(shop, 1, "sent")
    (first,) = await rows(shop)
    await shop.skip(days=2, minutes=5)
    await all_are(shop, 1, "sent", step="welcome-2")
    (second,) = await rows(shop, "welcome-2")

    assert second.claimed_at - first.claimed_at < timedelta(days=2, minutes=1)


async def test_the_last_message_of_a_run_survives_a_pause(shop: TimeSkippingShop) -> None:
    """The run's row stays open while its last slot waits, so that the resume finds a run to go on."""
    await waiting_crowd(shop, 1, steps=1)
    await pause(shop)
    await shop.skip(days=1, hours=1)
    await all_are(shop, 1, "paused")
    (run,) = await shop.runs("welcome")
    (held,) = await rows(shop)

    assert (run.ended_at, run.outcome) == (None, "running")
    assert held.settled_at is None


async def test_exits_and_entries_go_on_in_a_pause_however_long_it_is(shop: TimeSkippingShop) -> None:
    """An order after months ends the run, though its row would have counted as closed by then (G4)."""
    await waiting_crowd(shop, 1, steps=1)
    await pause(shop)
    await shop.skip(days=200)
    await shop.identify("bob", email="c0@example.com")
    await shop.track("Order Completed", "bob", order_id="o-1", total=5)
    await newcomers(shop, "late")

    first, second = await shop.runs("welcome")
    assert (first.outcome, second.outcome) == ("converted", "running")
    await resume(shop, OnResume.SPREAD)
    await shop.skip(days=2)
    await all_are(shop, 1, "sent")
    assert await states(shop) == {"paused": 1, "sent": 1}
    assert "late@example.com" in {letter.to for letter in shop.outbox.letters}


async def test_a_message_put_off_for_another_reason_waits_for_the_resume_too(shop: TimeSkippingShop) -> None:
    """A deferred message is still to be sent; in the pause it is not."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=50)
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=15)
    await all_are(shop, 1, "deferred", step="reminder-1")
    await pause(shop, "cart-recovery")
    await shop.skip(minutes=50)
    await all_are(shop, 1, "paused", step="reminder-1")
    await resume(shop, OnResume.SHIFT, "cart-recovery")
    await all_are(shop, 1, "deferred", step="reminder-1")
    await shop.skip(hours=1)

    await all_are(shop, 1, "sent", step="reminder-1")


async def test_no_wave_promises_stock_while_alerts_are_paused(shop: TimeSkippingShop) -> None:
    """One in stock, one alert for each: the waves begin with the resume, and then go on as always."""
    await shop.plan("back-in-stock", wave_ratio=1, wave_interval="PT10M")
    for user in ("ada", "bob", "cy"):
        await shop.subscriber(user)
        await shop.track("Back In Stock Requested", user, product_id="mug")
    await pause(shop, "back-in-stock")
    await shop.track("Product Updated", "backend", product_id="mug", stock=1)
    await shop.skip(hours=3)
    assert await shop.said() == []
    await resume(shop, OnResume.SHIFT, "back-in-stock")
    await shop.until_said(1)
    assert await shop.said() == [("alert", "sent")]
    await shop.skip(minutes=25)

    await all_are(shop, 3, "sent", step="alert")


async def test_a_pause_long_over_does_not_hold_up_an_alert(shop: TimeSkippingShop) -> None:
    """An alert is due when the stock comes; the months of waiting before it are no wait for a time."""
    await shop.subscriber()
    await shop.track("Back In Stock Requested", product_id="mug")
    await pause(shop, "back-in-stock")
    await shop.skip(days=3)
    await resume(shop, OnResume.SHIFT, "back-in-stock")
    await shop.skip(days=30)
    await shop.track("Product Updated", "backend", product_id="mug", stock=1)

    assert await shop.until_said(1) == [("alert", "sent")]


async def test_a_journey_is_paused_once_and_resumed_once(shop: TimeSkippingShop) -> None:
    """The second of each is told so; both are in the audit log with who did it."""
    await pause(shop)
    with pytest.raises(OperationRefused, match="paused already"):
        await pause(shop)
    await resume(shop, OnResume.SPREAD)
    with pytest.raises(OperationRefused, match="not paused"):
        await resume(shop, OnResume.SPREAD)

    query = (
        select(audit)
        .where(audit.c.store_id == shop.store_id, audit.c.subject == "journey:welcome")
        .order_by(audit.c.at, audit.c.action)
    )
    async with as_owner(shop.engine) as connection:
        entries = [(row.by, row.action, row.subject, row.detail) for row in (await connection.execute(query)).all()]
    assert entries == [
        ("cli:ops", "pause", "journey:welcome", {}),
        ("cli:ops", "resume", "journey:welcome", {"policy": "spread", "over_s": 14_400}),
    ]


async def test_a_resume_that_crashes_in_the_middle_goes_on_from_there(shop: TimeSkippingShop) -> None:
    """The pause ends once, at its first time; the page that was told is not told again."""
    count = PAGE + 10
    await pause(shop)
    await newcomers(shop, *(f"c{number}" for number in range(count)))
    await all_are(shop, count, "paused")
    told: list[str] = []

    class Crashing(TemporalRuns):
        async def resumed(self, workflow_id: str) -> bool:
            if len(told) == PAGE + 5:
                raise ConnectionError
            told.append(workflow_id)
            return True

    order = await pauses.order_to_resume(shop.engine, shop.store_id, "welcome", OnResume.SPREAD, 4 * HOUR, "cli:ops")
    parts = PostgresReplans(shop.engine), PostgresPauses(shop.engine)
    beats: list[Any] = []
    first, again = ActivityEnvironment(), ActivityEnvironment()
    first.on_heartbeat = lambda *details: beats.append(details)
    with pytest.raises(ConnectionError):
        await first.run(
            RollOut(*parts, Crashing(shop.env.client, shop.temporal), lambda: shop.now + HOUR).roll_out, order
        )
    (over,) = await the_pauses(shop)
    again.info = dataclasses.replace(again.info, heartbeat_details=beats[-1])
    runs = TemporalRuns(shop.env.client, shop.temporal)
    tally = await again.run(RollOut(*parts, runs, lambda: shop.now + 2 * HOUR).roll_out, order)

    assert (tally.done, len(beats)) == (count, 1)
    assert await the_pauses(shop) == (over,)
    # The first page was told by the attempt that crashed (by a stand-in here), the rest by this one.
    await all_are(shop, 10, "deferred")
    assert (await states(shop))["paused"] == PAGE
