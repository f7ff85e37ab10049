"""Suppressions: the addresses that get nothing, why, since when, and until when.

Each reason is a row of its own, and an address is free when none is left in force.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, Row, Select, and_, case, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import tombstones
from adapters.postgres.statements import built_once
from adapters.postgres.tables import messages, suppressions
from domain.bounces import SOFT_LIMIT, SOFT_SUPPRESSION, Kind
from domain.delivery import Result
from domain.values import UtcTime, Value

Reason = Literal["unsubscribed", "bounced", "complained", "manual", "imported"]

_LEFT_US = [Result.SENT, Result.UNKNOWN, Result.BOUNCED]


class Suppression(Value):
    """One reason why an address gets nothing (`unsubscribed`: no marketing)."""

    channel: str
    address: str
    reason: Reason
    at: UtcTime
    expires_at: UtcTime | None = None
    detail: str = ""


async def suppress(
    connection: AsyncConnection,
    store_id: str,
    address: str,
    reason: Reason,
    at: datetime,
    *,
    expires_at: datetime | None = None,
    detail: str = "",
    channel: str = "email",
) -> None:
    """Suppress an address; of two words with the same reason the longer one holds."""
    row = {"store_id": store_id, "channel": channel, "address": address.lower(), "reason": reason}
    statement = upsert(suppressions).values(**row, at=at, expires_at=expires_at, detail=detail)
    told = statement.excluded.expires_at
    longer = case(
        (or_(suppressions.c.expires_at.is_(None), told.is_(None)), None),
        else_=func.greatest(suppressions.c.expires_at, told),
    )
    key = [suppressions.c[name] for name in ("store_id", "channel", "address", "reason")]
    await connection.execute(statement.on_conflict_do_update(index_elements=key, set_={"expires_at": longer}))


async def after_bounce(
    connection: AsyncConnection, store_id: str, address: str, kind: Kind, detail: str, at: datetime
) -> None:
    """Suppress an address that does not exist for good, and one that could not be reached too often for a while."""
    if kind is Kind.GONE:
        await suppress(connection, store_id, address, "bounced", at, detail=detail)
    elif kind is Kind.NOT_NOW and await _out_of_reach(connection, store_id, address):
        until = at + SOFT_SUPPRESSION
        await suppress(connection, store_id, address, "bounced", at, expires_at=until, detail=f"{SOFT_LIMIT} in a row")


async def _out_of_reach(connection: AsyncConnection, store_id: str, address: str) -> bool:
    """Tell whether the newest messages to an address all came back; one of which nothing was heard has arrived."""
    newest = (
        select(messages.c.bounce)
        .where(messages.c.store_id == store_id, messages.c.address == address, messages.c.state.in_(_LEFT_US))
        .order_by(messages.c.claimed_at.desc(), messages.c.message_id)
        .limit(SOFT_LIMIT)
    )
    kinds = (await connection.execute(newest)).scalars().all()
    return len(kinds) == SOFT_LIMIT and all(kind == Kind.NOT_NOW for kind in kinds)


async def in_force(
    connection: AsyncConnection, store_id: str, address: str, now: datetime, channel: str = "email"
) -> set[str]:
    """Return the reasons why an address gets nothing now."""
    return set((await connection.execute(*_in_force(store_id, channel, address.lower(), now))).scalars())


def reasons(store_id: str, channel: str, address: str | ColumnElement[str], now: datetime) -> Select[str]:
    """Select the reasons why an address, in small letters, gets nothing now."""
    return select(suppressions.c.reason).where(
        suppressions.c.store_id == store_id,
        suppressions.c.channel == channel,
        suppressions.c.address.in_(tombstones.spellings(store_id, address)),
        or_(suppressions.c.expires_at.is_(None), suppressions.c.expires_at > now),
    )


@built_once
def _in_force(store_id: str, channel: str, address: str, now: datetime) -> Select[str]:
    return reasons(store_id, channel, address, now)


async def listed(
    connection: AsyncConnection, store_id: str, now: datetime, reason: str | None = None, address: str | None = None
) -> Sequence[Suppression]:
    """List the suppressions in force, newest first."""
    query = select(suppressions).where(
        suppressions.c.store_id == store_id,
        or_(suppressions.c.expires_at.is_(None), suppressions.c.expires_at > now),
    )
    if reason is not None:
        query = query.where(suppressions.c.reason == reason)
    if address is not None:
        query = query.where(suppressions.c.address.in_(tombstones.spellings(store_id, address.lower())))
    rows: Sequence[Row[tuple[object, ...]]] = (await connection.execute(query.order_by(suppressions.c.at.desc()))).all()
    return [Suppression.model_validate(row, from_attributes=True) for row in rows]


async def lift(connection: AsyncConnection, store_id: str, address: str, reasons: Iterable[Reason]) -> list[str]:
    """Take suppressions back; returns the reasons that there were."""
    known = suppressions.c.address.in_(tombstones.spellings(store_id, address.lower()))
    here = and_(suppressions.c.store_id == store_id, known)
    gone = delete(suppressions).where(here, suppressions.c.reason.in_(list(reasons))).returning(suppressions.c.reason)
    return sorted((await connection.execute(gone)).scalars())
