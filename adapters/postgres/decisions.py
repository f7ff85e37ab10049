"""Decision records: each answer about a message, with what was known when it was given. Append-only, no personal data.

They are written in the transaction of the claim, or of the record of the provider's answer, so there is no message
without one and none without its message.
"""

import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Text, bindparam, cast
from sqlalchemy.dialects.postgresql import JSONB, Insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import decisions
from domain.delivery import Delivery, Slot
from domain.gate import Truth

_PLACES: dict[Any, Any] = {column: bindparam(f"decided_{column.name}", type_=column.type) for column in decisions.c}
_PLACES[decisions.c.inputs] = cast(bindparam("decided_inputs", type_=Text), JSONB)
_DECISION = upsert(decisions).values(_PLACES).on_conflict_do_nothing()
_NAMESPACE = UUID("b0a7a1de-6d2c-5a0c-8f5e-6465636964e5")


async def write(
    connection: AsyncConnection, slot: Slot, delivery: Delivery, truth: Truth | None, now: datetime
) -> None:
    """Add a decision; an attempt that is repeated and comes to the same answer adds nothing.

    Args:
        connection: In the transaction that acts on the decision.
        slot: The step that asked.
        delivery: The answer.
        truth: What the gate knew; None for the provider's own answer.
        now: When it was given.
    """
    await connection.execute(_DECISION, written(slot, delivery, truth, now))


def beside(statement: Insert) -> Insert:
    """Have a statement add a decision as well; `written` is then part of its parameters."""
    return statement.add_cte(_DECISION.cte("decision"))


def written(slot: Slot, delivery: Delivery, truth: Truth | None, now: datetime) -> dict[str, Any]:
    """Return a decision as the parameters of the statement that adds it."""
    row = {
        "store_id": slot.store_id,
        "decision_id": _decision_id(slot, delivery),
        "run_id": slot.run_id,
        "step": slot.step.name,
        "plan_version": slot.plan_version,
        "due": slot.due,
        "decided_at": now,
        "result": delivery.result,
        "rule": delivery.rule,
        "because": delivery.because,
        "until": delivery.until,
        "inputs": json.dumps({} if truth is None else _inputs(slot, truth)),
    }
    return {f"decided_{name}": value for name, value in row.items()}


def _decision_id(slot: Slot, delivery: Delivery) -> UUID:
    answer = (delivery.result, delivery.rule, delivery.because, delivery.until)
    return uuid5(_NAMESPACE, "|".join(map(str, (slot.run_id, slot.step.name, slot.ask, *answer))))


def _inputs(slot: Slot, truth: Truth) -> dict[str, object]:
    """What was asked for, and what was read for it; what was not read is not there."""
    asked = slot.model_dump(mode="json", include={"gap", "requires", "waited_from", "ask"})
    asked |= {"topic": slot.step.topic, "transactional": slot.step.transactional}
    read = truth.model_dump(mode="json", exclude={"address"}, exclude_unset=True)
    return {**asked, **read, "address_known": truth.address is not None}
