"""The agenda decides what comes first, at every tie; no server is needed to see it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from cli.backtest.agenda import Agenda
from domain.commands import NewRun, StartRun
from domain.delivery import Delivery, Result, Slot
from domain.errors import JourneysError
from domain.plans import Plan, validated

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOUR, INSTANT = timedelta(hours=1), timedelta.resolution
ADA, BOB = 1, 2


def opened(journey: str, plan: Plan, *calls: tuple[datetime, int], end: datetime) -> tuple[Agenda, Slot]:
    """An agenda on which Ada's run has begun at noon, and the slot of its first step."""
    agenda = Agenda(calls, end, {journey: plan})
    run = NewRun(
        run_id=uuid4(), workflow_id="w", workflow=journey, journey=journey, customer_id=uuid4(), since=NOON,
        plan_version=1, trigger_event=uuid4(), began_by="", delay=plan.before_first, expires_at=NOON + 99 * HOUR,
        entry={"begun_at": NOON.isoformat()}, summary="", details="",
    )  # fmt: skip
    agenda.heard(StartRun(run=run), ADA, NOON)
    return agenda, _slot(run.run_id, journey, plan, NOON + plan.before_first)


def _slot(run_id: UUID, journey: str, plan: Plan, due: datetime) -> Slot:
    return Slot(
        store_id="s", customer_id=uuid4(), run_id=run_id, journey=journey, step=plan.steps[0], gap=plan.gap, due=due,
        waited_from=NOON,
    )  # fmt: skip


CART = validated("cart-recovery", {"quiet": "PT1H"})
SILENT = validated("win-back", {"silence": "PT1H"})


@pytest.mark.parametrize(("journey", "plan", "tie"), [("cart-recovery", CART, False), ("win-back", SILENT, True)])
async def test_a_call_waits_for_the_steps_that_are_due_before_it(journey: str, plan: Plan, tie: bool) -> None:
    """At exactly W the cart's timer has fired first; a silence of exactly N is not longer than N."""
    agenda, slot = opened(journey, plan, end=NOON + 9 * HOUR)
    due = NOON + HOUR

    assert [agenda.free(ADA, at) for at in (due - INSTANT, due, due + INSTANT)] == [True, tie, False]
    assert agenda.free(BOB, due + INSTANT)
    await agenda.settled(slot, Delivery(result=Result.DEFERRED, until=due + HOUR))
    assert [agenda.free(ADA, at) for at in (due + INSTANT, due + HOUR + INSTANT)] == [True, False]
    await agenda.settled(slot, Delivery(result=Result.EXITED))
    assert agenda.free(ADA, due + 9 * HOUR)


@pytest.mark.parametrize(
    ("journey", "plan", "after", "waits"),
    [
        ("cart-recovery", CART, HOUR - INSTANT, True),
        ("cart-recovery", CART, HOUR, False),
        ("win-back", SILENT, HOUR, True),
        ("win-back", SILENT, HOUR + INSTANT, False),
    ],
)
async def test_a_step_that_is_woken_early_waits_for_the_calls_before_it(
    journey: str, plan: Plan, after: timedelta, waits: bool
) -> None:
    """Its own customer's, not anybody else's."""
    calls = [(NOON, BOB), (NOON + after, ADA)]
    agenda, slot = opened(journey, plan, *calls, end=NOON + 9 * HOUR)
    turn = asyncio.create_task(agenda.turn(slot))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert (turn.done(), agenda.waiting[ADA]) == (not waits, int(waits))
    await agenda.played([ADA])
    await asyncio.wait_for(turn, 5)


@pytest.mark.parametrize(("journey", "plan", "fires"), [("cart-recovery", CART, True), ("win-back", SILENT, False)])
async def test_a_step_that_is_due_with_the_very_end_of_the_data(journey: str, plan: Plan, fires: bool) -> None:
    """At or before the end for a cart; silent for longer than that for win-back."""
    agenda, slot = opened(journey, plan, end=NOON + HOUR)
    turn = asyncio.create_task(agenda.turn(slot))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert (agenda.over(), turn.done()) == (not fires, fires)
    turn.cancel()


async def test_a_step_of_a_run_that_has_ended_does_not_wait() -> None:
    """The gate says that it has ended; keeping it would keep the clock."""
    agenda, slot = opened("win-back", SILENT, (NOON + HOUR / 2, ADA), end=NOON + 9 * HOUR)
    await agenda.settled(slot, Delivery(result=Result.EXITED))
    await asyncio.wait_for(agenda.turn(slot), 5)

    assert agenda.over()


@pytest.mark.parametrize(("journey", "plan", "tie"), [("cart-recovery", CART, False), ("win-back", SILENT, True)])
async def test_a_step_that_is_due_right_behind_a_call_is_told(journey: str, plan: Plan, tie: bool) -> None:
    """Nobody has to be woken for it yet. A cart's step at the very instant is settled before the call."""
    agenda, _ = opened(journey, plan, end=NOON + 9 * HOUR)
    due, second = NOON + HOUR, timedelta(seconds=1)

    assert agenda.close_behind(ADA, due, second) == tie
    assert agenda.close_behind(ADA, due - second, second)
    assert not agenda.close_behind(ADA, due - second - INSTANT, second)
    assert not agenda.close_behind(ADA, due + INSTANT, second)
    assert not agenda.close_behind(BOB, due, second)


async def test_a_run_is_busy_until_its_step_waits_in_the_queue() -> None:
    """What happens next reaches it when the attempt has been taken up, and can be cancelled."""
    agenda, slot = opened("cart-recovery", CART, (NOON + HOUR / 2, ADA), end=NOON + 9 * HOUR)
    agenda.queued(slot)
    assert agenda.busy("w")
    assert not agenda.busy("another")

    turn = asyncio.create_task(agenda.turn(slot))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not agenda.busy("w")
    turn.cancel()


def test_a_broken_journey_stops_the_backtest_and_says_why() -> None:
    """Instead of waiting for what will never come."""
    agenda, _ = opened("cart-recovery", CART, end=NOON)
    agenda.fail("reminder-1: KeyError: 'x'")

    with pytest.raises(JourneysError, match="reminder-1: KeyError"):
        agenda.check()
