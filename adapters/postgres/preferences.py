"""What a customer has chosen: the topics, a pause, the language, the time zone.

What was said on our pages a moment ago may not be applied yet. Whoever looks at the page again must find it all the
same, so it is laid over what the tables say, by the rules by which it is going to be applied.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import consents, queue, sending_rules
from adapters.postgres.links import reading
from adapters.postgres.tables import customers, stores, suppressions
from adapters.postgres.tenancy import as_store
from domain import profile
from domain.consent import Confirmation, ConsentRecord, allows, asked_for_mail
from domain.decoding import facts
from domain.facts import ConsentChanged, Fact, MarketingPaused, MarketingResumed, ProfileChanged, Topic, Unsubscribed
from domain.values import UtcTime, Value


class Preferences(Value):
    """What a customer has chosen, or what is true while nothing is chosen.

    Attributes:
        topics: Those that the customer allows by e-mail.
        paused_until: No marketing before then; None, or past: it is not paused.
        locale: As a BCP 47 tag or with an underscore, as it was told; None if it is unknown.
        timezone: As it was told, which may be none that exists; None if it is unknown.
        store_timezone: What counts as long as the customer's own is unknown.
        languages: Those that the store writes in; empty if it does not say.
    """

    topics: frozenset[Topic]
    paused_until: UtcTime | None
    locale: str | None
    timezone: str | None
    store_timezone: str
    languages: tuple[str, ...]


async def of_customer(engine: AsyncEngine, store_id: str, customer_id: UUID) -> Preferences:
    """Read the preferences of a customer.

    Raises:
        Unavailable: The database cannot be reached.
    """
    async with reading(as_store(engine, store_id)) as connection:
        # First what is not applied: an event that is applied meanwhile counts twice, which changes nothing.
        told = [f for event in await queue.told_on_pages(connection, store_id, customer_id) for f in facts(event)]
        here = and_(customers.c.store_id == store_id, customers.c.customer_id == customer_id)
        columns = (customers.c[name] for name in ("email", "locale", "timezone", "marketing_paused_until", "told_at"))
        customer = (await connection.execute(select(*columns).where(here))).one_or_none()
        zone = await connection.scalar(select(stores.c.timezone).where(stores.c.store_id == store_id))
        rules = await sending_rules.of_store(connection, store_id)
        address = None if customer is None else customer.email
        return Preferences(
            topics=await _topics(connection, store_id, customer_id, address, told),
            store_timezone=zone or "UTC",
            languages=rules.languages,
            **_profile(customer, told),
        )


async def _topics(
    connection: AsyncConnection, store_id: str, customer_id: UUID, address: str | None, told: Sequence[Fact]
) -> frozenset[Topic]:
    records = await consents.of_customer(connection, store_id, customer_id)
    unsubscribed = select(suppressions.c.at).where(
        suppressions.c.store_id == store_id,
        suppressions.c.channel == "email",
        suppressions.c.address == address,
        suppressions.c.reason == "unsubscribed",
    )
    silent_since = list((await connection.execute(unsubscribed)).scalars())
    for fact in told:
        match fact:
            case ConsentChanged(channel="email"):
                records.append(await _as_recorded(connection, store_id, fact))
            case Unsubscribed(channel="email"):
                records.append(ConsentRecord(topic=Topic.MARKETING, granted=False, at=fact.at, source=fact.source))
                silent_since.append(fact.at)
    asked_again = asked_for_mail(records, address)
    if silent_since and (asked_again is None or asked_again <= max(silent_since)):
        return frozenset()
    return frozenset(topic for topic in Topic if allows(records, topic, address))


async def _as_recorded(connection: AsyncConnection, store_id: str, fact: ConsentChanged) -> ConsentRecord:
    """Make the line of a word that was said through a link: it counts for the address that the mail went to."""
    proved = fact.message_id and await consents.mailbox(connection, store_id, fact.message_id)
    given = Confirmation.GIVEN if proved else None
    return ConsentRecord(
        topic=fact.topic, granted=fact.granted, at=fact.at, source=fact.source, confirmation=given, address=proved
    )


def _profile(customer: Row[Any] | None, told: Sequence[Fact]) -> dict[str, Any]:
    """Lay what was told over the customer's row."""
    values: dict[str, Any] = dict.fromkeys(("locale", "timezone", "marketing_paused_until"))
    stamps: dict[str, str] = {}
    if customer is not None:
        values, stamps = {name: getattr(customer, name) for name in values}, customer.told_at
    for fact in told:
        said, chosen = _said(fact)
        counting = {n: v for n, v in said.items() if profile.counts(stamps, n, fact.at, chosen=chosen)}
        values, stamps = values | counting, stamps | profile.stamped(counting, fact.at, chosen=chosen)
    values["paused_until"] = values.pop("marketing_paused_until")
    return values


def _said(fact: Fact) -> tuple[dict[str, str | datetime | None], bool]:
    match fact:
        case MarketingPaused(until=until):
            return {"marketing_paused_until": until}, False
        case MarketingResumed():
            return {"marketing_paused_until": None}, False
        case ProfileChanged(chosen=chosen):
            told = {"locale": fact.locale, "timezone": fact.timezone}
            return {name: value for name, value in told.items() if value is not None}, chosen
    return {}, False
