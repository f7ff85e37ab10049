"""Questions about what was stored: recommendations, a customer's journeys, the depth of the queue."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.tenancy import across_stores, as_store
from domain.errors import NotFound, Unavailable
from domain.values import Value


class BestSeller(Value):
    """A product worth recommending; `price` in minor units of its currency."""

    product_id: str
    name: str | None
    category: str | None
    price: int | None
    currency: str | None
    url: str | None
    image_url: str | None


class Sent(Value):
    """One message of a run: what became of it and why."""

    step: str
    template: str
    channel: str
    state: str
    because: str | None
    claimed_at: datetime
    settled_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    converted_at: datetime | None
    order_id: str | None
    order_value_minor: int | None


class Passage(Value):
    """One run of a customer.

    Attributes:
        step: The last step that asked to send; None before the first.
    """

    run_id: UUID
    journey: str
    workflow_id: str
    plan_version: int
    product_id: str | None
    order_id: str | None
    since: datetime
    ended_at: datetime | None
    outcome: str
    because: str | None
    step: str | None
    messages: tuple[Sent, ...]


class Depth(Value):
    """How many events wait, and for how long the oldest has been waiting.

    Attributes:
        pending: Accepted, not understood yet.
        applied: Understood, with commands still owed to Temporal.
        parked: Given up after retries; `journeys events retry` puts them back.
    """

    pending: int
    applied: int
    parked: int
    oldest_age: timedelta | None


# A customer is found by our id or by any identity that the shop knows; a merged one is the one it was merged into.
_CUSTOMER = """
    with recursive found as (
        select customer_id, merged_into, rank from (
            select c.customer_id, c.merged_into, 0 as rank from customers c
            where c.store_id = :store_id and c.customer_id = cast(:own as uuid)
            union all
            select c.customer_id, c.merged_into,
                   case i.kind when 'user' then 1 when 'anonymous' then 2 else 3 end
            from identities i
            join customers c on c.store_id = i.store_id and c.customer_id = i.customer_id
            where i.store_id = :store_id
              and (i.kind, i.value) in (('user', :name), ('anonymous', :name), ('email', lower(:name)))
        ) candidates order by rank limit 1
    ), chain as (
        select customer_id, merged_into from found
        union
        select c.customer_id, c.merged_into from chain
        join customers c on c.store_id = :store_id and c.customer_id = chain.merged_into
    ), customer as (
        select customer_id from chain where merged_into is null
    ), family as (
        select customer_id from customer
        union
        select c.customer_id from family
        join customers c on c.store_id = :store_id and c.merged_into = family.customer_id
    )
"""

_IS = text(f"{_CUSTOMER} select customer_id from customer")  # noqa: S608 - a constant, not a value

# As an array: how many a recursion finds is a guess of the planner's, and for many it would rather read all rows.
_THEIRS = "any(array(select customer_id from family))"

_RUNS = text(f"""{_CUSTOMER}
    select r.run_id, r.journey, r.workflow_id, r.plan_version, r.product_id, r.order_id, r.since, r.ended_at,
           r.outcome, r.because
    from runs r where r.store_id = :store_id and r.customer_id = {_THEIRS} order by r.since, r.run_id
""")  # noqa: S608

_MESSAGES = text("""
    select run_id, step, template, channel, state, because, claimed_at, settled_at, opened_at, clicked_at,
           converted_at, order_id, order_value_minor
    from messages where store_id = :store_id and run_id = any(:runs)
    order by claimed_at, message_id
""")

_CATEGORY = text(f"""{_CUSTOMER}
    select category from (
        select coalesce(v.category, p.category) as category, v.at
        from views v
        left join products p on p.store_id = v.store_id and p.product_id = v.product_id
        where v.store_id = :store_id and v.customer_id = {_THEIRS} order by v.at desc limit 50
    ) latest
    where category is not null group by category order by count(*) desc, max(at) desc limit 1
""")  # noqa: S608

_BEST_SELLERS = text("""
    select product_id, name, category, price_minor as price, currency, url, image_url
    from products
    where store_id = :store_id and category = :category and not withdrawn and coalesce(stock, 1) > 0
    order by sold desc, product_id limit 6
""")

_DEPTH = text("""
    select count(*) filter (where state = 'pending') as pending, count(*) filter (where state = 'applied') as applied,
           (select count(*) from events where state = 'parked') as parked, min(received_at) as oldest
    from events where state in ('pending', 'applied')
""")


async def recommendations(engine: AsyncEngine, store_id: str, name: str) -> tuple[str | None, list[BestSeller]]:
    """Return the category that dominates a customer's last 50 views, and the six best sellers in it.

    Raises:
        Unavailable: The database cannot be read now.
    """
    found = await _rows(as_store(engine, store_id), _CATEGORY, {"store_id": store_id, **_identity(name)})
    if not found:
        return None, []
    category = found[0].category
    products = await _rows(as_store(engine, store_id), _BEST_SELLERS, {"store_id": store_id, "category": category})
    return category, [BestSeller.model_validate(row, from_attributes=True) for row in products]


async def journeys_of(engine: AsyncEngine, store_id: str, name: str) -> tuple[UUID, list[Passage]]:
    """Return a customer's id and runs, oldest first, each with what was sent or withheld.

    Args:
        engine: The database.
        store_id: The store asking.
        name: Our id of the customer, the shop's user id, an anonymous id or an e-mail address.

    Raises:
        NotFound: The store has no such customer.
        Unavailable: The database cannot be read now.
    """
    who = {"store_id": store_id, **_identity(name)}
    customer = await _rows(as_store(engine, store_id), _IS, who)
    if not customer:
        raise NotFound("there is no such customer")
    runs = await _rows(as_store(engine, store_id), _RUNS, who)
    sent: dict[UUID, list[Sent]] = {run.run_id: [] for run in runs}
    for row in await _rows(as_store(engine, store_id), _MESSAGES, {"store_id": store_id, "runs": list(sent)}):
        sent[row.run_id].append(Sent.model_validate(row, from_attributes=True))
    passages = [
        Passage(
            **run._asdict(),
            step=sent[run.run_id][-1].step if sent[run.run_id] else None,
            messages=tuple(sent[run.run_id]),
        )
        for run in runs
    ]
    return customer[0].customer_id, passages


async def queue_depth(engine: AsyncEngine, now: datetime) -> Depth:
    """Count the events of all stores that wait for a router; numbers only.

    Raises:
        Unavailable: The database cannot be read now.
    """
    row = (await _rows(across_stores(engine), _DEPTH, {}))[0]
    age = None if row.oldest is None else max(now - row.oldest, timedelta())
    return Depth(pending=row.pending, applied=row.applied, parked=row.parked, oldest_age=age)


async def alive(engine: AsyncEngine) -> None:
    """Ask the database for a sign of life.

    Raises:
        Unavailable: There is none.
    """
    await _rows(engine.connect(), text("select 1"), {})


def _identity(name: str) -> dict[str, Any]:
    name = name.replace("\0", "")
    try:
        return {"name": name, "own": UUID(name)}
    except ValueError:
        return {"name": name, "own": None}


async def _rows(
    opening: AbstractAsyncContextManager[AsyncConnection], query: Any, parameters: dict[str, Any]
) -> list[Any]:
    try:
        async with opening as connection:
            return list((await connection.execute(query, parameters)).all())
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable("the database cannot be read now") from problem
