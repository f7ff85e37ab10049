"""How a backtest's delivery takes its turn: local attempts go to the queue, and queued ones end with their run."""

import asyncio
import dataclasses
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from adapters.postgres.ledger import PostgresLedger
from cli.backtest.stage import Delivering
from domain.delivery import Delivery, Result
from domain.ports import Claim
from tests.backtest.test_backtest_agenda import ADA, CART, HOUR, NOON, opened

END = NOON + timedelta(days=1)


async def test_a_local_attempt_before_its_turn_goes_to_the_queue_and_is_not_billed(engine: AsyncEngine) -> None:
    """It would keep its run's task, and so the clock; in production there would have been no second attempt."""
    agenda, slot = opened("cart-recovery", CART, (NOON + HOUR / 2, ADA), end=END)
    actions = Counter(activities=1)
    env = ActivityEnvironment()
    env.info = dataclasses.replace(env.info, is_local=True)

    with pytest.raises(ApplicationError, match="queue") as refused:
        await env.run(Delivering(engine, agenda, actions).deliver, slot)
    assert not refused.value.non_retryable
    assert actions["activities"] == 0
    assert agenda.busy("w")


async def test_a_queued_attempt_of_a_run_that_ends_waits_to_be_cancelled_and_settles_all_the_same(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's clock stands if an answer and a cancellation cross."""
    agenda, slot = opened("cart-recovery", CART, (NOON + HOUR / 2, ADA), end=END)
    asked = asyncio.Event()

    async def claim(*_: object) -> Claim:
        asked.set()
        return Claim(delivery=Delivery(result=Result.EXITED))

    monkeypatch.setattr(PostgresLedger, "claim", claim)
    beats = asyncio.Queue[None]()
    env = ActivityEnvironment()
    env.on_heartbeat = lambda *_: beats.put_nowait(None)
    attempt = asyncio.ensure_future(env.run(Delivering(engine, agenda, Counter()).deliver, slot))
    async with asyncio.timeout(30):
        while not agenda.waiting[ADA]:
            agenda.changed.clear()
            await agenda.changed.wait()
        agenda.ended("w")
        await agenda.played([ADA])
        await beats.get()
        assert not asked.is_set()
        env.cancel()
        assert (await attempt).result is Result.EXITED
