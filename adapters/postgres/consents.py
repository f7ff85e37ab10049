"""The consent ledger as it is stored. Lines are added and never changed; the database refuses anything else.

What they mean is derived in `domain/consent.py`. Only two things may touch a line that is there: two identities that
turn out to be one person (its customer changes, nothing else), and an erasure, which says so (migration 0012).
"""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.statements import built_once
from adapters.postgres.tables import consents, customers, messages
from adapters.postgres.tenancy import as_store
from domain.consent import ConsentRecord, allows, awaiting, understood
from domain.errors import Unavailable
from domain.facts import Topic
from domain.values import UtcTime, Value


class Line(Value):
    """One line, with its evidence.

    Attributes:
        channel, topic: As stored; one that we do not know counts as a refusal, if it is one.
        confirmation: `awaited`: it counts for nothing until it is confirmed. `given`: it was said through a link in a
            mail, and counts for the address that the mail went to.
        at: When it was said.
        recorded_at: When it was written down.
        wording: The version of the text that the customer saw.
    """

    channel: str
    topic: str
    granted: bool
    confirmation: str | None
    source: str
    at: UtcTime
    recorded_at: UtcTime
    ip: str | None
    user_agent: str | None
    wording: str | None


class Pending(NamedTuple):
    """What a customer has yet to confirm.

    Attributes:
        ever: Whether there has ever been anything to confirm.
        topics: What there is now, for the customer's address.
    """

    ever: bool
    topics: frozenset[Topic]


async def of_customer(
    connection: AsyncConnection, store_id: str, customer_id: UUID, channel: str = "email"
) -> list[ConsentRecord]:
    """Read what a customer said about a channel."""
    return understood((await connection.execute(*_words(store_id, customer_id, channel))).all())


def words(store_id: str, customer_id: UUID, channel: str) -> Select[Any]:
    """Return the query for what a customer said about a channel; `domain.consent.understood` reads its rows."""
    columns = (consents.c[name] for name in ("topic", "granted", "at", "source", "confirmation", "address"))
    mine = (consents.c.store_id == store_id, consents.c.customer_id == customer_id, consents.c.channel == channel)
    return select(*columns).where(*mine)


_words = built_once(words)


async def pending(connection: AsyncConnection, store_id: str, customer_id: UUID) -> Pending:
    """Say what a customer with an address has yet to confirm."""
    records = await of_customer(connection, store_id, customer_id)
    if all(record.confirmation is None for record in records):
        return Pending(ever=False, topics=frozenset())
    address = await address_of(connection, store_id, customer_id)
    return Pending(ever=True, topics=frozenset() if address is None else awaiting(records, address))


async def address_of(connection: AsyncConnection, store_id: str, customer_id: UUID) -> str | None:
    """Return the address that a customer is written to."""
    address: str | None = await connection.scalar(*_address(store_id, customer_id))
    return address


@built_once
def _address(store_id: str, customer_id: UUID) -> Select[str | None]:
    return select(customers.c.email).where(customers.c.store_id == store_id, customers.c.customer_id == customer_id)


async def mailbox(connection: AsyncConnection, store_id: str, message_id: UUID) -> str | None:
    """Return the address that a message went to: whoever follows its links reads the mails of that address."""
    sent = select(messages.c.address).where(messages.c.store_id == store_id, messages.c.message_id == message_id)
    return await connection.scalar(sent)


async def to_confirm(
    engine: AsyncEngine, store_id: str, customer_id: UUID, message_id: UUID
) -> tuple[frozenset[Topic], bool]:
    """Say what the link of a message confirms now, and whether its address gets any marketing as it is.

    Raises:
        Unavailable: The database cannot be reached.
    """
    try:
        async with as_store(engine, store_id) as connection:
            address = await mailbox(connection, store_id, message_id)
            records = await of_customer(connection, store_id, customer_id)
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable from problem
    if address is None:
        return frozenset(), False
    return awaiting(records, address), any(allows(records, topic, address) for topic in Topic)


async def ledger(
    engine: AsyncEngine, store_id: str, customer_id: UUID
) -> tuple[list[Line], dict[Topic, bool], frozenset[Topic]]:
    """Return every line about a customer, oldest first; what they allow by e-mail now, and what awaits confirmation.

    Raises:
        Unavailable: The database cannot be reached.
    """
    mine = select(consents).where(consents.c.store_id == store_id, consents.c.customer_id == customer_id)
    try:
        async with as_store(engine, store_id) as connection:
            lines = (await connection.execute(mine.order_by(consents.c.at, consents.c.consent_id))).all()
            address = await address_of(connection, store_id, customer_id)
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable from problem
    records = understood(line for line in lines if line.channel == "email")
    allowed = {topic: allows(records, topic, address) for topic in Topic}
    return [Line.model_validate(line, from_attributes=True) for line in lines], allowed, awaiting(records, address)


async def allow_erasure(connection: AsyncConnection) -> None:
    """Let the rest of this transaction delete lines."""
    await connection.execute(text("select set_config('journeys.erasure', 'on', true)"))
