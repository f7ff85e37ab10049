"""What a link in a message stands for: the message, its store, its customer, and what the customer allows."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

from sqlalchemy import and_, exists, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.tables import consents, customers, messages, stores, suppressions
from adapters.postgres.tenancy import across_stores, act_as, as_store
from domain.consent import ConsentRecord, allows
from domain.errors import Unavailable
from domain.facts import Topic
from domain.values import Value


class MessageLink(Value):
    """A message as its own links see it.

    Attributes:
        customer_id: Who the recipient is now, after any joining of identities.
        urls: The shop's URLs behind the tracked links, by position.
    """

    message_id: UUID
    store_id: str
    store_name: str
    store_url: str
    customer_id: UUID
    urls: tuple[str, ...] = ()


async def message(engine: AsyncEngine, message_id: UUID) -> MessageLink | None:
    """Find the message that a link token names.

    This looks across stores: a token that we signed names the message, and thereby the one store that it may act in
    (G7). Never call it with an id that did not come out of a token.

    Raises:
        Unavailable: The database cannot be reached.
    """
    recipient = and_(customers.c.store_id == messages.c.store_id, customers.c.customer_id == messages.c.customer_id)
    query = (
        select(
            messages.c.message_id,
            messages.c.store_id,
            stores.c.name.label("store_name"),
            stores.c.url.label("store_url"),
            func.coalesce(customers.c.merged_into, messages.c.customer_id).label("customer_id"),
            messages.c.urls,
        )
        .join(stores, stores.c.store_id == messages.c.store_id)
        .join(customers, recipient, isouter=True)
        .where(messages.c.message_id == message_id)
    )
    whose = select(messages.c.store_id).where(messages.c.message_id == message_id)
    async with _reading(across_stores(engine)) as connection:
        store_id = await connection.scalar(whose)
        if store_id is None:
            return None
        await act_as(connection, store_id)
        row = (await connection.execute(query.where(messages.c.store_id == store_id))).one_or_none()
    return None if row is None else MessageLink.model_validate(row, from_attributes=True)


async def topics(engine: AsyncEngine, store_id: str, customer_id: UUID) -> dict[Topic, bool]:
    """Read which topics a customer allows by e-mail now.

    Raises:
        Unavailable: The database cannot be reached.
    """
    ledger = select(consents.c.topic, consents.c.granted, consents.c.at, consents.c.source).where(
        consents.c.store_id == store_id,
        consents.c.customer_id == customer_id,
        consents.c.channel == "email",
        consents.c.topic.in_(list(Topic)),
    )
    unsubscribed = select(
        exists().where(
            customers.c.store_id == store_id,
            customers.c.customer_id == customer_id,
            suppressions.c.store_id == store_id,
            suppressions.c.channel == "email",
            suppressions.c.address == customers.c.email,
            suppressions.c.reason == "unsubscribed",
        )
    )
    async with _reading(as_store(engine, store_id)) as connection:
        rows = (await connection.execute(ledger)).all()
        silent = bool(await connection.scalar(unsubscribed))
    records = [ConsentRecord.model_validate(row, from_attributes=True) for row in rows]
    return {topic: not silent and allows(records, topic) for topic in Topic}


@asynccontextmanager
async def _reading(opening: AbstractAsyncContextManager[AsyncConnection]) -> AsyncIterator[AsyncConnection]:
    """Read; whatever the database cannot do now is `Unavailable`."""
    try:
        async with opening as connection:
            yield connection
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable from problem
