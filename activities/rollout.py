"""Roll a change out to every run of a journey: page by page, many at once, and on from the last page after a crash.

Telling a run twice changes nothing, so only the place in the list has to survive; the heartbeat carries it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeats import progress
from domain.operations import Replan
from domain.ports import Clock, Pauses, Replans, RunsUnderWay
from domain.rollouts import Answer, Order, ReplanOrder, ResumeOrder, Tally, Target

PAGE = 50
"""Runs that are told at once."""

Page = Callable[[UUID | None], Awaitable[Sequence[Target]]]


class RollOut:
    """Tell the runs."""

    def __init__(self, replans: Replans, pauses: Pauses, runs: RunsUnderWay, clock: Clock) -> None:
        self._replans = replans
        self._pauses = pauses
        self._runs = runs
        self._clock = clock

    @activity.defn(name="roll-out")
    async def roll_out(self, order: Order) -> Tally:
        """Go through the runs once.

        Raises:
            ApplicationError: Retryable: the database or Temporal is down.
        """
        with as_application_errors():
            if isinstance(order, ReplanOrder):
                return await self._replan(order)
            return await self._resume(order)

    async def _replan(self, order: ReplanOrder) -> Tally:
        async def tell(run: Target) -> Answer:
            command = Replan(run_id=run.run_id, version=order.version, plan=order.plan, mode=order.mode)
            answer = await self._runs.replan(run.workflow_id, command)
            return await self._replans.settle(order, run, answer, self._clock())

        return await _page_by_page(lambda after: self._replans.behind(order, after, PAGE), tell)

    async def _resume(self, order: ResumeOrder) -> Tally:
        await self._pauses.end(order, self._clock())

        async def tell(run: Target) -> Answer:
            return Answer(result="done" if await self._runs.resumed(run.workflow_id) else "ended")

        tally = await _page_by_page(lambda after: self._pauses.held_up(order, after, PAGE), tell)
        for waves in await self._pauses.waves(order):
            await self._runs.release(order.store_id, waves)
        return tally


async def _page_by_page(page: Page, tell: Callable[[Target], Awaitable[Answer]]) -> Tally:
    before = activity.info().heartbeat_details
    tally = Tally.model_validate(before[0]) if before else Tally()
    while targets := await page(tally.last):
        answers = await asyncio.gather(*(tell(target) for target in targets))
        tally = tally.and_page(targets[-1].run_id, answers)
        progress(tally.model_dump(mode="json"))
    return tally
