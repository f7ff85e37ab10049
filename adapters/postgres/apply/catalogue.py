"""The catalogue, and the customers who wait for something in it."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, case, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import waitlist, watchers
from adapters.postgres.apply.applying import Applying, Derived, newer
from adapters.postgres.batch import Batch
from adapters.postgres.catalogue import listed
from adapters.postgres.statements import built_once
from adapters.postgres.tables import products, watchlist
from domain import ids
from domain.facts import (
    AnyFact,
    PriceDropped,
    PriceRose,
    ProductChanged,
    ProductUnwatched,
    ProductWatched,
    StockArrived,
    StockRequested,
)
from domain.plans import PriceDropPlan

# A price in a customer's event may be of the day before, or of that customer alone, or made up. It serves as long as
# the back office has told none; then it counts for nothing, whenever it was.
_PRICE = {"price_minor", "currency"}
_ASKS = (StockRequested, ProductWatched, ProductUnwatched)


def looked_at(store_id: str, facts: Iterable[AnyFact], batch: Batch) -> list[str]:
    """Return the products that events of a batch look at, and that nobody has read yet (`remember`)."""
    named = {fact.product_id for fact in facts if isinstance(fact, ProductChanged) and fact.seen}
    return [product_id for product_id in named if (store_id, product_id) not in batch.seen]


def remember(store_id: str, product_ids: Iterable[str], rows: Iterable[Any], batch: Batch) -> None:
    """Remember products as they are when an event of the batch looks at them first."""
    batch.seen |= {(store_id, product_id): None for product_id in product_ids}
    batch.seen |= {(store_id, row.product_id): row for row in rows}


async def hold(connection: AsyncConnection, store_id: str, facts: Collection[AnyFact], batch: Batch) -> None:
    """Lock the products that the facts of a batch change or ask for, all of them in one order.

    Those that are looked at are remembered already.

    A product and those who ask for it are told of in different lanes. Of a restock and a request that are applied at
    the same time, in two transactions that cannot see each other, whichever comes second has to see the first. So a
    change has its product to itself until the batch is committed, and those who ask for it do so side by side. A look
    that says nothing new is no change.
    """
    told = [fact for fact in facts if isinstance(fact, ProductChanged)]
    alone = {f.product_id for f in told if not f.seen or _news(f, batch.seen[store_id, f.product_id])[1]}
    asked_for = {fact.product_id for fact in facts if isinstance(fact, _ASKS)}
    if alone or asked_for:
        locks = dict(sorted((ids.lock_key(store_id, "product", name), name in alone) for name in alone | asked_for))
        await connection.execute(*_lock(list(locks), list(locks.values())))


async def product(on: Applying, fact: ProductChanged) -> list[Derived]:
    """Keep the newest word on each field; a restock and a price may concern many customers."""
    told_newly, changed = _news(fact, await _row_seen(on, fact.product_id))
    if changed or not fact.seen:
        row = await _row(on, fact.product_id)  # it may have changed before we had it to ourselves
        told_newly, _ = _news(fact, row)
        known: dict[str, str] = {} if row is None else row.told_at
        told_at = known | dict.fromkeys(told_newly, fact.at.isoformat())
        moved = {} if fact.seen else _moved(row, told_newly, fact.at)
        await on.put(products, {"product_id": fact.product_id}, {**told_newly, **moved, "told_at": told_at})
        on.batch.seen.pop((on.store_id, fact.product_id), None)
        if "price_minor" in told_newly and not fact.seen:
            await _priced(on, fact)
    supply = told_newly.get("stock") or 0
    if supply > 0 or told_newly.get("withdrawn"):
        return await _arrived(on, fact.product_id, fact.at)
    return []


async def _row_seen(on: Applying, product_id: str) -> Any:
    """Return the row of a product as it was when an event of the batch last looked."""
    if (on.store_id, product_id) not in on.batch.seen:
        remember(on.store_id, [product_id], await listed(on.connection, on.store_id, [product_id]), on.batch)
    return on.batch.seen[on.store_id, product_id]


async def _row(on: Applying, product_id: str) -> Row[Any] | None:
    return next(iter(await listed(on.connection, on.store_id, [product_id])), None)


@built_once
def _lock(keys: list[int], alone: list[bool]) -> Select[Any]:
    each = func.unnest(keys, alone).table_valued("key", "alone").render_derived(name="each")
    beside_others = func.pg_advisory_xact_lock_shared(each.c.key)
    return select(case((each.c.alone, func.pg_advisory_xact_lock(each.c.key)), else_=beside_others))


def _news(fact: ProductChanged, row: Any) -> tuple[dict[str, Any], bool]:
    """Return the fields of which this is the newest word, and whether any of them is another than we knew."""
    told = fact.model_dump(
        include={"name", "category", "url", "image_url", "price_minor", "currency", "stock", "withdrawn"}
    )
    known: dict[str, str] = {} if row is None else row.told_at
    stamps = known
    if fact.seen and row is not None and row.price_since is not None:
        told = {f: v for f, v in told.items() if f not in _PRICE}
    elif not fact.seen and row is not None and row.price_since is None:
        stamps = {f: at for f, at in known.items() if f not in _PRICE}
    told_newly = newer({f: v for f, v in told.items() if v is not None}, stamps, fact.at)
    return told_newly, any(row is None or getattr(row, f) != v for f, v in told_newly.items())


def _moved(row: Row[Any] | None, told: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Say where a price came from, and when; only a price in the same currency can be compared."""
    if "price_minor" not in told:
        return {}
    if row is None or row.price_since is None:
        return {"price_since": at}
    currency = told.get("currency", row.currency)
    if (told["price_minor"], currency) == (row.price_minor, row.currency):
        return {}
    return {"price_since": at, "price_was_minor": row.price_minor if currency == row.currency else None}


async def _priced(on: Applying, fact: ProductChanged) -> None:
    """Tell the watchers of a product's price, if it came down; those who are just being told, if it went up."""
    row = await _row(on, fact.product_id)
    if row is None or row.price_was_minor is None or row.price_minor < row.price_was_minor:
        await _fell(on, fact.product_id)
    else:
        await watchers.tell_of_rise(on.connection, on.store_id, fact.product_id, on.event.id, fact.at, on.now)


async def _fell(on: Applying, product_id: str, only: UUID | None = None) -> None:
    plan = on.plan("price-drop", PriceDropPlan)
    if plan.enabled:
        await watchers.tell_of_drop(on.connection, on.store_id, product_id, plan.percent, on.now, only)


async def price_dropped(on: Applying, fact: PriceDropped) -> list[Derived]:
    """Pass on that a price fell, if the customer still wants to hear of it."""
    return on.me(fact) if await _low(on, fact.product_id) else []


async def price_rose(on: Applying, fact: PriceRose) -> list[Derived]:
    """Pass on that a price rose, if the customer does not want to hear of this one too."""
    return [] if await _low(on, fact.product_id) else on.me(fact)


async def _low(on: Applying, product_id: str) -> bool:
    percent = on.plan("price-drop", PriceDropPlan).percent
    known = await watchers.wanted(on.connection, on.store_id, on.customer_id, product_id, percent)
    return known is not None and known.wanted_minor is not None and known.price_minor <= known.wanted_minor


async def _arrived(on: Applying, product_id: str, at: datetime) -> list[Derived]:
    waiting = await waitlist.waiting(on.connection, on.store_id, product_id)
    return [Derived(customer_id=None, fact=StockArrived(at=at, product_id=product_id))] if waiting else []


async def stock_requested(on: Applying, fact: StockRequested) -> list[Derived]:
    """Put the customer on the waiting list."""
    if not await waitlist.ask(on.connection, on.store_id, on.customer_id, fact.product_id, fact.at):
        return []
    derived = on.me(fact)
    row = await _row(on, fact.product_id)
    # The restock may have been told before the request that it answers.
    if row is not None and (row.stock or 0) > 0 and datetime.fromisoformat(row.told_at["stock"]) >= fact.at:
        derived += await _arrived(on, fact.product_id, fact.at)
    return derived


async def watched(on: Applying, fact: ProductWatched | ProductUnwatched) -> list[Derived]:
    """Keep what the customer watches, and at what price; the newest word counts."""
    known = await _row(on, fact.product_id)
    watching = isinstance(fact, ProductWatched)
    values: dict[str, Any] = {"changed_at": fact.at, "active": watching}
    if isinstance(fact, ProductWatched):
        values |= fact.model_dump(include={"target_price_minor", "drop_percent"})
        values |= fact.model_dump(include={"notify_on_price_drop", "notify_on_restock"})
        values |= _price_seen(fact, known)
    else:
        values |= {"notify_on_price_drop": False, "notify_on_restock": False}
    statement = upsert(watchlist).values(
        store_id=on.store_id, customer_id=on.customer_id, product_id=fact.product_id, **values
    )
    key = [watchlist.c.store_id, watchlist.c.customer_id, watchlist.c.product_id]
    newest = watchlist.c.changed_at <= fact.at
    await on.connection.execute(statement.on_conflict_do_update(index_elements=key, set_=values, where=newest))
    # The price may have been told before the wish that it fulfils.
    if watching and known is not None and known.price_since is not None and known.price_since > fact.at:
        await _fell(on, fact.product_id, on.customer_id)
    return []


def _price_seen(fact: ProductWatched, known: Row[Any] | None) -> dict[str, Any]:
    """Say what the product cost when the customer watched it: as told, else as the catalogue had it then."""
    currency = fact.currency or (None if known is None else known.currency)
    price = fact.price_minor
    if price is None and known is not None and known.currency == currency:
        since = known.price_since
        price = known.price_minor if since is None or since <= fact.at else known.price_was_minor
    return {"price_when_watched_minor": price, "currency": currency}
