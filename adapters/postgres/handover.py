"""The handover: what is written of a message right before and after the mail server has it.

Each is a transaction of a statement or two, and there are two of them for each message. So they are sent as a whole: to
wait for Postgres' answer four times costs the worker more than all that is written (docs/performance.md).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.at_once import as_store_at_once
from adapters.postgres.runs import ALL_STEPS_DONE
from domain.delivery import Result, Slot
from domain.runs import Outcome

_SENDING: LiteralString = """
    update messages set state = 'sending', sending_at = %(now)s, urls = %(urls)s
    where store_id = %(store_id)s and message_id = %(message_id)s and state = 'claimed'
"""
_NOT_SENT: LiteralString = """
    update messages set state = 'claimed', sending_at = null
    where store_id = %(store_id)s and message_id = %(message_id)s and state = 'sending'
"""
_SENT: LiteralString = """
    update messages set state = %(result)s, because = %(because)s, settled_at = %(now)s
    where store_id = %(store_id)s and message_id = %(message_id)s
"""
_OVER: LiteralString = """
    update runs set ended_at = %(now)s, outcome = %(outcome)s, because = %(because)s
    where store_id = %(store_id)s and run_id = %(run_id)s and ended_at is null
"""


async def sending(engine: AsyncEngine, slot: Slot, message_id: UUID, urls: Sequence[str], now: datetime) -> bool:
    """Say that the mail server is about to have a message that is ours to send; tell whether it was."""
    return await _changed(engine, slot, message_id, _SENDING, {"now": now, "urls": Jsonb(list(urls))})


async def not_sent(engine: AsyncEngine, slot: Slot, message_id: UUID) -> None:
    """Say that it has not taken the message, unless somebody has settled it meanwhile."""
    await _changed(engine, slot, message_id, _NOT_SENT, {})


async def sent(
    engine: AsyncEngine, slot: Slot, message_id: UUID, because: str | None, now: datetime, *, last: bool
) -> None:
    """Say that it has the message and, if it was the last, that the run is over; a run's first outcome stays."""
    mine = {"store_id": slot.store_id, "message_id": message_id, "run_id": slot.run_id, "now": now}
    async with as_store_at_once(engine, slot.store_id) as driver:
        await driver.execute(_SENT, mine | {"result": Result.SENT.value, "because": because})
        if last:
            await driver.execute(_OVER, mine | {"outcome": Outcome.COMPLETED.value, "because": ALL_STEPS_DONE})


async def _changed(
    engine: AsyncEngine, slot: Slot, message_id: UUID, statement: LiteralString, values: dict[str, Any]
) -> bool:
    async with as_store_at_once(engine, slot.store_id) as driver:
        found = await driver.execute(statement, values | {"store_id": slot.store_id, "message_id": message_id})
    return found.rowcount == 1
