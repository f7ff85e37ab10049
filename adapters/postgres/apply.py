"""Apply: what a fact changes in the database, and which facts that makes true in turn.

Everything here gives the same state whatever the order in which facts arrive (G2): fields keep the newest word,
carts are a snapshot and the changes after it, orders know their status before they know themselves. A repeated
fact returns nothing.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Row, Table, and_, case, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import attribution, silence, waitlist
from adapters.postgres.identities import save_cart
from adapters.postgres.sales import Sales
from adapters.postgres.tables import (
    carts,
    consents,
    customers,
    orders,
    products,
    views,
    watchlist,
)
from domain.cart import Cart
from domain.consent import IDENTIFY
from domain.events import Event
from domain.facts import (
    AnyFact,
    CartChanged,
    CartEmptied,
    CartLineChanged,
    CartReported,
    ConsentChanged,
    Fact,
    LinkClicked,
    MessageOpened,
    NewsletterSubscribed,
    OrderCancelled,
    OrderPlaced,
    OrderRefunded,
    OrderUpdated,
    ProductChanged,
    ProductUnwatched,
    ProductViewed,
    ProductWatched,
    ProfileChanged,
    SignedUp,
    StockArrived,
    StockRequested,
    Topic,
    Unsubscribed,
    ViewTimed,
)
from domain.values import Value

_ONLY_UNDONE = datetime.fromtimestamp(0, UTC)
"""When an order was told of which we know a refund or cancellation only."""


class Derived(Value):
    """A fact that became true, and for whom (None: for no customer in particular)."""

    customer_id: UUID | None
    fact: AnyFact


class Applying:
    """One event being applied to one customer's state, under the customer's lock."""

    def __init__(
        self, connection: AsyncConnection, event: Event, customer_id: UUID | None, now: datetime, sales: Sales
    ) -> None:
        self.connection = connection
        self.event = event
        self.store_id = event.store_id
        self.now = now
        self.sales = sales
        self._customer_id = customer_id

    @property
    def customer_id(self) -> UUID:
        """The customer the event is about."""
        if self._customer_id is None:
            raise ValueError("a fact about a customer needs one")
        return self._customer_id

    def me(self, *facts: Fact) -> list[Derived]:
        """Derive facts about this customer."""
        return [Derived(customer_id=self.customer_id, fact=fact) for fact in facts]

    async def apply(self, fact: Fact) -> list[Derived]:
        """Apply a fact; a kind that changes nothing derives nothing."""
        change = _CHANGES.get(type(fact))
        return [] if change is None else await change(self, fact)

    async def put(self, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
        """Insert or update one row of this store."""
        key = {"store_id": self.store_id, **key}
        statement = upsert(table).values(**key, **values)
        columns = [table.c[name] for name in key]
        await self.connection.execute(statement.on_conflict_do_update(index_elements=columns, set_=values))


async def _profile(on: Applying, fact: ProfileChanged) -> list[Derived]:
    here = and_(customers.c.store_id == on.store_id, customers.c.customer_id == on.customer_id)
    row = (await on.connection.execute(select(customers).where(here))).one()
    told = fact.model_dump(include={"email", "phone", "first_name", "last_name", "locale", "timezone"})
    values = _newer({f: v for f, v in told.items() if v is not None}, row.told_at, fact.at)
    extra = _newer({f"traits.{k}": v for k, v in fact.traits.items()}, row.told_at, fact.at)
    if not values and not extra:
        return []
    stamps = dict.fromkeys([*values, *extra], fact.at.isoformat())
    traits = row.traits | {name.removeprefix("traits."): value for name, value in extra.items()}
    change = update(customers).where(here).values(**values, traits=traits, told_at=row.told_at | stamps)
    await on.connection.execute(change)
    if "email" in values:
        await silence.settle(on.connection, on.store_id, on.customer_id)
    return []


def _newer(told: dict[str, Any], stamps: dict[str, str], at: datetime) -> dict[str, Any]:
    """Keep the fields that nobody has told us about since."""
    return {f: v for f, v in told.items() if f not in stamps or datetime.fromisoformat(stamps[f]) <= at}


async def _consent(on: Applying, fact: ConsentChanged) -> list[Derived]:
    await _record_consent(
        on, fact.channel, fact.topic, granted=fact.granted, source=fact.source, ip=fact.ip, at=fact.at
    )
    if fact.granted or fact.source == IDENTIFY:  # an earlier "no" makes a later "yes" a word again
        await silence.settle(on.connection, on.store_id, on.customer_id, fact.channel)
    return []


async def _record_consent(
    on: Applying, channel: str, topic: Topic, *, granted: bool, source: str, ip: str | None, at: datetime
) -> None:
    row = {
        "store_id": on.store_id,
        "consent_id": uuid5(on.event.id, f"{channel}:{topic}"),
        "customer_id": on.customer_id,
        "channel": channel,
        "topic": topic,
        "granted": granted,
        "source": source[:200],
        "ip": ip,
        "at": at,
        "recorded_at": on.now,
    }
    await on.connection.execute(upsert(consents).values(row).on_conflict_do_nothing())


async def _unsubscribed(on: Applying, fact: Unsubscribed) -> list[Derived]:
    source, ip = fact.source, fact.ip
    await _record_consent(on, fact.channel, Topic.MARKETING, granted=False, source=source, ip=ip, at=fact.at)
    await silence.asked_for(on.connection, on.store_id, on.customer_id, fact.channel, fact.at)
    return []


async def _told_as_is(on: Applying, fact: Fact) -> list[Derived]:
    return on.me(fact)


async def _viewed(on: Applying, fact: ProductViewed) -> list[Derived]:
    row = {
        "store_id": on.store_id,
        "view_id": on.event.id,
        "customer_id": on.customer_id,
        **fact.model_dump(include={"product_id", "category", "price_minor", "at"}),
    }
    await on.connection.execute(upsert(views).values(row).on_conflict_do_nothing())
    return []


async def _view_timed(on: Applying, fact: ViewTimed) -> list[Derived]:
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


async def _cart(on: Applying) -> Cart:
    query = select(carts.c.cart).where(carts.c.store_id == on.store_id, carts.c.customer_id == on.customer_id)
    found = await on.connection.scalar(query)
    return Cart() if found is None else Cart.model_validate(found)


async def _cart_change(on: Applying, fact: CartLineChanged | CartReported) -> list[Derived]:
    old = await _cart(on)
    new = old.with_change(on.event.id, fact) if isinstance(fact, CartLineChanged) else old.with_report(fact)
    if new == old:
        return []
    await save_cart(on.connection, on.store_id, on.customer_id, new)
    if new.lines:
        at = new.changed_at or fact.at
        items = sum(line.quantity for line in new.lines)
        return on.me(CartChanged(at=at, total_minor=new.total_minor, currency=new.currency, items=items))
    return on.me(CartEmptied(at=fact.at)) if old.lines else []


async def _ordered(on: Applying, fact: OrderPlaced | OrderUpdated) -> list[Derived]:
    here = and_(orders.c.store_id == on.store_id, orders.c.order_id == fact.order_id)
    known = (await on.connection.execute(select(orders).where(here).with_for_update())).one_or_none()
    unheard_of = known is None or known.updated_at == _ONLY_UNDONE
    placed_before = known is not None and known.placed_at is not None
    values = _contents(fact, known)
    if unheard_of or (isinstance(fact, OrderPlaced) and not placed_before):
        values["customer_id"] = on.customer_id
    if isinstance(fact, OrderPlaced):
        values["placed_at"] = min(known.placed_at, fact.at) if placed_before and known is not None else fact.at
    if known is None:
        row = {"store_id": on.store_id, "order_id": fact.order_id, "status": "placed", **values}
        await on.connection.execute(insert(orders).values(row))
    elif values:
        await on.connection.execute(update(orders).where(here).values(values))
    if placed_before and known is not None and (isinstance(fact, OrderUpdated) or known.customer_id == on.customer_id):
        return []  # told before, by another event, or news about a purchase that has had its effect
    if isinstance(fact, OrderUpdated) and not unheard_of:
        return []
    if isinstance(fact, OrderPlaced) and not placed_before:
        for line in fact.lines:
            on.sales[on.store_id, line.product_id] += line.quantity
        await attribution.credit(on.connection, on.store_id, on.customer_id, fact)
    await save_cart(on.connection, on.store_id, on.customer_id, (await _cart(on)).with_order(fact.at))
    await waitlist.leave(on.connection, on.store_id, on.customer_id, [line.product_id for line in fact.lines], fact.at)
    # An update of an order we have not seen is a purchase too: it ends what a purchase ends, and begins nothing.
    return on.me(fact if isinstance(fact, OrderPlaced) else OrderPlaced(**fact.model_dump(exclude={"kind"})))


def _contents(fact: OrderPlaced | OrderUpdated, known: Row[Any] | None) -> dict[str, Any]:
    """Say what is to be written of an order's contents: the newest that came with lines; an update often has none."""
    contents = {
        "total_minor": fact.total_minor,
        "currency": fact.currency,
        "lines": [line.model_dump(mode="json") for line in fact.lines],
        "coupon": fact.coupon,
        "updated_at": fact.at,
    }
    if known is None or known.updated_at == _ONLY_UNDONE:
        return contents
    # Told of the same instant, the update is the later word.
    newer = fact.at > known.updated_at or (fact.at == known.updated_at and isinstance(fact, OrderUpdated))
    if fact.lines:
        return contents if newer or not known.lines else {}
    bare = isinstance(fact, OrderPlaced) and not known.lines and (newer or known.placed_at is None)
    return contents if bare else {}


async def _order_undone(on: Applying, fact: OrderRefunded | OrderCancelled) -> list[Derived]:
    status = "refunded" if isinstance(fact, OrderRefunded) else "cancelled"
    row = {"store_id": on.store_id, "order_id": fact.order_id, "customer_id": on.customer_id}
    statement = upsert(orders).values(**row, status=status, lines=[], updated_at=_ONLY_UNDONE)
    key = [orders.c.store_id, orders.c.order_id]
    # The refund may come before the order; then the order finds its status already there. What was cancelled and
    # paid back is refunded, whichever we hear first.
    strongest = case((orders.c.status == "refunded", "refunded"), else_=status)
    change = statement.on_conflict_do_update(index_elements=key, set_={"status": strongest})
    owner = (await on.connection.execute(change.returning(orders.c.customer_id))).scalar_one()
    return [Derived(customer_id=owner, fact=fact)]


async def _product(on: Applying, fact: ProductChanged) -> list[Derived]:
    here = and_(products.c.store_id == on.store_id, products.c.product_id == fact.product_id)
    row = (await on.connection.execute(select(products).where(here))).one_or_none()
    told = fact.model_dump(
        include={"name", "category", "url", "image_url", "price_minor", "currency", "stock", "withdrawn"}
    )
    stamps: dict[str, str] = {} if row is None else row.told_at
    newer = _newer({f: v for f, v in told.items() if v is not None}, stamps, fact.at)
    changed = {f: v for f, v in newer.items() if row is None or getattr(row, f) != v}
    if changed or not fact.seen:
        told_at = stamps | dict.fromkeys(newer, fact.at.isoformat())
        await on.put(products, {"product_id": fact.product_id}, {**newer, "told_at": told_at})
    supply = newer.get("stock") or 0
    if supply > 0 or newer.get("withdrawn"):
        return await _arrived(on, fact.product_id, fact.at)
    return []


async def _arrived(on: Applying, product_id: str, at: datetime) -> list[Derived]:
    waiting = await waitlist.waiting(on.connection, on.store_id, product_id)
    return [Derived(customer_id=None, fact=StockArrived(at=at, product_id=product_id))] if waiting else []


async def _stock_requested(on: Applying, fact: StockRequested) -> list[Derived]:
    if not await waitlist.ask(on.connection, on.store_id, on.customer_id, fact.product_id, fact.at):
        return []
    derived = on.me(fact)
    row = (
        await on.connection.execute(
            select(products.c.stock, products.c.told_at).where(
                products.c.store_id == on.store_id, products.c.product_id == fact.product_id
            )
        )
    ).one_or_none()
    # The restock may have been told before the request that it answers.
    if row is not None and (row.stock or 0) > 0 and datetime.fromisoformat(row.told_at["stock"]) >= fact.at:
        derived += await _arrived(on, fact.product_id, fact.at)
    return derived


async def _watched(on: Applying, fact: ProductWatched | ProductUnwatched) -> list[Derived]:
    watching = isinstance(fact, ProductWatched)
    values: dict[str, Any] = {"changed_at": fact.at, "active": watching}
    if isinstance(fact, ProductWatched):
        price = select(products.c.price_minor).where(
            products.c.store_id == on.store_id, products.c.product_id == fact.product_id
        )
        values |= fact.model_dump(include={"target_price_minor", "notify_on_price_drop", "notify_on_restock"})
        values["price_when_watched_minor"] = await on.connection.scalar(price)
    else:
        values |= {"notify_on_price_drop": False, "notify_on_restock": False}
    statement = upsert(watchlist).values(
        store_id=on.store_id, customer_id=on.customer_id, product_id=fact.product_id, **values
    )
    key = [watchlist.c.store_id, watchlist.c.customer_id, watchlist.c.product_id]
    newest = watchlist.c.changed_at <= fact.at
    await on.connection.execute(statement.on_conflict_do_update(index_elements=key, set_=values, where=newest))
    return []


async def _opened(on: Applying, fact: MessageOpened) -> list[Derived]:
    await attribution.opened(on.connection, on.store_id, fact.message_id, fact.at)
    return []


async def _clicked(on: Applying, fact: LinkClicked) -> list[Derived]:
    await attribution.clicked(on.connection, on.store_id, on.customer_id, fact)
    return []


_CHANGES: dict[type[Fact], Callable[[Applying, Any], Awaitable[list[Derived]]]] = {
    ProfileChanged: _profile,
    ConsentChanged: _consent,
    Unsubscribed: _unsubscribed,
    SignedUp: _told_as_is,
    NewsletterSubscribed: _told_as_is,
    ProductViewed: _viewed,
    ViewTimed: _view_timed,
    CartLineChanged: _cart_change,
    CartReported: _cart_change,
    OrderPlaced: _ordered,
    OrderUpdated: _ordered,
    OrderRefunded: _order_undone,
    OrderCancelled: _order_undone,
    ProductChanged: _product,
    StockRequested: _stock_requested,
    ProductWatched: _watched,
    ProductUnwatched: _watched,
    MessageOpened: _opened,
    LinkClicked: _clicked,
}
