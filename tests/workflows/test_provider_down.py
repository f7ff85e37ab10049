"""A provider that stays down, or an attempt that is interrupted: nothing is left open behind it."""

import asyncio
from datetime import datetime, timedelta

import pytest
from temporalio.common import RetryPolicy

from adapters.postgres.ledger import PostgresLedger
from domain.delivery import Slot
from domain.errors import ChannelUnavailable, Unavailable
from domain.message import Letter
from domain.ports import Claim
from rehearsal.histories import commands
from testing import TimeSkippingShop
from workflows import sending


async def test_what_cannot_be_handed_over_within_a_day_is_settled(
    shop: TimeSkippingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requirements/3, error handling: the message is `failed`, and the journey goes on with its next step."""

    async def down(_letter: Letter) -> None:
        raise ChannelUnavailable

    await shop.plan("cart-recovery", steps=[{"name": "only", "template": "cart-reminder"}])
    await shop.subscriber()
    monkeypatch.setattr(shop.outbox, "send", down)
    await shop.track("Product Added", product_id="mug", price=12.5, quantity=1, currency="EUR")
    await shop.skip(hours=26)
    outcome = await shop.settled("cart-recovery")
    (run,) = await shop.runs("cart-recovery")

    assert outcome == "COMPLETED"
    assert await shop.said() == [("only", "failed")]
    assert run.outcome == "completed"


async def test_a_provider_that_is_down_is_asked_at_once_and_again_at_the_documented_times(
    shop: TimeSkippingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1, 2, 4, 8, 16, 32 s, then slower, for 24 hours (requirements/3), as Temporal is told."""
    asked = 0

    async def away_twice(_letter: Letter) -> None:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise ChannelUnavailable

    await shop.plan("cart-recovery", steps=[{"name": "only", "template": "cart-reminder"}])
    await shop.only("cart-recovery")
    await shop.subscriber()
    monkeypatch.setattr(shop.outbox, "send", away_twice)
    await shop.track("Product Added", product_id="mug", price=12.5, quantity=1, currency="EUR")
    await shop.skip(hours=2)
    assert await shop.settled("cart-recovery") == "COMPLETED"
    history = await shop.history("cart-recovery")
    (queued,) = [e.activity_task_scheduled_event_attributes for e in history.events if e.event_type == 10]
    policy = queued.retry_policy
    first = policy.initial_interval.ToTimedelta()
    waits = [first * policy.backoff_coefficient**n for n in range(6)]

    assert await shop.said() == [("only", "sent")]
    assert [line for line in commands(history) if "deliver" in line] == [
        f"{kind:34}# only: cart-reminder by e-mail" for kind in ("local activity deliver", "activity deliver")
    ]
    assert asked == 3
    assert [wait.total_seconds() for wait in waits] == [1, 2, 4, 8, 16, 32]
    assert policy.maximum_interval.ToTimedelta() == timedelta(minutes=15)
    assert policy.maximum_attempts == 0
    assert queued.schedule_to_close_timeout.ToTimedelta() == timedelta(hours=24)


async def test_a_message_that_was_interrupted_is_settled_though_its_run_ends_before_the_next_attempt(
    shop: TimeSkippingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks again after the purchase, so the end of the run has to settle what nobody can know (G3)."""
    interrupted = asyncio.Event()

    async def dies(_letter: Letter) -> None:
        interrupted.set()
        raise RuntimeError("as a worker that dies while the provider has the message")

    async def away(_self: PostgresLedger, _slot: Slot, _now: datetime) -> Claim:
        raise Unavailable("the database is away")

    # The server forgets to cancel an attempt that is under way: the next must not begin before the run has ended.
    monkeypatch.setattr(sending, "_RETRY", RetryPolicy(initial_interval=timedelta(hours=1)))
    await shop.plan("cart-recovery", steps=[{"name": "only", "template": "cart-reminder"}])
    await shop.only("cart-recovery")
    await shop.subscriber()
    monkeypatch.setattr(shop.outbox, "send", dies)
    await shop.track("Product Added", product_id="mug", price=12.5, quantity=1, currency="EUR")
    # No further: while time is skipped one attempt follows the other, and the server forgets to cancel one under way.
    await shop.skip(hours=1)
    await asyncio.wait_for(interrupted.wait(), 60)
    monkeypatch.setattr(PostgresLedger, "claim", away)
    await shop.track("Order Completed", order_id="o-1", total=12.5, products=[{"product_id": "mug"}])

    assert await shop.settled("cart-recovery") == "COMPLETED"
    assert [run.outcome for run in await shop.runs("cart-recovery")] == ["converted"]
    assert await shop.said() == [("only", "unknown")]


async def test_an_exit_does_not_wait_for_a_mail_server_that_hangs(
    shop: TimeSkippingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt is part of the run's own task, and yet the purchase is heard and ends it (ADR 0041)."""
    reached = asyncio.Event()

    async def hangs(_letter: Letter) -> None:
        reached.set()
        await asyncio.Event().wait()

    await shop.plan("cart-recovery", quiet="PT0S", steps=[{"name": "only", "template": "cart-reminder"}])
    await shop.only("cart-recovery")
    await shop.subscriber()
    monkeypatch.setattr(shop.outbox, "send", hangs)
    await shop.track("Product Added", product_id="mug", price=12.5, quantity=1, currency="EUR")
    await asyncio.wait_for(reached.wait(), 60)
    await shop.track("Order Completed", order_id="o-1", total=12.5, products=[{"product_id": "mug"}])

    assert await shop.settled("cart-recovery") == "COMPLETED"
    assert [run.outcome for run in await shop.runs("cart-recovery")] == ["converted"]
    assert await shop.said() == [("only", "unknown")]
