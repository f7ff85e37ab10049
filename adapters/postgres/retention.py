"""Retention in the database: what may go, by the rules of docs/retention.md, in batches that hold locks for moments.

What outlives its period is what a rule still asks for: the newest run of each journey (whether a customer has ever
entered it), whatever belongs to a run that is not over, the look that a price alert compares with, and the dedup keys
of such alerts. Consent, suppressions, tombstones and plans are evidence or rules, and never go.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, and_, case, delete, exists, false, func, not_, or_, select, text, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import audit, dedup, partitions, pauses, retention_policies
from adapters.postgres.partitions import monday_of
from adapters.postgres.tables import OPEN, decisions, events, happenings, messages, runs, views, watchlist
from adapters.postgres.tables import audit as audit_log
from adapters.postgres.tenancy import across_stores, as_store, every_store
from domain import ids
from domain.errors import Unavailable
from domain.operations import Operator
from domain.retention import Kind, Report, Terms, Week

_AT_ONCE = 2_000
_settled_at = func.greatest(
    messages.c.claimed_at, messages.c.sending_at, messages.c.resent_at, messages.c.settled_at
)  # fmt: skip


class PostgresRetention:
    """Implements `domain.ports.Retention`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def stores(self) -> Sequence[str]:
        async with _in_time():
            return await every_store(self._engine)

    async def terms(self, store_id: str) -> Terms:
        async with _in_time(), as_store(self._engine, store_id) as connection:
            return await retention_policies.terms(connection, store_id)

    async def missing_weeks(self, now: datetime) -> Sequence[datetime]:
        async with _in_time(), across_stores(self._engine) as connection:
            return await partitions.missing(connection, now)

    async def make_week(self, monday: datetime) -> str:
        async with _in_time(), self._engine.begin() as connection:
            return await partitions.make(connection, monday)

    async def weeks_before(self, moment: datetime) -> Sequence[Week]:
        bound = ids.first_made_at(moment)
        async with _in_time(), across_stores(self._engine) as connection:
            return [week for week in await partitions.existing(connection) if week.until <= bound]

    async def unfinished(self, week: Week) -> bool:
        left = select(events.c.id).where(_in(week))
        async with _in_time(), across_stores(self._engine) as connection:
            is_open, is_parked = (select(exists(left.where(state))) for state in (OPEN, text("state = 'parked'")))
            return bool(await connection.scalar(is_open)) or bool(await connection.scalar(is_parked))

    async def forget_keys(self, week: Week, after: UUID | None) -> UUID | None:
        async with _in_time(), across_stores(self._engine) as connection:
            page = await dedup.page(connection, week, after or UUID(int=0), _AT_ONCE)
        by_store = sorted((known for known in page if not known.remembered), key=lambda known: known.store_id)
        for store_id, keys in groupby(by_store, key=lambda known: known.store_id):
            async with _in_time(), as_store(self._engine, store_id) as connection:
                await dedup.forget(connection, store_id, list(keys))
        return page[-1].event_id if page else None

    async def drop(self, week: Week) -> bool:
        async with _in_time(), self._engine.begin() as connection:
            return await partitions.drop(connection, week.name)

    async def forget(self, store_id: str, kind: Kind, terms: Terms, now: datetime) -> int:
        if (condition := _doomed(store_id, kind, terms, now)) is None:
            return 0
        table = _TABLES[kind]
        async with _in_time(), as_store(self._engine, store_id) as connection:
            key = tuple_(*table.primary_key.columns)
            some = select(*table.primary_key.columns).where(condition).limit(_AT_ONCE)
            if table is events:
                chosen = events.c.id.in_(select(some.subquery().c.id))
                return await dedup.delete_events(connection, store_id, chosen, remember_prices=True)
            if table is audit_log:  # which only grows, but for whoever says this
                await connection.execute(text("set local journeys.retention = 'on'"))
            return (await connection.execute(delete(table).where(key.in_(some)))).rowcount

    async def count(self, store_id: str, kind: Kind, terms: Terms, now: datetime, without: Sequence[Week]) -> int:
        if (condition := _doomed(store_id, kind, terms, now)) is None:
            return 0
        if kind is Kind.EVENTS:
            condition = and_(condition, not_(or_(false(), *(_in(week) for week in without))))
        async with _in_time(), as_store(self._engine, store_id) as connection:
            return await connection.scalar(select(func.count()).select_from(_TABLES[kind]).where(condition)) or 0

    async def write_down(self, report: Report, stores: Sequence[str], key: str, by: Operator, now: datetime) -> None:
        weeks = {"dropped": list(report.dropped), "kept": dict(report.kept)}
        for store_id in stores:
            rows = dict(report.rows.get(store_id, {}))
            if rows or report.dropped:
                async with _in_time(), as_store(self._engine, store_id) as connection:
                    await audit.write(
                        connection, store_id, f"retention:{key}:{store_id}", by=by, action="retention",
                        subject=f"store:{store_id}", detail={"rows": rows, **weeks}, at=now,
                    )  # fmt: skip


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Say that something cannot be done now; a lock that could not be had is one of the things that may pass."""
    try:
        yield
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable("the database does not do it now") from problem


_TABLES: dict[Kind, Table] = {
    Kind.EVENTS: events,
    Kind.VIEWS: views,
    Kind.HAPPENINGS: happenings,
    Kind.DECISIONS: decisions,
    Kind.MESSAGES: messages,
    Kind.RUNS: runs,
    Kind.AUDIT: audit_log,
}


def _in(week: Week) -> ColumnElement[bool]:
    return and_(events.c.id >= week.since, events.c.id < week.until)


def _doomed(store_id: str, kind: Kind, terms: Terms, now: datetime) -> ColumnElement[bool] | None:
    """Say which rows of a store may go; None: none of this kind ever."""
    before = terms.before(kind, now)
    if before is None:
        return None
    old = _old(kind, terms, before, now)
    return and_(_TABLES[kind].c.store_id == store_id, old)


def _old(kind: Kind, terms: Terms, before: datetime, now: datetime) -> ColumnElement[bool]:
    match kind:
        case Kind.EVENTS:
            old = and_(events.c.id < ids.first_made_at(monday_of(before)), events.c.state == "routed")
        case Kind.VIEWS:
            old = and_(views.c.at < before, not_(_compared_with()))
        case Kind.HAPPENINGS:
            arrived = happenings.c.event_id < ids.first_made_at(before)
            old = and_(arrived, _no_longer_counted(terms, before, now))
        case Kind.DECISIONS:
            old = and_(decisions.c.decided_at < before, not_(_of_a_run(decisions, not_(_over(now, now)))))
        case Kind.MESSAGES:
            aged = and_(messages.c.claimed_at < before, _settled_at < before)
            old = and_(aged, not_(_of_a_run(messages, not_(_over(before, now)))))
        case Kind.RUNS:
            old = and_(_over(before, now), _entered_again(), not_(_wrote_since(before)))
        case Kind.AUDIT:
            # Who erased whom is the one thing that the erased cannot be asked about.
            old = and_(audit_log.c.at < before, audit_log.c.action != "erase")
    return old


def _over(before: datetime, now: datetime) -> ColumnElement[bool]:
    """Ask whether a run has been over since: ended, and past the time for which its workflow may still ask.

    Without its row the gate would not know that a run has ended. A command that is still owed may begin it again.
    """
    life = runs.c.expires_at + pauses.prolonged(now)
    owed = exists().where(
        events.c.store_id == runs.c.store_id, events.c.id == runs.c.trigger_event, events.c.state != "routed"
    )
    ended = or_(runs.c.ended_at < before, runs.c.ended_at.is_(None))
    return and_(ended, func.greatest(runs.c.ended_at, life) < before, not_(owed))


def _of_a_run(table: Table, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Ask whether a row belongs to a run of which something is true; a run that is kept no more is over."""
    return exists().where(runs.c.store_id == table.c.store_id, runs.c.run_id == table.c.run_id, condition)


def _entered_again() -> ColumnElement[bool]:
    """Ask whether a run is not the customer's newest of its journey: that one says whether they ever entered."""
    other = runs.alias()
    newer = tuple_(other.c.since, other.c.run_id) > tuple_(runs.c.since, runs.c.run_id)
    same: Any = and_(other.c.customer_id == runs.c.customer_id, other.c.journey == runs.c.journey)
    return exists().where(other.c.store_id == runs.c.store_id, same, newer)


def _wrote_since(before: datetime) -> ColumnElement[bool]:
    mine = and_(messages.c.store_id == runs.c.store_id, messages.c.run_id == runs.c.run_id)
    return exists().where(mine, _settled_at >= before)


def _compared_with() -> ColumnElement[bool]:
    """Ask whether a look may be the one that a price alert compares with."""
    watched = and_(watchlist.c.customer_id == views.c.customer_id, watchlist.c.product_id == views.c.product_id)
    return exists().where(
        watchlist.c.store_id == views.c.store_id, watched, watchlist.c.active, watchlist.c.notify_on_price_drop
    )


def _no_longer_counted(terms: Terms, before: datetime, now: datetime) -> ColumnElement[bool]:
    """Ask whether no follow-up looks back on a happening any more."""
    uncounted = [
        (
            happenings.c.name == name,
            false() if need.period is None else happenings.c.at < min(now - need.period, before),
        )
        for name, need in terms.needed.happenings.items()
    ]
    rest = happenings.c.at < before
    return case(*uncounted, else_=rest) if uncounted else rest
