"""How long a store keeps what: one row, replaced as a whole; and what its plans and rules look back on."""

import time
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import audit, plans, sending_rules
from adapters.postgres.tables import retention_policies, runs
from adapters.postgres.tenancy import as_store
from adapters.postgres.together import Together
from domain.errors import Unavailable
from domain.operations import Operator
from domain.plans import PLANS, Plan, validated
from domain.retention import Needs, RetentionPolicy, Terms, needs

_MAX_REMEMBERED = 10_000


async def of_store(connection: AsyncConnection, store_id: str) -> RetentionPolicy:
    """Return the policy that a store has set, else the default."""
    query = select(retention_policies.c.policy).where(retention_policies.c.store_id == store_id)
    found = await connection.scalar(query)
    return RetentionPolicy() if found is None else RetentionPolicy.model_validate(found)


async def put(connection: AsyncConnection, store_id: str, policy: RetentionPolicy, by: Operator, now: datetime) -> None:
    """Set a store's policy; it holds from the next time that retention is enforced."""
    told = policy.model_dump(mode="json")
    values = {"policy": told, "set_at": now}
    statement = upsert(retention_policies).values(store_id=store_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["store_id"], set_=values))
    await audit.write(
        connection, store_id, f"retention-policy:{store_id}:{now.isoformat()}", by=by, action="retention_set",
        subject=f"store:{store_id}", detail=told, at=now,
    )  # fmt: skip


async def terms(connection: AsyncConnection, store_id: str) -> Terms:
    """Return a store's policy together with what its rules need."""
    return Terms(policy=await of_store(connection, store_id), needed=await needed(connection, store_id))


async def needed(connection: AsyncConnection, store_id: str) -> Needs:
    """Say how far the plans of now, those of the runs under way, and the sending rules look back."""
    known = {journey: pinned.plan for journey, pinned in (await plans.current(connection, store_id)).items()}
    defaults = {journey: validated(journey, {}) for journey in PLANS}
    used: list[tuple[str, Plan]] = [*(defaults | known).items()]
    under_way = select(runs.c.journey, runs.c.plan_version, runs.c.plan).where(
        runs.c.store_id == store_id, runs.c.ended_at.is_(None)
    )
    for row in (await connection.execute(under_way.distinct())).all():
        own = row.plan and validated(row.journey, row.plan)
        used.append((row.journey, own or await plans.version(connection, store_id, row.journey, row.plan_version)))
    return needs(used, await sending_rules.of_store(connection, store_id))


class KeptAddresses:
    """Tells which stores keep the addresses of consent whole; for the door, which must not ask for every event.

    Args:
        remember: Seconds for which an answer counts; a change takes that long.
    """

    def __init__(self, engine: AsyncEngine, *, remember: float = 10.0) -> None:
        self._engine = engine
        self._remember = remember
        self._known: dict[str, tuple[bool, float]] = {}
        self._reading = Together(self._read)

    async def whole(self, store_id: str) -> bool:
        """Tell whether a store wants it.

        Raises:
            Unavailable: The database cannot be read now.
        """
        known, until = self._known.get(store_id, (False, 0.0))
        return known if until > time.monotonic() else await self._reading(store_id)

    async def _read(self, store_id: str) -> bool:
        try:
            async with as_store(self._engine, store_id) as connection:
                known = (await of_store(connection, store_id)).consent_ip == "full"
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the event could not be stored now; send it again") from problem
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[store_id] = known, time.monotonic() + self._remember
        return known
