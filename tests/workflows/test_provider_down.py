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
