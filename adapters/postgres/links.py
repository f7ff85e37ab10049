"""What a link in a message stands for: the message, its store and its customer."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.tables import customers, messages, stores
from adapters.postgres.tenancy import across_stores, act_as
from domain.errors import Unavailable
from domain.values import Value


class MessageLink(Value):
    """A message as its own links see it.

    Attributes:
        customer_id: Who the recipient is now, after any joining of identities.
        locale: The language that the recipient reads, if known.
        urls: The shop's URLs behind the tracked links, by position.
    """

    message_id: UUID
    store_id: str
    store_name: str
    store_url: str
    customer_id: UUID
    locale: str | None = None
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
            customers.c.locale,
            messages.c.urls,
        )
        .join(stores, stores.c.store_id == messages.c.store_id)
        .join(customers, recipient, isouter=True)
        .where(messages.c.message_id == message_id)
    )
    whose = select(messages.c.store_id).where(messages.c.message_id == message_id)
    async with reading(across_stores(engine)) as connection:
        store_id = await connection.scalar(whose)
        if store_id is None:
            return None
        await act_as(connection, store_id)
        row = (await connection.execute(query.where(messages.c.store_id == store_id))).one_or_none()
    return None if row is None else MessageLink.model_validate(row, from_attributes=True)


@asynccontextmanager
async def reading(opening: AbstractAsyncContextManager[AsyncConnection]) -> AsyncIterator[AsyncConnection]:
    """Read for a page; whatever the database cannot do now is `Unavailable`."""
    try:
        async with opening as connection:
            yield connection
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable from problem
