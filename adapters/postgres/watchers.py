"""Watchers: the customers who watch a product, what price they want to hear of, and telling them of it.

The old price is the one that the customer saw: at the newest look before the price changed, or when watching. One
statement says for any number of watchers what they want; fan-out, the moment of sending and the message all ask it.

A price can concern a hundred thousand customers. The transaction that applies it writes one event for each, by pages,
and nothing else: the events are then routed in their customers' own lanes, like any other. Their `message_id` is made
of customer, product and price, so that a customer hears of a price once; their dedup keys outlive them (retention.py).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters import tracing
from adapters.postgres.identities import new_id
from adapters.postgres.queue import CHANNEL
from adapters.postgres.tables import runs
from domain import ids
from domain.events import Who

_PAGE = 1_000
# A target counts by itself. Without one the price must fall by the customer's percentage, or by the store's. In any
# case it must be lower than what the customer saw. Amounts in different currencies are never compared.
_WANTED = """
    select w.customer_id, p.price_minor, p.currency, p.price_since, seen.price_minor as old_minor,
           least(greatest(w.target_price_minor, seen.price_minor * (100 - coalesce(w.drop_percent,
               case when w.target_price_minor is null then cast(:percent as int) end)) / 100), seen.price_minor - 1
           ) as wanted_minor
      from products p
      join watchlist w on w.store_id = p.store_id and w.product_id = p.product_id
      left join lateral (
               select s.price_minor from (
                   select w.price_when_watched_minor as price_minor, w.changed_at as at
                   union all
                   select v.price_minor, v.at from views v
                    where v.store_id = w.store_id and v.customer_id = w.customer_id and v.product_id = w.product_id
                      and v.currency = p.currency and v.at < p.price_since
               ) s where s.price_minor is not null order by s.at desc limit 1
           ) seen on true
     where p.store_id = :store_id and p.product_id = :product_id and w.active and w.notify_on_price_drop
       and coalesce(w.currency, p.currency) = p.currency and w.changed_at < p.price_since
       and not exists (select from orders o where o.store_id = w.store_id and o.customer_id = w.customer_id
                          and coalesce(o.placed_at, o.updated_at) >= w.changed_at and o.lines @> cast(:line as jsonb))
"""
_ONE = text(f"{_WANTED} and w.customer_id = :customer_id")
_FELL = text(f"""
    select * from ({_WANTED}
       and (p.price_was_minor is null or p.price_minor < p.price_was_minor)
       and w.customer_id > :after and (cast(:only as uuid) is null or w.customer_id = :only)
    ) watcher where price_minor <= wanted_minor order by customer_id limit :page
""")  # noqa: S608 - made of constants
_TELL = text("""
    with told as (
        select * from unnest(cast(:ids as uuid[]), cast(:message_ids as text[]), cast(:customers as uuid[]),
                             cast(:shards as smallint[])) as e (id, message_id, customer_id, shard)
    ), new as (
        insert into dedup_keys (store_id, message_id, event_id) select :store_id, e.message_id, e.id from told e
        on conflict (store_id, message_id) do nothing
        returning event_id
    )
    insert into events (store_id, id, message_id, type, name, customer_id, payload, at, received_at, shard,
                        traceparent)
    select :store_id, e.id, e.message_id, 'track', :name, e.customer_id, cast(:payload as jsonb), :at, :now, e.shard,
           :traceparent
      from told e where (e.id in (select event_id from new)) is true
""")


async def wanted(
    connection: AsyncConnection, store_id: str, customer_id: UUID, product_id: str, percent: int
) -> Row[Any] | None:
    """Return what a product costs, what the customer saw it cost, and the most it may cost to be heard of.

    Returns:
        `price_minor`, `old_minor`, `wanted_minor`; None if the customer does not watch the product, or has bought it.
    """
    asked = _about(store_id, product_id, percent) | {"customer_id": customer_id}
    return (await connection.execute(_ONE, asked)).one_or_none()


async def tell_of_drop(
    connection: AsyncConnection, store_id: str, product_id: str, percent: int, now: datetime, only: UUID | None = None
) -> None:
    """Tell everybody who wants to hear of it, or one customer, that a price has fallen to what it is now."""
    asked: dict[str, Any] = _about(store_id, product_id, percent) | {"page": _PAGE, "only": only, "after": UUID(int=0)}
    while watchers := (await connection.execute(_FELL, asked)).all():
        first, customers = watchers[0], [watcher.customer_id for watcher in watchers]
        price = f"{product_id}\0{first.price_minor}\0{first.currency}"
        keys = [ids.internal_message_id("price-drop", customer, price) for customer in customers]
        tell = {"store_id": store_id, "name": "Watched Price Fell", "at": first.price_since, "now": now}
        await _tell(connection, product_id, customers, keys, tell)
        if len(watchers) < _PAGE:
            return
        asked["after"] = customers[-1]


async def tell_of_rise(
    connection: AsyncConnection, store_id: str, product_id: str, because: UUID, at: datetime, now: datetime
) -> None:
    """Tell everybody who is just being told of a low price that an event, `because`, has raised it."""
    under_way = select(runs.c.customer_id).where(
        runs.c.store_id == store_id,
        runs.c.product_id == product_id,
        runs.c.journey == "price-drop",
        runs.c.ended_at.is_(None),
    )
    customers = (await connection.execute(under_way.order_by(runs.c.customer_id))).scalars().all()
    tell = {"store_id": store_id, "name": "Watched Price Rose", "at": at, "now": now}
    for page in (customers[n : n + _PAGE] for n in range(0, len(customers), _PAGE)):
        keys = [ids.internal_message_id("price-rise", customer, str(because)) for customer in page]
        await _tell(connection, product_id, page, keys, tell)


async def _tell(
    connection: AsyncConnection, product_id: str, customers: Sequence[UUID], keys: Sequence[str], tell: dict[str, Any]
) -> None:
    payload = {"type": "track", "event": tell["name"], "properties": {"product_id": product_id}}
    each: dict[str, Any] = {
        "ids": [new_id() for _ in customers],
        "message_ids": list(keys),
        "customers": list(customers),
        "shards": [ids.shard(tell["store_id"], Who(customer_id=customer).lane) for customer in customers],
    }
    each |= {"payload": json.dumps(payload), "traceparent": tracing.traceparent()}
    await connection.execute(_TELL, tell | each)
    await connection.execute(text("select pg_notify(:channel, '')"), {"channel": CHANNEL})


def _about(store_id: str, product_id: str, percent: int) -> dict[str, Any]:
    line = json.dumps([{"product_id": product_id}])
    return {"store_id": store_id, "product_id": product_id, "percent": percent, "line": line}
