"""Browsing: what customers look at, products and our messages."""

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres import attribution, interest
from adapters.postgres.apply.applying import Applying, Derived
from adapters.postgres.tables import views
from domain.facts import LinkClicked, MessageOpened, ProductViewed, ViewTimed
from domain.plans import BrowseAbandonmentPlan

_VIEW = upsert(views).on_conflict_do_nothing()


async def viewed(on: Applying, fact: ProductViewed) -> list[Derived]:
    """Keep a look at a product, and say whether it was one of many."""
    row = {
        "store_id": on.store_id,
        "view_id": on.event.id,
        "customer_id": on.customer_id,
        **fact.model_dump(include={"product_id", "category", "price_minor", "currency", "at"}),
    }
    await on.connection.execute(_VIEW, row)
    plan = on.plan("browse-abandonment", BrowseAbandonmentPlan)
    if not plan.enabled or _too_seldom(on, fact, plan.views):
        return []
    return on.me(*await interest.shown(on.connection, on.store_id, on.customer_id, plan, fact.product_id))


def _too_seldom(on: Applying, fact: ProductViewed, often: int) -> bool:
    """Tell whether a look cannot be one of many, so that nobody needs to count which of them count."""
    pair = (on.store_id, on.customer_id, fact.product_id)
    if pair not in on.batch.looks:
        return False
    on.batch.looks[pair] += 1
    return on.batch.looks[pair] < often


async def view_timed(on: Applying, fact: ViewTimed) -> list[Derived]:
    """Note how long the newest look took."""
    newest = (
        select(views.c.view_id)
        .where(views.c.store_id == on.store_id, views.c.customer_id == on.customer_id)
        .where(views.c.product_id == fact.product_id, views.c.at <= fact.at)
        .order_by(views.c.at.desc())
        .limit(1)
        .scalar_subquery()
    )
    change = update(views).where(views.c.store_id == on.store_id, views.c.view_id == newest)
    await on.connection.execute(change.values(duration_s=min(fact.duration_s, 2**31 - 1)))
    return []


async def opened(on: Applying, fact: MessageOpened) -> list[Derived]:
    """Note when a message was opened."""
    await attribution.opened(on.connection, on.store_id, fact.message_id, fact.at)
    return []


async def clicked(on: Applying, fact: LinkClicked) -> list[Derived]:
    """Note the click; an order may be credited to it."""
    await attribution.clicked(on.connection, on.store_id, on.customer_id, fact)
    return []
