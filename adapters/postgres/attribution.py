"""Attribution in the database: opens, clicks, and the order a message is credited with, whichever comes first."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import messages, orders
from domain.attribution import WINDOW, Candidate, credited
from domain.delivery import Result
from domain.facts import LinkClicked, OrderPlaced


async def opened(connection: AsyncConnection, store_id: str, message_id: UUID, at: datetime) -> None:
    """Note the first time a message was opened; one of which nobody knew whether it was sent has been."""
    query = update(messages).where(messages.c.store_id == store_id, messages.c.message_id == message_id)
    await connection.execute(query.values(opened_at=func.least(func.coalesce(messages.c.opened_at, at), at)))
    await connection.execute(query.where(messages.c.state == Result.UNKNOWN).values(state=Result.SENT))


async def clicked(connection: AsyncConnection, store_id: str, customer_id: UUID, fact: LinkClicked) -> None:
    """Note the newest click, which is also an open, and credit the orders that are already known to follow it."""
    await opened(connection, store_id, fact.message_id, fact.at)
    query = update(messages).where(messages.c.store_id == store_id, messages.c.message_id == fact.message_id)
    newest = func.greatest(func.coalesce(messages.c.clicked_at, fact.at), fact.at)
    await connection.execute(query.values(clicked_at=newest))
    followed = (
        select(orders)
        .where(orders.c.store_id == store_id, orders.c.customer_id == customer_id)
        .where(orders.c.placed_at >= fact.at, orders.c.placed_at <= fact.at + WINDOW)
        .order_by(orders.c.placed_at)
    )
    for row in (await connection.execute(followed)).all():
        await credit(connection, store_id, customer_id, _order(row))


async def credit_all(connection: AsyncConnection, store_id: str, customer_id: UUID) -> None:
    """Credit a customer's orders anew: another identity of the customer may have got the message that brought one."""
    mine = (orders.c.store_id == store_id) & (orders.c.customer_id == customer_id)
    query = select(orders).where(mine, orders.c.placed_at.is_not(None)).order_by(orders.c.placed_at)
    for row in (await connection.execute(query)).all():
        await credit(connection, store_id, customer_id, _order(row))


async def credit(connection: AsyncConnection, store_id: str, customer_id: UUID, order: OrderPlaced) -> None:
    """Credit an order to the message it came from, or to nobody; a better claim replaces an earlier one."""
    mine = (messages.c.store_id == store_id) & (messages.c.customer_id == customer_id)
    sent = select(messages).where(mine, messages.c.state.in_([Result.SENT, Result.UNKNOWN, "sending"]))
    candidates = [
        Candidate(
            message_id=row.message_id,
            sent_at=row.sending_at or row.claimed_at,
            clicked_at=row.clicked_at,
            discount_code=row.discount_code,
        )
        for row in (await connection.execute(sent)).all()
    ]
    winner = credited(candidates, order.at, order.coupon, _message_of(order.ref))
    if winner is None:
        return
    taken_back = update(messages).where(mine, messages.c.order_id == order.order_id, messages.c.message_id != winner)
    await connection.execute(taken_back.values(converted_at=None, order_id=None, order_value_minor=None))
    # A message is credited with the first order that it brought, whichever we heard of first.
    first = or_(messages.c.order_id.is_(None), messages.c.converted_at > order.at)
    won = update(messages).where(mine, messages.c.message_id == winner, first)
    value = {"converted_at": order.at, "order_id": order.order_id, "order_value_minor": order.total_minor}
    await connection.execute(won.values(value))


def _order(row: Row[Any]) -> OrderPlaced:
    told = {name: getattr(row, name) for name in ("order_id", "total_minor", "currency", "coupon")}
    return OrderPlaced(at=row.placed_at, **told)


def _message_of(ref: str | None) -> UUID | None:
    """Read the message id back from the `ref` that our links carry (`jn_<hex>`)."""
    if ref is None or not ref.startswith("jn_"):
        return None
    try:
        return UUID(hex=ref[3:])
    except ValueError:
        return None
