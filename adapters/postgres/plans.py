"""Plans of a store: every version is kept, the newest is current."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import audit
from adapters.postgres.statements import built_once
from adapters.postgres.tables import plans, stores
from adapters.postgres.tenancy import as_store
from domain.operations import Operator
from domain.plans import PREFIX, Plan, validated
from domain.snapshot import PinnedPlan


async def current(connection: AsyncConnection, store_id: str) -> dict[str, PinnedPlan]:
    """Return the plans that a store has set, by journey; the others use their defaults."""
    rows = (await connection.execute(*_newest(store_id))).all()
    return {
        row.journey: PinnedPlan(journey=row.journey, version=row.version, plan=validated(row.journey, row.plan))
        for row in rows
    }


@built_once
def _newest(store_id: str) -> Select[Any]:
    return (
        select(plans.c.journey, plans.c.version, plans.c.plan)
        .where(plans.c.store_id == store_id)
        .ext(distinct_on(plans.c.journey))
        .order_by(plans.c.journey, plans.c.version.desc())
    )


@built_once
def versions(store_id: str) -> Select[Any]:
    """Find which versions are current; a version is never changed, but a store of its name may have been another's."""
    newest = select(plans.c.journey, plans.c.version, plans.c.created_at).where(plans.c.store_id == store_id)
    return newest.ext(distinct_on(plans.c.journey)).order_by(plans.c.journey, plans.c.version.desc())


async def exits_ever(connection: AsyncConnection, store_id: str) -> frozenset[str]:
    """Return every event that a version of a store's follow-ups ends runs by; a run keeps those it began with."""
    names = func.jsonb_array_elements_text(plans.c.plan["exits"])
    query = select(names).distinct().where(plans.c.store_id == store_id, plans.c.journey.startswith(PREFIX))
    return frozenset((await connection.execute(query)).scalars())


async def version(connection: AsyncConnection, store_id: str, journey: str, number: int) -> Plan:
    """Return one version of a store's plan; 0 is the default."""
    query = select(plans.c.plan).where(
        plans.c.store_id == store_id, plans.c.journey == journey, plans.c.version == number
    )
    return validated(journey, await connection.scalar(query) or {})


async def put(
    engine: AsyncEngine,
    store_id: str,
    journey: str,
    plan: Plan,
    now: datetime,
    *,
    by: Operator | None = None,
    running: Literal["pin", "move", "retime"] = "pin",
) -> int:
    """Keep a new version of a store's plan; runs under way keep the one they began with (G6).

    Args:
        engine: The database.
        store_id: Whose plan it is.
        journey: Of which journey.
        plan: Checked (`domain.plans.validated`).
        now: The time of this version.
        by: Who sets it, for the audit log.
        running: What the caller is going to do about the runs under way, for the audit log.

    Returns:
        The new version, counted from 1.
    """
    async with as_store(engine, store_id) as connection:
        # Two who set a plan at once get two versions, one after the other.
        await connection.execute(select(stores.c.store_id).where(stores.c.store_id == store_id).with_for_update())
        known = await current(connection, store_id)
        version = known[journey].version + 1 if journey in known else 1
        row = {"store_id": store_id, "journey": journey, "version": version, "plan": plan.model_dump(mode="json")}
        await connection.execute(insert(plans).values(row | {"created_at": now}))
        if by is not None:
            await audit.write(
                connection, store_id, f"plan:{store_id}:{journey}:{version}", by=by, action="plan_set",
                subject=f"journey:{journey}", detail={"version": version, "running": running}, at=now,
            )  # fmt: skip
    return version
