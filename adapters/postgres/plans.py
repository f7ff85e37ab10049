"""Plans of a store: every version is kept, the newest is current."""

from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.tables import plans, stores
from domain.plans import Plan, validated
from domain.snapshot import PinnedPlan


async def current(connection: AsyncConnection, store_id: str) -> dict[str, PinnedPlan]:
    """Return the plans that a store has set, by journey; the others use their defaults."""
    newest = (
        select(plans.c.journey, plans.c.version, plans.c.plan)
        .where(plans.c.store_id == store_id)
        .ext(distinct_on(plans.c.journey))
        .order_by(plans.c.journey, plans.c.version.desc())
    )
    rows = (await connection.execute(newest)).all()
    return {
        row.journey: PinnedPlan(journey=row.journey, version=row.version, plan=validated(row.journey, row.plan))
        for row in rows
    }


async def put(engine: AsyncEngine, store_id: str, journey: str, plan: Plan, now: datetime) -> int:
    """Keep a new version of a store's plan; runs under way keep the one they began with (G6).

    Returns:
        The new version, counted from 1.
    """
    async with engine.begin() as connection:
        # Two who set a plan at once get two versions, one after the other.
        await connection.execute(select(stores.c.store_id).where(stores.c.store_id == store_id).with_for_update())
        known = await current(connection, store_id)
        version = known[journey].version + 1 if journey in known else 1
        row = {"store_id": store_id, "journey": journey, "version": version, "plan": plan.model_dump(mode="json")}
        await connection.execute(insert(plans).values(row | {"created_at": now}))
    return version
