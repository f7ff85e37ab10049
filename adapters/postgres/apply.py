"""Apply: what a fact changes in the database, and which facts that makes true in turn.

Everything here gives the same state whatever the order in which facts arrive (G2): fields keep the newest word,
carts are a snapshot and the changes after it, orders know their status before they know themselves. A repeated
fact returns nothing.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Table, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import attribution
from adapters.postgres.identities import save_cart
from adapters.postgres.tables import (
    carts,
    consents,
    customers,
    orders,
    products,
    suppressions,
    views,
    waitlist,
    watchlist,
)
from domain.cart import Cart
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


class Derived(Value):
    """A fact that became true, and for whom (None: for no customer in particular)."""

    customer_id: UUID | None
    fact: AnyFact


class Applying:
    """One event being applied to one customer's state, under the customer's lock."""

    def __init__(self, connection: AsyncConnection, event: Event, customer_id: UUID | None, now: datetime) -> None:
        self.connection = connection
        self.event = event
        self.store_id = event.store_id
        self.now = now
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
    return []


def _newer(told: dict[str, Any], stamps: dict[str, str], at: datetime) -> dict[str, Any]:
    """Keep the fields that nobody has told us about since."""
    return {f: v for f, v in told.items() if f not in stamps or datetime.fromisoformat(stamps[f]) <= at}


async def _consent(on: Applying, fact: ConsentChanged) -> list[Derived]:
    if await _said_again(on, fact):
        return []
    await _record_consent(
        on, fact.channel, fact.topic, granted=fact.granted, source=fact.source, ip=fact.ip, at=fact.at
    )
    if fact.granted and fact.topic in {Topic.MARKETING, Topic.NEWSLETTER}:
        # Asking for mail again takes back an earlier unsubscribe, but never a bounce or a complaint.
        lift = suppressions.delete().where(
            suppressions.c.store_id == on.store_id,
            suppressions.c.channel == fact.channel,
            suppressions.c.reason == "unsubscribed",
            suppressions.c.at < fact.at,
            suppressions.c.address == _address(on),
        )
        await on.connection.execute(lift)
    return []


async def _said_again(on: Applying, fact: ConsentChanged) -> bool:
    """Tell whether a client only repeats a trait that it keeps.

    Clients send the traits they know with every `identify`, so `newsletter: true` from last year must not outvote
    yesterday's unsubscribe: from that source only a change is a word.
    """
    if fact.source != "identify":
        return False
    last = (
        select(consents.c.granted)
        .where(consents.c.store_id == on.store_id, consents.c.customer_id == on.customer_id)
        .where(consents.c.channel == fact.channel, consents.c.topic == fact.topic)
        .where(consents.c.source == fact.source, consents.c.at <= fact.at)
        .order_by(consents.c.at.desc())
        .limit(1)
    )
    return bool(await on.connection.scalar(last) is fact.granted)


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


def _address(on: Applying) -> Any:
    return (
        select(customers.c.email)
        .where(customers.c.store_id == on.store_id, customers.c.customer_id == on.customer_id)
        .scalar_subquery()
    )


async def _unsubscribed(on: Applying, fact: Unsubscribed) -> list[Derived]:
    source, ip = fact.source, fact.ip
    await _record_consent(on, fact.channel, Topic.MARKETING, granted=False, source=source, ip=ip, at=fact.at)
    address = await on.connection.scalar(select(_address(on)))
    # The ledger knows whether the customer has asked for mail again since; a late unsubscribe does not undo that.
    asked_again = await on.connection.scalar(
        select(func.count())
        .select_from(consents)
        .where(consents.c.store_id == on.store_id, consents.c.customer_id == on.customer_id)
        .where(consents.c.channel == fact.channel, consents.c.granted, consents.c.at > fact.at)
        .where(consents.c.topic.in_([Topic.MARKETING, Topic.NEWSLETTER]))
    )
    if address is not None and not asked_again:
        row = {"store_id": on.store_id, "channel": fact.channel, "address": address, "at": fact.at}
        key = [suppressions.c[name] for name in ("store_id", "channel", "address", "reason")]
        statement = upsert(suppressions).values(**row, reason="unsubscribed")
        newest = {"at": func.greatest(suppressions.c.at, fact.at)}
        await on.connection.execute(statement.on_conflict_do_update(index_elements=key, set_=newest))
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
    mine = known is None or known.customer_id == on.customer_id
    details = {
        "total_minor": fact.total_minor,
        "currency": fact.currency,
        "lines": [line.model_dump(mode="json") for line in fact.lines],
        "coupon": fact.coupon,
        "updated_at": fact.at,
    }
    if known is None:
        row = {"store_id": on.store_id, "order_id": fact.order_id, "customer_id": on.customer_id, "status": "placed"}
        placed_at = fact.at if isinstance(fact, OrderPlaced) else None
        await on.connection.execute(upsert(orders).values(**row, **details, placed_at=placed_at))
    elif mine:
        if isinstance(fact, OrderPlaced) and known.placed_at is not None:
            return []  # told before, by another event
        values: dict[str, Any] = details if fact.at >= known.updated_at or not known.lines else {}
        if isinstance(fact, OrderPlaced):
            values = values | {"placed_at": fact.at}
        if values:
            await on.connection.execute(update(orders).where(here).values(values))
        if isinstance(fact, OrderUpdated):
            return []  # news about a purchase that has had its effect
    if isinstance(fact, OrderPlaced) and mine:
        await _sold(on, fact)
        await attribution.credit(on.connection, on.store_id, on.customer_id, fact)
    await save_cart(on.connection, on.store_id, on.customer_id, (await _cart(on)).with_order(fact.at))
    await _left_waitlist(on, [line.product_id for line in fact.lines], fact.at)
    # An update of an order we have not seen is a purchase too: it ends what a purchase ends, and begins nothing.
    return on.me(fact if isinstance(fact, OrderPlaced) else OrderPlaced(**fact.model_dump(exclude={"kind"})))


async def _sold(on: Applying, order: OrderPlaced) -> None:
    # Sorted, so that two orders of the same products never wait for each other.
    for line in sorted(order.lines, key=lambda line: line.product_id):
        row = {"store_id": on.store_id, "product_id": line.product_id, "sold": line.quantity, "name": line.name}
        more = {"sold": products.c.sold + line.quantity}
        statement = upsert(products).values(**row, told_at={})
        key = [products.c.store_id, products.c.product_id]
        await on.connection.execute(statement.on_conflict_do_update(index_elements=key, set_=more))


async def _left_waitlist(on: Applying, product_ids: Iterable[str], at: datetime) -> None:
    leave = update(waitlist).where(
        waitlist.c.store_id == on.store_id,
        waitlist.c.customer_id == on.customer_id,
        waitlist.c.product_id.in_(list(product_ids)),
        waitlist.c.asked_at <= at,
    )
    await on.connection.execute(leave.values(left_at=at))


async def _order_undone(on: Applying, fact: OrderRefunded | OrderCancelled) -> list[Derived]:
    status = "refunded" if isinstance(fact, OrderRefunded) else "cancelled"
    row = {"store_id": on.store_id, "order_id": fact.order_id, "customer_id": on.customer_id, "updated_at": fact.at}
    statement = upsert(orders).values(**row, status=status, lines=[])
    key = [orders.c.store_id, orders.c.order_id]
    # The refund may come before the order; then the order finds its status already there.
    change = statement.on_conflict_do_update(index_elements=key, set_={"status": status})
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
    query = (
        select(func.count())
        .select_from(waitlist)
        .where(waitlist.c.store_id == on.store_id, waitlist.c.product_id == product_id)
        .where(waitlist.c.told_at.is_(None), waitlist.c.left_at.is_(None))
    )
    waiting = await on.connection.scalar(query)
    return [Derived(customer_id=None, fact=StockArrived(at=at, product_id=product_id))] if waiting else []


async def _stock_requested(on: Applying, fact: StockRequested) -> list[Derived]:
    statement = upsert(waitlist).values(
        store_id=on.store_id, product_id=fact.product_id, customer_id=on.customer_id, asked_at=fact.at
    )
    # Asking again after having been told, or having bought, is a new place at the end of the queue.
    again = or_(waitlist.c.told_at.is_not(None), waitlist.c.left_at.is_not(None))
    await on.connection.execute(
        statement.on_conflict_do_update(
            index_elements=[waitlist.c.store_id, waitlist.c.product_id, waitlist.c.customer_id],
            set_={"asked_at": fact.at, "chosen_at": None, "told_at": None, "left_at": None},
            where=and_(again, waitlist.c.asked_at < fact.at),
        )
    )
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
