"""Hearsay: what customers' events say of products, gathered in a batch and written once, at its end.

Everybody looks at the same products, so a new one is told of in many lanes at once. A change by the back office has its
product to itself until the batch is committed (`catalogue.hold`); if each first look did, the batches of a new shop, or
of a new season, would wait for one another. Nothing is derived of hearsay, so it need not: the statement that writes
it keeps, of each field, the newest word.
"""

import json
from collections.abc import Collection, Iterator
from itertools import chain
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Text, and_, case, cast, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import JSONB, Insert
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres.apply.catalogue import PRICE, asks, news
from adapters.postgres.at_once import Asked
from adapters.postgres.batch import Batch
from adapters.postgres.statements import built_once
from adapters.postgres.tables import products
from domain.facts import AnyFact, ProductChanged

_SAID = ("name", "category", "url", "image_url", "price_minor", "currency")


def gather(store_id: str, facts: Collection[AnyFact], batch: Batch) -> None:
    """Take in what is said of products that nobody else in the batch tells of or asks for.

    Whoever applies these facts then finds that they say nothing new.

    Args:
        store_id: The store.
        facts: Of the batch's events, in order; the products that they look at are remembered (`catalogue.remember`).
        batch: Remembers what is said.
    """
    told = [fact for fact in facts if isinstance(fact, ProductChanged)]
    not_ours = {fact.product_id for fact in told if not fact.seen} | asks(facts)
    for fact in told:
        if fact.product_id in not_ours:
            continue
        key = (store_id, fact.product_id)
        said, changed = news(fact, batch.seen[key])
        if changed:
            at = fact.at.isoformat()
            batch.hearsay.setdefault(key, {}).update({field: (value, at) for field, value in said.items()})
            batch.seen[key] = _with(batch.seen[key], said, at)


def written(store_id: str, batch: Batch) -> list[Asked]:
    """Return what writes the hearsay of a store, and has none left then."""
    heard_of = {key for key in batch.hearsay if key[0] == store_id}
    if not heard_of:
        return []
    # All in one order, and those with them that the batch has sold (sales.py), of which it writes the rows after this:
    # two batches may wait for each other, but never in a circle.
    mine = sorted(heard_of.union(key for key in batch.sales if key[0] == store_id))
    said = [batch.hearsay.pop(key, {}) for key in mine]
    columns: list[Any] = [[one[field][0] if field in one else None for one in said] for field in _SAID]
    columns.append([json.dumps({field: at for field, (_, at) in one.items()}) for one in said])
    return [_write(store_id, [product_id for _, product_id in mine], *columns)]


def _with(row: Any, said: dict[str, Any], at: str) -> Any:
    """Return a product's row as it is once this has been written."""
    known = {field: getattr(row, field, None) for field in (*_SAID, "stock", "withdrawn", "price_since")}
    stamps = {} if row is None else row.told_at
    return SimpleNamespace(**known | said, told_at=stamps | dict.fromkeys(said, at))


@built_once
def _write(
    store_id: str, product_ids: list[str], names: list[str], categories: list[str], urls: list[str],
    image_urls: list[str], prices: list[int], currencies: list[str], stamps: list[str],
) -> Insert:  # fmt: skip
    told = func.unnest(product_ids, names, categories, urls, image_urls, prices, currencies, stamps)
    each = told.table_valued("product_id", *_SAID, "told_at").render_derived(name="each").c
    values = (each.product_id, *(each[field] for field in _SAID), cast(each.told_at, JSONB))
    insert = upsert(products).from_select(
        ["store_id", "product_id", *_SAID, "told_at"], select(cast(store_id, Text), *values)
    )
    known, said = products.c, insert.excluded

    def newest(field: str) -> ColumnElement[bool]:
        before, at = (cast(row.told_at[field].astext, DateTime(timezone=True)) for row in (known, said))
        is_newest = and_(at.is_not(None), func.coalesce(before <= at, true()))
        # Once the back office has told a price, those in customers' events count for nothing (`catalogue.news`).
        return and_(is_newest, known.price_since.is_(None)) if field in PRICE else is_newest

    kept: Iterator[tuple[Any, Any]] = (
        (literal_column(f"'{field}'"), case((newest(field), said.told_at[field]))) for field in _SAID
    )
    new_stamps = func.jsonb_strip_nulls(func.jsonb_build_object(*chain.from_iterable(kept), type_=JSONB))
    return insert.on_conflict_do_update(
        index_elements=[known.store_id, known.product_id],
        set_={field: case((newest(field), said[field]), else_=known[field]) for field in _SAID}
        | {"told_at": known.told_at.concat(new_stamps)},
    )
