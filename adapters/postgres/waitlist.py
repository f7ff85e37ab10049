"""The waiting list of a product: who asks, who leaves, and waves, first come first served, as far as the stock goes.

A place is open until its customer was told, bought the product, or gave up. A purchase that we hear of late
takes the customer off the list even if a request has followed it: the run that the list speaks for has ended
with the purchase, and silence is the safe side.
"""

from collections.abc import Sequence
from datetime import datetime
from math import floor
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Update, and_, delete, exists, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import pauses
from adapters.postgres import runs as run_rows
from adapters.postgres.statements import built_once, one_of
from adapters.postgres.tables import events, orders, products, runs, waitlist
from adapters.postgres.tenancy import as_store
from domain.errors import Unavailable
from domain.facts import ProductWithdrawn, StockReleased
from domain.ports import Wave
from domain.runs import Outcome

_OPEN = and_(waitlist.c.told_at.is_(None), waitlist.c.left_at.is_(None))


async def ask(connection: AsyncConnection, store_id: str, customer_id: UUID, product_id: str, at: datetime) -> bool:
    """Take a place in the queue.

    Returns:
        Whether the customer waits now: not if the request came late and the product has been bought since.
    """
    bought = await _bought(connection, store_id, customer_id, product_id, at)
    statement = upsert(waitlist).values(
        store_id=store_id, product_id=product_id, customer_id=customer_id, asked_at=at, left_at=bought
    )
    # Asking again after having been told, or having bought, is a new place at the end of the queue.
    over = func.greatest(waitlist.c.told_at, waitlist.c.left_at)
    key = [waitlist.c.store_id, waitlist.c.product_id, waitlist.c.customer_id]
    again = statement.on_conflict_do_update(
        index_elements=key,
        set_={"asked_at": at, "chosen_at": None, "told_at": None, "left_at": None},
        where=and_(over < at, literal(bought is None)),
    )
    await connection.execute(again)
    mine = and_(_about(store_id, product_id), waitlist.c.customer_id == customer_id, _OPEN)
    # Who still waits keeps the place of the first request, though it may be the second that came first.
    first = update(waitlist).where(mine).values(asked_at=func.least(waitlist.c.asked_at, at))
    return (await connection.execute(first.returning(waitlist.c.customer_id))).first() is not None


async def leave(
    connection: AsyncConnection, store_id: str, customer_id: UUID, product_ids: Sequence[str], at: datetime
) -> None:
    """Give up the places of a customer who has bought."""
    change = update(waitlist).where(
        waitlist.c.store_id == store_id,
        waitlist.c.customer_id == customer_id,
        waitlist.c.product_id.in_(product_ids),
        waitlist.c.asked_at <= at,
    )
    await connection.execute(change.values(left_at=func.greatest(waitlist.c.left_at, at)))


async def waiting(connection: AsyncConnection, store_id: str, product_id: str) -> int:
    """Count the customers who wait for a product."""
    query = select(func.count()).select_from(waitlist).where(_about(store_id, product_id), _OPEN)
    return await connection.scalar(query) or 0


async def wait_on(connection: AsyncConnection, store_id: str, customer_id: UUID, product_id: str) -> None:
    """Put a customer who was told too late, of stock that was gone again, back into the old place."""
    place = and_(_about(store_id, product_id), waitlist.c.customer_id == customer_id, waitlist.c.left_at.is_(None))
    await connection.execute(update(waitlist).where(place).values(chosen_at=None, told_at=None))


async def join(connection: AsyncConnection, store_id: str, loser: UUID, winner: UUID) -> None:
    """Make the places of two identities of one person one; call it once their orders are one."""
    both = and_(waitlist.c.store_id == store_id, waitlist.c.customer_id.in_([loser, winner]))
    places: dict[str, Row[Any]] = {}
    merged: dict[str, dict[str, Any]] = {}
    for row in (await connection.execute(select(waitlist).where(both).with_for_update())).all():
        other = places.get(row.product_id)
        places[row.product_id] = row if other is None else _standing(row, other)
        asked_at = places[row.product_id].asked_at
        if other is not None and _over(row) is None and _over(other) is None:
            asked_at = min(row.asked_at, other.asked_at)
        merged[row.product_id] = {**places[row.product_id]._asdict(), "asked_at": asked_at, "customer_id": winner}
    for place in merged.values():
        if place["told_at"] is None and place["left_at"] is None:
            place["left_at"] = await _bought(connection, store_id, winner, place["product_id"], place["asked_at"])
    if merged:
        await connection.execute(delete(waitlist).where(both))
        await connection.execute(insert(waitlist), list(merged.values()))


def _standing(one: Row[Any], other: Row[Any]) -> Row[Any]:
    """Choose which of two places counts: the one in the queue, unless the other ended after it was taken."""
    ended, still_open = sorted((one, other), key=lambda place: _over(place) is None)
    over = _over(ended)
    if _over(still_open) is None:
        return still_open if over is None or still_open.asked_at > over else ended
    return still_open if over is None or (_over(still_open) or over) > over else ended


def _over(place: Row[Any]) -> datetime | None:
    return max((at for at in (place.told_at, place.left_at) if at is not None), default=None)


async def _bought(
    connection: AsyncConnection, store_id: str, customer_id: UUID, product_id: str, since: datetime
) -> datetime | None:
    """Return when the customer has bought a product since."""
    at = func.coalesce(orders.c.placed_at, orders.c.updated_at)
    query = select(func.max(at)).where(
        orders.c.store_id == store_id,
        orders.c.customer_id == customer_id,
        orders.c.lines.contains([{"product_id": product_id}]),
        at >= since,
    )
    bought: datetime | None = await connection.scalar(query)
    return bought


def _about(store_id: str, product_id: str) -> ColumnElement[bool]:
    return and_(waitlist.c.store_id == store_id, waitlist.c.product_id == product_id)


@built_once
def _under_way(store_id: str, workflow_ids: list[str]) -> Select[Any]:
    here = (runs.c.store_id == store_id, one_of(runs.c.workflow_id, workflow_ids), runs.c.ended_at.is_(None))
    return select(runs.c.run_id, runs.c.customer_id).where(*here)


@built_once
def _told(store_id: str, product_id: str, customer_ids: list[UUID], now: datetime) -> Update:
    # Whoever has been told, and found the stock gone again before this was noted down, stands in line as before.
    still_chosen = waitlist.c.chosen_at.is_not(None)
    here = (_about(store_id, product_id), one_of(waitlist.c.customer_id, customer_ids), still_chosen)
    return update(waitlist).where(*here).values(told_at=now)


class PostgresWaitlist:
    """Implements `domain.ports.Waitlist`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def next_wave(self, store_id: str, product_id: str, ratio: float, now: datetime) -> Wave:
        about = _about(store_id, product_id)
        async with as_store(self._engine, store_id) as connection:
            if await pauses.open_since(connection, store_id, "back-in-stock") is not None:
                # Stock would be promised to everyone before anybody is told. The resume begins the waves again.
                return Wave(workflow_ids=(), waiting=await waiting(connection, store_id, product_id))
            product = (
                await connection.execute(
                    select(products.c.stock, products.c.withdrawn).where(
                        products.c.store_id == store_id, products.c.product_id == product_id
                    )
                )
            ).one_or_none()
            count = await waiting(connection, store_id, product_id)
            fact: StockReleased | ProductWithdrawn
            if product is None or not count:
                return Wave(workflow_ids=(), waiting=count)
            if product.withdrawn:
                size, fact = count, ProductWithdrawn(at=now, product_id=product_id)
            elif (product.stock or 0) > 0:
                size, fact = (
                    max(1, min(count, floor(product.stock * ratio))),
                    StockReleased(at=now, product_id=product_id),
                )
            else:
                return Wave(workflow_ids=(), waiting=count)
            found: Sequence[Row[Any]] = ()
            while count and not found:
                found, left = await self._choose(connection, about, size, now)
                count -= len(found) + left
            return Wave(workflow_ids=tuple(row.workflow_id for row in found), fact=fact, waiting=count)

    async def _choose(
        self, connection: AsyncConnection, about: ColumnElement[bool], size: int, now: datetime
    ) -> tuple[Sequence[Row[Any]], int]:
        """Choose the next in line, or again those of an unfinished wave; return their runs, and how many had none."""
        in_line = (waitlist.c.asked_at, waitlist.c.customer_id)
        unfinished = and_(about, _OPEN, waitlist.c.chosen_at.is_not(None))
        chosen = select(waitlist.c.customer_id).where(unfinished)
        if (await connection.execute(chosen.limit(1))).first() is None:
            first = select(waitlist.c.customer_id).where(about, _OPEN).order_by(*in_line).limit(size)
            choose = update(waitlist).where(about, waitlist.c.customer_id.in_(first.scalar_subquery()))
            await connection.execute(choose.values(chosen_at=now))
        under_way = and_(
            runs.c.store_id == waitlist.c.store_id,
            runs.c.journey == "back-in-stock",
            runs.c.product_id == waitlist.c.product_id,
            runs.c.customer_id == waitlist.c.customer_id,
            runs.c.ended_at.is_(None),
        )
        # Temporal would take the signal to a run that the router is just about to begin for one that came too late.
        still_owed = exists().where(
            events.c.store_id == runs.c.store_id, events.c.id == runs.c.trigger_event, events.c.state == "applied"
        )
        query = select(runs.c.workflow_id, still_owed.label("yet_to_begin")).join(waitlist, under_way).where(unfinished)
        found = (await connection.execute(query.order_by(*in_line))).all()
        if any(row.yet_to_begin for row in found):
            raise Unavailable("a run of this wave has yet to begin")
        # Whoever waits without a run (it was ended by hand) must not hold the queue up.
        gone = update(waitlist).where(unfinished, ~exists().where(under_way))
        left = (await connection.execute(gone.values(left_at=now).returning(waitlist.c.customer_id))).all()
        return found, len(left)

    async def wave_told(
        self, store_id: str, fact: StockReleased | ProductWithdrawn, workflow_ids: Sequence[str], now: datetime
    ) -> None:
        async with as_store(self._engine, store_id) as connection:
            rows = (await connection.execute(*_under_way(store_id, list(workflow_ids)))).all()
            await connection.execute(*_told(store_id, fact.product_id, [row.customer_id for row in rows], now))
            if isinstance(fact, ProductWithdrawn):  # what they were told, whatever the product is by now
                for row in rows:
                    await run_rows.end(connection, store_id, row.run_id, Outcome.WITHDRAWN, "withdrawn", now)
