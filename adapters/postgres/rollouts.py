"""Rollouts of a plan: which runs under way have an older one, and what they take over."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Row, and_, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import runs as run_rows
from adapters.postgres.progress import PlansOfRuns, Progress
from adapters.postgres.tables import events, messages, pauses, runs
from adapters.postgres.tenancy import as_store
from domain.operations import OnResume
from domain.plans import validated
from domain.rollouts import Answer, Order, ReplanOrder, Target
from domain.runs import Outcome


class PostgresReplans:
    """Implements `domain.ports.Replans`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def behind(self, order: ReplanOrder, after: UUID | None, limit: int) -> Sequence[Target]:
        query = (
            select(runs.c.run_id, runs.c.workflow_id)
            .where(_behind(order), runs.c.run_id > (after or UUID(int=0)))
            .order_by(runs.c.run_id)
            .limit(limit)
        )
        async with as_store(self._engine, order.store_id) as connection:
            return [Target.model_validate(row, from_attributes=True) for row in (await connection.execute(query)).all()]

    async def settle(self, order: ReplanOrder, run: Target, answer: Answer, now: datetime) -> Answer:
        mine = and_(runs.c.store_id == order.store_id, runs.c.run_id == run.run_id)
        async with as_store(self._engine, order.store_id) as connection:
            row = (await connection.execute(select(runs).where(mine).with_for_update())).one()
            if row.ended_at is not None:
                return Answer(result="ended")
            if answer.result == "ended":
                if await _not_begun(connection, row):
                    return Answer(result="later", because="it has not begun yet")
                await run_rows.end(
                    connection, order.store_id, run.run_id, Outcome.TERMINATED, "Temporal says it is over", now
                )
            if answer.result != "done":
                return answer
            return await _take_over(connection, order, row, now)


async def _not_begun(connection: AsyncConnection, run: Row[Any]) -> bool:
    """Tell whether the router has decided on a run and not yet begun it."""
    query = select(events.c.id).where(
        events.c.store_id == run.store_id, events.c.id == run.trigger_event, events.c.state != "routed"
    )
    return (await connection.execute(query)).first() is not None


async def _take_over(connection: AsyncConnection, order: ReplanOrder, run: Row[Any], now: datetime) -> Answer:
    """Write down the plan that the run has now; one for which nothing is left to do is over."""
    plan, own = validated(order.journey, order.plan), None
    if order.mode == "retime":
        had = PlansOfRuns(connection, order.store_id, order.journey)
        plan = (await had.of(run)).retimed(plan)
        own = plan.model_dump(mode="json")
    query = select(messages).where(messages.c.store_id == run.store_id, messages.c.run_id == run.run_id)
    progress = Progress(plan, (await connection.execute(query)).mappings().all())
    if progress.over and progress.sending:
        return Answer(result="later", because="its last message is being sent")
    mine = update(runs).where(runs.c.store_id == run.store_id, runs.c.run_id == run.run_id)
    ends = {"exits": list(plan.ending_events), "expires_at": run.begun_at + plan.longest}
    await connection.execute(mine.values(plan_version=order.version, plan=own, **ends))
    if progress.over:
        await run_rows.end(connection, run.store_id, run.run_id, Outcome.COMPLETED, "no step is left", now)
    return Answer(result="done")


def _under_way(store_id: str, journey: str) -> ColumnElement[bool]:
    return and_(runs.c.store_id == store_id, runs.c.journey == journey, runs.c.ended_at.is_(None))


async def left(engine: AsyncEngine, order: Order) -> int:
    """Count the runs that a rollout has not reached."""
    if not isinstance(order, ReplanOrder):
        return 0
    query = select(func.count()).select_from(runs)
    async with as_store(engine, order.store_id) as connection:
        return await connection.scalar(query.where(_behind(order))) or 0


async def spread_what_is_due(engine: AsyncEngine, store_id: str, journey: str, over: timedelta, now: datetime) -> None:
    """Spread whatever is due by now over some time: a pause of no length."""
    row = {"store_id": store_id, "pause_id": uuid4(), "journey": journey, "since": now, "until": now}
    async with as_store(engine, store_id) as connection:
        spread = row | {"policy": OnResume.SPREAD, "over_s": int(over.total_seconds())}
        await connection.execute(insert(pauses).values(spread))


def _behind(order: ReplanOrder) -> ColumnElement[bool]:
    return and_(_under_way(order.store_id, order.journey), runs.c.plan_version < order.version)
