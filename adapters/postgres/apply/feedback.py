"""Feedback: what mail servers and providers said of our messages. The order in which they say it does not matter."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, update

from adapters.postgres import suppressions
from adapters.postgres.apply.applying import Applying, Derived
from adapters.postgres.tables import messages
from domain.bounces import Kind
from domain.delivery import Result
from domain.facts import MessageBounced, MessageComplained, MessageDelivered

_WORST_FIRST = (Kind.GONE, Kind.NOT_NOW, Kind.REFUSED)


async def delivered(on: Applying, fact: MessageDelivered) -> list[Derived]:
    """Note that a message arrived; one of which nobody knew whether it was sent has been."""
    row = await _note(on, fact.message_id, {"delivered_at": fact.at})
    if row is not None and row.state == Result.UNKNOWN:
        await _note(on, fact.message_id, {"state": Result.SENT})
    return []


async def bounced(on: Applying, fact: MessageBounced) -> list[Derived]:
    """Note that a message came back, and suppress its address if it is gone, or was out of reach too often."""
    address = fact.address
    if fact.message_id is not None:
        row = await _note(on, fact.message_id, {"bounced_at": func.coalesce(messages.c.bounced_at, fact.at)})
        if row is None:
            return []
        address = row.address
        values: dict[str, Any] = {}
        if row.bounce is None or _WORST_FIRST.index(fact.bounce) < _WORST_FIRST.index(Kind(row.bounce)):
            values["bounce"] = fact.bounce
        if row.state in {Result.SENT, Result.UNKNOWN}:
            values |= {"state": Result.BOUNCED, "because": f"it came back: {fact.bounce} {fact.detail}".strip()}
        if values:
            await _note(on, fact.message_id, values)
    if address is not None:
        await suppressions.after_bounce(on.connection, on.store_id, address, fact.bounce, fact.detail, fact.at)
    return []


async def complained(on: Applying, fact: MessageComplained) -> list[Derived]:
    """Note a complaint; whoever complained hears nothing more."""
    address = fact.address
    if fact.message_id is not None:
        row = await _note(on, fact.message_id, {"complained_at": fact.at})
        address = row.address if row is not None else None
    if address is not None:
        await suppressions.suppress(on.connection, on.store_id, address, "complained", fact.at, detail=fact.detail)
    return []


async def _note(on: Applying, message_id: UUID, values: dict[str, Any]) -> Row[Any] | None:
    here = update(messages).where(messages.c.store_id == on.store_id, messages.c.message_id == message_id)
    known = (messages.c.address, messages.c.state, messages.c.bounce)
    row: Row[Any] | None = (await on.connection.execute(here.values(**values).returning(*known))).one_or_none()
    return row
