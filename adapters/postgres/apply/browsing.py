"""Browsing: what customers look at, products and our messages."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, func, select, update
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres import attribution, carts, interest
from adapters.postgres.apply.applying import Applying, Derived
from adapters.postgres.at_once import Asked
from adapters.postgres.batch import Batch
from adapters.postgres.statements import built_once
from adapters.postgres.tables import views
from domain.facts import (
    Fact,
    LinkClicked,
    MessageOpened,
    PriceDropped,
    PriceRose,
    ProductChanged,
    ProductViewed,
    ProductWatched,
    ViewTimed,
)
from domain.plans import BrowseAbandonmentPlan
from domain.snapshot import offered

_VIEW = upsert(views).on_conflict_do_nothing()
_TOLD = ("product_id", "category", "price_minor", "currency", "at")
_COLUMNS = ("view_id", "customer_id", *_TOLD)


async def viewed(on: Applying, fact: ProductViewed) -> list[Derived]:
    """Keep a look at a product, and say whether it was one of many."""
    if on.event.id in on.batch.looked:
        return []
    row = {
        "store_id": on.store_id,
        "view_id": on.event.id,
        "customer_id": on.customer_id,
        **fact.model_dump(include=set(_TOLD)),
    }
    await on.connection.execute(_VIEW, row)
    plan = on.plan("browse-abandonment", BrowseAbandonmentPlan)
    if not plan.enabled:
        return []
    await carts.write(on.connection, on.store_id, on.batch)
    return on.me(*await interest.shown(on.connection, on.store_id, on.customer_id, plan, fact.product_id))


def looks_back(fact: Fact) -> bool:
    """Tell whether whoever applies a fact reads or changes looks that came before it."""
    told = isinstance(fact, ProductChanged) and not fact.seen  # a price, and who saw which before
    return told or isinstance(fact, ViewTimed | PriceDropped | PriceRose | ProductWatched)


Look = tuple[UUID, UUID, ProductViewed]
"""By which event, and by which customer."""


def counting(store_id: str, looks: Collection[Look], batch: Batch) -> list[Asked]:
    """Count the looks that came before these, if it matters to anybody how many they are."""
    if not looks or not _plan(store_id, batch).enabled:
        return []
    pairs = {(customer_id, fact.product_id) for _, customer_id, fact in looks}
    return [interest.looks(store_id, [who for who, _ in pairs], [product_id for _, product_id in pairs])]


def keep_ahead(store_id: str, looks: Sequence[Look], counted: Iterable[Any], batch: Batch) -> None:
    """Keep looks of a batch together, if none of them can be one of many.

    Args:
        store_id: The store.
        looks: Of customers who are locked; nothing else in the batch may read or change a look.
        counted: What `counting` has found.
        batch: Keeps what is to be written, and remembers of which looks.
    """
    plan = _plan(store_id, batch)
    more = Counter((customer_id, fact.product_id) for _, customer_id, fact in looks)
    before = Counter({(row.customer_id, row.product_id): row.looks for row in counted})
    kept = [
        {"view_id": event_id, "customer_id": customer_id, **fact.model_dump(include=set(_TOLD))}
        for event_id, customer_id, fact in looks
        if not plan.enabled or before[who := (customer_id, fact.product_id)] + more[who] < plan.views
    ]
    if kept:
        columns: Any = [[row[name] for row in kept] for name in _COLUMNS]
        batch.unwritten[store_id].append(_keep(store_id, *columns))
        batch.looked.update(row["view_id"] for row in kept)


def _plan(store_id: str, batch: Batch) -> BrowseAbandonmentPlan:
    return offered(batch.terms[store_id].plans, "browse-abandonment", BrowseAbandonmentPlan)


@built_once
def _keep(
    store_id: str, view_ids: list[UUID], customer_ids: list[UUID], product_ids: list[str], categories: list[str],
    prices: list[int], currencies: list[str], moments: list[datetime],
) -> Insert:  # fmt: skip
    looks = func.unnest(view_ids, customer_ids, product_ids, categories, prices, currencies, moments)
    look = looks.table_valued(*_COLUMNS).render_derived(name="look").c
    rows = select(cast(store_id, Text), *(look[name] for name in _COLUMNS))
    return upsert(views).from_select(["store_id", *_COLUMNS], rows).on_conflict_do_nothing()


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
