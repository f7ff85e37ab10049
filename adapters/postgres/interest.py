"""Interest: how often a customer looks at a product, counted here so that looking touches nothing else.

The count begins anew with an order, with any touch of the cart, and with each passage that it has led to. It is taken
at the newest look, so that the order in which looks arrive makes no difference.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.statements import built_once
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
    if product_id is None:
        enough = _often_enough(store_id, customer_id, plan.window, plan.views)
    else:
        enough = _this_often_enough(store_id, customer_id, product_id, plan.window, plan.views)
    rows = (await connection.execute(*enough)).all()
    return [InterestShown(at=row.at, product_id=row.product_id, views=row.views) for row in rows]


@built_once
def _often_enough(store_id: str, customer_id: UUID, window: timedelta, often: int) -> Select[Any]:
    mine = and_(views.c.store_id == store_id, views.c.customer_id == customer_id)
    return _counted(mine, _anew(store_id, customer_id), window, often)


@built_once
def _this_often_enough(store_id: str, customer_id: UUID, product_id: str, window: timedelta, often: int) -> Select[Any]:
    mine = and_(views.c.store_id == store_id, views.c.customer_id == customer_id, views.c.product_id == product_id)
    return _counted(mine, _anew(store_id, customer_id), window, often)


@built_once
def looks(store_id: str, customer_ids: list[UUID], product_ids: list[str]) -> Select[Any]:
    """Count how often each of these customers has looked at the product beside it, whether it counts or not."""
    pair = func.unnest(customer_ids, product_ids).table_valued("customer_id", "product_id")
    pair = pair.render_derived(name="pair")
    both = (views.c.customer_id == pair.c.customer_id, views.c.product_id == pair.c.product_id)
    counted = select(views.c.customer_id, views.c.product_id, func.count().label("looks"))
    return counted.where(views.c.store_id == store_id, *both).group_by(views.c.customer_id, views.c.product_id)


def _counted(mine: ColumnElement[bool], anew: ColumnElement[datetime], window: timedelta, often: int) -> Select[Any]:
    newest = func.max(views.c.at).over(partition_by=views.c.product_id).label("newest")
    look = select(views.c.product_id, views.c.at, newest).where(mine, views.c.at > anew).subquery()
    return (
        select(look.c.product_id, func.count().label("views"), look.c.newest.label("at"))
        .where(look.c.at > look.c.newest - window)
        .group_by(look.c.product_id, look.c.newest)
        .having(func.count() >= often)
        .order_by(look.c.newest.desc(), look.c.product_id)
    )


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
