"""Interest: how often a customer looks at a product, counted here so that looking touches nothing else.

The count begins anew with an order, with any touch of the cart, and with each passage that it has led to. It is taken
at the newest look, so that the order in which looks arrive makes no difference.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import carts, orders, runs, views
from domain.facts import InterestShown
from domain.plans import BrowseAbandonmentPlan


async def shown(
    connection: AsyncConnection,
    store_id: str,
    customer_id: UUID,
    plan: BrowseAbandonmentPlan,
    product_id: str | None = None,
) -> list[InterestShown]:
    """Say which products a customer has looked at often enough, or whether this one; the newest look first."""
    mine = (views.c.store_id == store_id) & (views.c.customer_id == customer_id)
    if product_id is not None:
        mine &= views.c.product_id == product_id
    newest = func.max(views.c.at).over(partition_by=views.c.product_id).label("newest")
    counted = select(views.c.product_id, views.c.at, newest).where(mine, views.c.at > _anew(store_id, customer_id))
    look = counted.subquery()
    enough = (
        select(look.c.product_id, func.count().label("views"), look.c.newest.label("at"))
        .where(look.c.at > look.c.newest - plan.window)
        .group_by(look.c.product_id, look.c.newest)
        .having(func.count() >= plan.views)
        .order_by(look.c.newest.desc(), look.c.product_id)
    )
    rows = (await connection.execute(enough)).all()
    return [InterestShown(at=row.at, product_id=row.product_id, views=row.views) for row in rows]


async def last_look(connection: AsyncConnection, store_id: str, customer_id: UUID, product_id: str) -> datetime | None:
    """Return when a customer last looked at a product."""
    mine = (views.c.store_id == store_id) & (views.c.customer_id == customer_id) & (views.c.product_id == product_id)
    at: datetime | None = await connection.scalar(select(func.max(views.c.at)).where(mine))
    return at


def _anew(store_id: str, customer_id: UUID) -> ColumnElement[datetime]:
    ordered = select(func.max(func.coalesce(orders.c.placed_at, orders.c.updated_at))).where(
        orders.c.store_id == store_id, orders.c.customer_id == customer_id
    )
    touched = select(carts.c.changed_at).where(carts.c.store_id == store_id, carts.c.customer_id == customer_id)
    entered = select(func.max(runs.c.since)).where(
        runs.c.store_id == store_id, runs.c.customer_id == customer_id, runs.c.journey == "browse-abandonment"
    )
    moments = (query.scalar_subquery() for query in (ordered, touched, entered))
    return func.coalesce(func.greatest(*moments), literal("-infinity").cast(views.c.at.type))
