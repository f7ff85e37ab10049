"""Pauses of a store's journeys: a row that the claim reads (truth.py), and nothing that any run has to be told of."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, exists, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import audit, plans
from adapters.postgres.tables import messages, pauses, products, runs, waitlist
from adapters.postgres.tenancy import as_store
from domain.commands import ReleaseStock
from domain.delivery import Result
from domain.errors import NotFound, OperationRefused
from domain.operations import OnResume, Operator, Pause
from domain.plans import PLANS, BackInStockPlan, validated
from domain.rollouts import ResumeOrder, Target
from domain.snapshot import PinnedPlan
from domain.values import Value


async def begin(engine: AsyncEngine, store_id: str, journey: str, by: Operator, now: datetime) -> None:
    """Pause a journey: from this commit on nothing of it is claimed.

    Raises:
        OperationRefused: It is paused already.
    """
    pause_id = uuid4()
    row = {"store_id": store_id, "pause_id": pause_id, "journey": journey, "since": now}
    try:
        async with as_store(engine, store_id) as connection:
            await connection.execute(insert(pauses).values(row))
            await audit.write(
                connection, store_id, f"pause:{pause_id}", by=by, action="pause", subject=f"journey:{journey}",
                detail={}, at=now,
            )  # fmt: skip
    except IntegrityError as problem:
        raise OperationRefused(f"{journey} of {store_id} is paused already") from problem


async def order_to_resume(
    engine: AsyncEngine, store_id: str, journey: str, policy: OnResume, over: timedelta, by: Operator
) -> ResumeOrder:
    """Prepare the end of a pause; a rollout carries it out.

    Raises:
        OperationRefused: The journey is not paused.
    """
    query = select(pauses.c.pause_id).where(_open(store_id, journey))
    async with as_store(engine, store_id) as connection:
        pause_id = await connection.scalar(query)
    if pause_id is None:
        raise OperationRefused(f"{journey} of {store_id} is not paused")
    return ResumeOrder(store_id=store_id, journey=journey, pause_id=pause_id, policy=policy, over=over, by=by)


async def open_since(connection: AsyncConnection, store_id: str, journey: str) -> datetime | None:
    """Return since when a journey is paused; None if it is not."""
    since: datetime | None = await connection.scalar(select(pauses.c.since).where(_open(store_id, journey)))
    return since


async def of_journey(connection: AsyncConnection, store_id: str, journey: str) -> tuple[Pause, ...]:
    """Return all pauses of a journey, oldest first."""
    query = select(pauses).where(pauses.c.store_id == store_id, pauses.c.journey == journey).order_by(pauses.c.since)
    return tuple(
        Pause(since=row.since, until=row.until, policy=OnResume(row.policy), over=timedelta(seconds=row.over_s))
        for row in (await connection.execute(query)).all()
    )


class Standing(Value):
    """How a journey of a store stands.

    Attributes:
        runs: Runs under way.
        held_up: Of those, how many have asked to send while it was paused.
    """

    journey: str
    enabled: bool
    plan_version: int
    runs: int
    held_up: int
    paused_since: datetime | None


async def standing(engine: AsyncEngine, store_id: str) -> list[Standing]:
    """Say how each journey of a store stands."""
    under_way = and_(runs.c.store_id == store_id, runs.c.ended_at.is_(None))
    count = select(runs.c.journey, func.count(), func.count().filter(_asked_in_vain())).where(under_way)
    paused = select(pauses.c.journey, pauses.c.since).where(pauses.c.store_id == store_id, pauses.c.until.is_(None))
    async with as_store(engine, store_id) as connection:
        known = await plans.current(connection, store_id)
        counts = {row[0]: row[1:] for row in (await connection.execute(count.group_by(runs.c.journey))).all()}
        since = {row.journey: row.since for row in (await connection.execute(paused)).all()}
    defaults = {name: PinnedPlan(journey=name, plan=validated(name, {})) for name in PLANS}
    return [
        Standing(
            journey=name, enabled=one.plan.enabled, plan_version=one.version, runs=counts.get(name, (0, 0))[0],
            held_up=counts.get(name, (0, 0))[1], paused_since=since.get(name),
        )
        for name, one in (defaults | dict(sorted(known.items()))).items()
    ]  # fmt: skip


async def must_exist(engine: AsyncEngine, store_id: str, journey: str) -> None:
    """Make sure that a store has a journey.

    Raises:
        NotFound: It has not.
    """
    async with as_store(engine, store_id) as connection:
        names = [*PLANS, *sorted((await plans.current(connection, store_id)).keys() - PLANS.keys())]
    if journey not in names:
        raise NotFound(f"there is no journey {journey!r}; there are {', '.join(names)}")


async def held_up_count(engine: AsyncEngine, order: ResumeOrder) -> int:
    """Count the runs that wait for the end of a pause."""
    query = select(func.count()).select_from(runs).where(_held_up(order))
    async with as_store(engine, order.store_id) as connection:
        return await connection.scalar(query) or 0


def prolonged(now: datetime) -> ColumnElement[timedelta]:
    """Say, in a query of `runs`, by how much the pauses of its journey prolong a run's life: nobody is dropped."""
    until = func.coalesce(pauses.c.until, now)
    length = until - pauses.c.since + func.make_interval(0, 0, 0, 0, 0, 0, pauses.c.over_s)
    mine = and_(pauses.c.store_id == runs.c.store_id, pauses.c.journey == runs.c.journey, until > runs.c.begun_at)
    total: ColumnElement[Any] = func.sum(length)
    return func.coalesce(select(total).where(mine).correlate(runs).scalar_subquery(), timedelta(0))


class PostgresPauses:
    """Implements `domain.ports.Pauses`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def end(self, order: ResumeOrder, now: datetime) -> None:
        mine = and_(pauses.c.store_id == order.store_id, pauses.c.pause_id == order.pause_id, pauses.c.until.is_(None))
        values = {
            "until": func.greatest(literal(now), pauses.c.since),
            "policy": order.policy,
            "over_s": _seconds(order.over),
        }
        # This waits for the claims under way, which hold a share of the row: whoever read that the journey is
        # paused has written so before we look for whom to wake.
        async with as_store(self._engine, order.store_id) as connection:
            ended = await connection.execute(update(pauses).where(mine).values(values).returning(pauses.c.pause_id))
            if ended.first() is not None:
                await audit.write(
                    connection, order.store_id, f"resume:{order.pause_id}", by=order.by, action="resume",
                    subject=f"journey:{order.journey}", at=now,
                    detail={"policy": order.policy.value, "over_s": _seconds(order.over)},
                )  # fmt: skip

    async def held_up(self, order: ResumeOrder, after: UUID | None, limit: int) -> Sequence[Target]:
        query = (
            select(runs.c.run_id, runs.c.workflow_id)
            .where(_held_up(order), runs.c.run_id > (after or UUID(int=0)))
            .order_by(runs.c.run_id)
            .limit(limit)
        )
        async with as_store(self._engine, order.store_id) as connection:
            return [Target.model_validate(row, from_attributes=True) for row in (await connection.execute(query)).all()]

    async def waves(self, order: ResumeOrder) -> Sequence[ReleaseStock]:
        async with as_store(self._engine, order.store_id) as connection:
            current = (await plans.current(connection, order.store_id)).get(order.journey)
            plan = BackInStockPlan() if current is None else current.plan
            if order.journey != "back-in-stock" or not isinstance(plan, BackInStockPlan):
                return []
            waiting = exists().where(
                waitlist.c.store_id == products.c.store_id, waitlist.c.product_id == products.c.product_id,
                waitlist.c.told_at.is_(None), waitlist.c.left_at.is_(None),
            )  # fmt: skip
            query = select(products.c.product_id).where(products.c.store_id == order.store_id, waiting)
            found = (await connection.execute(query.where((products.c.stock > 0) | products.c.withdrawn))).scalars()
            interval, ratio = plan.wave_interval, plan.wave_ratio
            return [ReleaseStock(product_id=one, wave_interval=interval, wave_ratio=ratio) for one in found]


def _open(store_id: str, journey: str) -> ColumnElement[bool]:
    return and_(pauses.c.store_id == store_id, pauses.c.journey == journey, pauses.c.until.is_(None))


def _held_up(order: ResumeOrder) -> ColumnElement[bool]:
    mine = and_(runs.c.store_id == order.store_id, runs.c.journey == order.journey, runs.c.ended_at.is_(None))
    return and_(mine, _asked_in_vain())


def _asked_in_vain() -> ColumnElement[bool]:
    return exists().where(
        messages.c.store_id == runs.c.store_id, messages.c.run_id == runs.c.run_id, messages.c.state == Result.PAUSED
    )


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
