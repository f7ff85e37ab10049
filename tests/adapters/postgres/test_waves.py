"""Waves of a restock on a real database: who is next, how many, and what a crash in between repeats."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.stock import AT_ONCE, ReleaseWave, WaveRequest, WaveResult
from adapters.postgres.tables import events, products, runs, waitlist
from adapters.postgres.tenancy import as_store
from adapters.postgres.waitlist import PostgresWaitlist, wait_on
from domain.errors import Unavailable
from domain.events import Who
from domain.facts import AnyFact, ProductWithdrawn, StockReleased
from domain.ports import Wave
from domain.runs import Outcome
from tests.adapters.postgres.conftest import START, Telling

MINUTE = timedelta(minutes=1)
NOW = START + timedelta(hours=1)


@pytest.fixture
def line(engine: AsyncEngine) -> PostgresWaitlist:
    return PostgresWaitlist(engine)


async def ask(mugs: Telling, *users: str, product: str = "cup") -> None:
    """Customers ask for a product, a minute after each other; routing begins their runs."""
    for minute, user in enumerate(users):
        request = mugs.event("Back In Stock Requested", START + minute * MINUTE, Who(user_id=user), product_id=product)
        await mugs.apply([request], now=START + minute * MINUTE)


async def stock(mugs: Telling, units: int, product: str = "cup", **more: Any) -> None:
    told = {"product_id": product, "stock": units, **more}
    await mugs.apply([mugs.event("Product Updated", NOW, Who(), **told)], now=NOW)


async def users_of(mugs: Telling, wave: Wave) -> list[str]:
    """Whose runs a wave tells, in its order."""
    asked = {await mugs.customer(user): user for user in ("ada", "bob", "cleo", "dan", "eve")}
    owners = {row.workflow_id: asked[row.customer_id] for row in await mugs.rows(runs)}
    return [owners[workflow_id] for workflow_id in wave.workflow_ids]


class Hearing:
    """Runs that are told something (implements `domain.ports.Runs`), until Temporal is gone."""

    def __init__(self, deaf_after: int | None) -> None:
        self.told: list[str] = []
        self.deaf_after = deaf_after

    async def tell(self, workflow_id: str, _fact: AnyFact) -> None:
        if len(self.told) == self.deaf_after:
            raise Unavailable("Temporal is gone")
        self.told.append(workflow_id)


async def next_wave(mugs: Telling, line: PostgresWaitlist, ratio: float = 1.0) -> Wave:
    return await line.next_wave(mugs.store_id, "cup", ratio, NOW)


async def told(mugs: Telling, line: PostgresWaitlist, wave: Wave) -> None:
    assert wave.fact is not None
    await line.wave_told(mugs.store_id, wave.fact, wave.workflow_ids, NOW)


async def test_a_wave_is_stock_times_ratio_first_come_first_served(mugs: Telling, line: PostgresWaitlist) -> None:
    """Not who was heard of first, but who asked first; whoever was told is not told again."""
    await ask(mugs, "ada", "bob", "cleo", "dan", "eve")
    late = mugs.event("Back In Stock Requested", START - MINUTE, Who(user_id="eve"), product_id="cup")
    await mugs.apply([late], now=NOW)
    await stock(mugs, 2)
    first = await next_wave(mugs, line, ratio=1.5)
    assert await users_of(mugs, first) == ["eve", "ada", "bob"]
    assert isinstance(first.fact, StockReleased)
    assert first.waiting == 2
    await told(mugs, line, first)
    second = await next_wave(mugs, line, ratio=1.5)
    assert await users_of(mugs, second) == ["cleo", "dan"]
    assert second.waiting == 0


async def test_a_wave_that_was_not_finished_is_the_same_wave_again(mugs: Telling, line: PostgresWaitlist) -> None:
    """A crash between choosing and telling repeats the choice, even if the stock reads differently now."""
    await ask(mugs, "ada", "bob", "cleo", "dan", "eve")
    await stock(mugs, 2)
    first = await next_wave(mugs, line)
    await stock(mugs, 5)
    assert await next_wave(mugs, line) == first
    assert len(first.workflow_ids) == 2


async def test_a_crash_in_the_middle_of_a_wave_tells_only_the_rest_of_it(mugs: Telling, line: PostgresWaitlist) -> None:
    """A wave is noted down by the handful; nobody else is chosen before it is finished."""
    users = [f"user-{number}" for number in range(AT_ONCE + 3)]
    await ask(mugs, *users)
    await stock(mugs, len(users) - 1)
    heard = Hearing(deaf_after=AT_ONCE)
    release = ReleaseWave(line, heard, lambda: NOW)
    request = WaveRequest(store_id=mugs.store_id, product_id="cup", ratio=1.0)
    with pytest.raises(ApplicationError):
        await ActivityEnvironment().run(release.release, request)
    assert len(heard.told) == AT_ONCE

    heard.deaf_after = None
    again = ActivityEnvironment()
    again.info = dataclasses.replace(again.info, heartbeat_details=[AT_ONCE])
    assert await again.run(release.release, request) == WaveResult(told=len(users) - 1, waiting=1)
    assert len(heard.told) == len(set(heard.told)) == len(users) - 1


async def test_a_place_that_is_taken_again_while_its_wave_is_told_is_kept(
    mugs: Telling, line: PostgresWaitlist
) -> None:
    """Ada is told and finds the stock gone again, before it is written down that she was told: she waits on."""
    await ask(mugs, "ada", "bob", "cleo", "dan", "eve")
    await stock(mugs, 2)
    wave = await next_wave(mugs, line)
    async with as_store(mugs.engine, mugs.store_id) as connection:
        await wait_on(connection, mugs.store_id, await mugs.customer("ada"), "cup")
    await told(mugs, line, wave)

    assert await users_of(mugs, await next_wave(mugs, line)) == ["ada", "cleo"]


async def test_a_wave_has_room_for_all_who_wait(mugs: Telling, line: PostgresWaitlist) -> None:
    """More than a statement takes parameters (65,535)."""
    await ask(mugs, "ada")
    await stock(mugs, 1)
    wave = await next_wave(mugs, line)
    many = (*(f"{mugs.store_id}/back-in-stock/{number}" for number in range(70_000)), *wave.workflow_ids)
    await told(mugs, line, wave.model_copy(update={"workflow_ids": many}))

    assert (await next_wave(mugs, line)).waiting == 0


async def test_a_product_that_is_sold_out_again_is_not_announced(mugs: Telling, line: PostgresWaitlist) -> None:
    """Stock is read before each wave; who waits keeps the place."""
    await ask(mugs, "ada", "bob", "cleo", "dan", "eve")
    await stock(mugs, 1)
    wave = await next_wave(mugs, line)
    await told(mugs, line, wave)
    await mugs.write(update(products).values(stock=0))
    assert await next_wave(mugs, line) == Wave(workflow_ids=(), waiting=4)
    await mugs.write(update(products).values(stock=1))
    assert await users_of(mugs, await next_wave(mugs, line)) == ["bob"]


async def test_whoever_waits_without_a_run_does_not_hold_the_queue_up(mugs: Telling, line: PostgresWaitlist) -> None:
    """Runs ended by hand at the head of the line: the wave goes to the next who can be told."""
    await ask(mugs, "ada", "bob", "cleo", "dan", "eve")
    gone = [await mugs.customer(user) for user in ("ada", "bob")]
    await mugs.write(update(runs).where(runs.c.customer_id.in_(gone)).values(ended_at=NOW, outcome="terminated"))
    await stock(mugs, 1)
    wave = await next_wave(mugs, line)
    assert await users_of(mugs, wave) == ["cleo"]
    assert wave.waiting == 2


async def test_a_wave_waits_for_a_run_that_the_router_is_about_to_begin(mugs: Telling, line: PostgresWaitlist) -> None:
    """Temporal does not know it yet: told now, it would never hear of the restock, and its customer neither."""
    await ask(mugs, "ada")
    await stock(mugs, 1)
    (run,) = await mugs.rows(runs)
    applied = {
        "store_id": mugs.store_id, "id": run.trigger_event, "message_id": "m-1", "type": "track", "payload": {},
        "at": START, "received_at": START, "shard": 0, "state": "applied",
    }  # fmt: skip
    await mugs.write(insert(events).values(applied))
    with pytest.raises(Unavailable):
        await next_wave(mugs, line)

    await mugs.write(update(events).values(state="routed"))
    assert (await next_wave(mugs, line)).workflow_ids == (run.workflow_id,)


async def test_nobody_with_a_run_is_an_empty_wave(mugs: Telling, line: PostgresWaitlist) -> None:
    """It ends by itself instead of choosing for ever."""
    await ask(mugs, "ada", "bob")
    await mugs.write(update(runs).values(ended_at=NOW, outcome="terminated"))
    await stock(mugs, 1)
    wave = await next_wave(mugs, line)
    assert (wave.workflow_ids, wave.waiting) == ((), 0)


async def test_a_withdrawn_product_tells_everybody_and_ends_their_runs(mugs: Telling, line: PostgresWaitlist) -> None:
    """There is nothing to wait for, so no wave size applies."""
    await ask(mugs, "ada", "bob", "cleo", "dan", "eve")
    await stock(mugs, 0, discontinued=True)
    wave = await next_wave(mugs, line)
    assert isinstance(wave.fact, ProductWithdrawn)
    assert len(wave.workflow_ids) == 5
    await told(mugs, line, wave)
    assert {row.outcome for row in await mugs.rows(runs)} == {Outcome.WITHDRAWN}
    assert (await next_wave(mugs, line)).waiting == 0


@pytest.mark.parametrize(("told_of", "meanwhile", "outcomes"), [
    ("stock", {"withdrawn": True}, {Outcome.RUNNING}),
    ("withdrawal", {"withdrawn": False}, {Outcome.WITHDRAWN}),
])  # fmt: skip
async def test_a_wave_is_noted_down_as_what_its_runs_were_told(
    mugs: Telling, line: PostgresWaitlist, told_of: str, meanwhile: dict[str, Any], outcomes: set[Outcome]
) -> None:
    """A shop that changes its mind while a wave is told: a run goes by what it has heard, and so does its row."""
    await ask(mugs, "ada", "bob")
    await stock(mugs, 2, discontinued=told_of == "withdrawal")
    wave = await next_wave(mugs, line)
    await mugs.write(update(products).values(**meanwhile))
    await told(mugs, line, wave)

    assert {row.outcome for row in await mugs.rows(runs)} == outcomes


async def test_a_buyer_leaves_the_line_also_between_choosing_and_telling(mugs: Telling, line: PostgresWaitlist) -> None:
    """Who has bought the product in the meantime is not told that it can be bought."""
    await ask(mugs, "ada", "bob")
    await stock(mugs, 2)
    assert len((await next_wave(mugs, line)).workflow_ids) == 2
    order = mugs.event("Order Completed", NOW, Who(user_id="ada"), order_id="o-1", products=[{"product_id": "cup"}])
    await mugs.apply([order], now=NOW)
    wave = await next_wave(mugs, line)
    assert len(wave.workflow_ids) == 1
    left = {row.customer_id: row.left_at for row in await mugs.rows(waitlist)}
    assert left[await mugs.customer("ada")] == NOW


async def test_a_request_that_arrives_after_the_purchase_it_preceded_waits_for_nothing(
    mugs: Telling, line: PostgresWaitlist
) -> None:
    """G2: nobody is told that the product is back who has bought it already; no run is begun either."""
    order = mugs.event("Order Completed", NOW, order_id="o-1", products=[{"product_id": "cup"}])
    request = mugs.event("Back In Stock Requested", NOW - MINUTE, product_id="cup")
    await mugs.apply([order, request], now=NOW)
    await stock(mugs, 5)
    assert (await next_wave(mugs, line)).waiting == 0
    assert "back-in-stock" not in {row.journey for row in await mugs.rows(runs)}


async def test_any_stock_and_ratio_make_a_wave(mugs: Telling, line: PostgresWaitlist) -> None:
    """A ratio below one still tells somebody, and a warehouse of billions is no overflow."""
    await ask(mugs, "ada", "bob")
    await stock(mugs, 1)
    assert len((await next_wave(mugs, line, ratio=0.01)).workflow_ids) == 1
    await mugs.write(update(waitlist).values(chosen_at=None))
    await mugs.write(update(products).values(stock=2**62))
    assert len((await next_wave(mugs, line, ratio=1000.0)).workflow_ids) == 2
