"""The sending rules of a store: one row, replaced as a whole; a store without one has none."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import audit
from adapters.postgres.statements import built_once
from adapters.postgres.tables import sending_rules
from domain.operations import Operator
from domain.sending_rules import SendingRules


async def of_store(connection: AsyncConnection, store_id: str) -> SendingRules:
    """Return the rules that a store has set."""
    return understood(await connection.scalar(*_rules(store_id)))


def understood(stored: Any) -> SendingRules:
    """Return the rules as they are stored, or those of a store that has set none."""
    return SendingRules() if stored is None else SendingRules.model_validate(stored)


@built_once
def _rules(store_id: str) -> Select[Any]:
    return select(sending_rules.c.rules).where(sending_rules.c.store_id == store_id)


async def put(connection: AsyncConnection, store_id: str, rules: SendingRules, by: Operator, now: datetime) -> None:
    """Set a store's rules; they hold for every message that is decided from now on."""
    told = rules.model_dump(mode="json")
    values = {"rules": told, "set_at": now}
    statement = upsert(sending_rules).values(store_id=store_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["store_id"], set_=values))
    await audit.write(
        connection, store_id, f"rules:{store_id}:{now.isoformat()}", by=by, action="sending_rules_set",
        subject=f"store:{store_id}", detail=told, at=now,
    )  # fmt: skip
