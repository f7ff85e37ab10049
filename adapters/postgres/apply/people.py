"""People: who a customer is, and what they allow."""

from datetime import datetime
from uuid import uuid5

from sqlalchemy import and_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres import silence
from adapters.postgres.apply.applying import Applying, Derived, newer
from adapters.postgres.tables import consents, customers
from domain.consent import IDENTIFY
from domain.facts import ConsentChanged, Fact, ProfileChanged, Topic, Unsubscribed


async def profile(on: Applying, fact: ProfileChanged) -> list[Derived]:
    """Keep the newest word on each field."""
    here = and_(customers.c.store_id == on.store_id, customers.c.customer_id == on.customer_id)
    row = (await on.connection.execute(select(customers).where(here))).one()
    told = fact.model_dump(include={"email", "phone", "first_name", "last_name", "locale", "timezone"})
    values = newer({f: v for f, v in told.items() if v is not None}, row.told_at, fact.at)
    extra = newer({f"traits.{k}": v for k, v in fact.traits.items()}, row.told_at, fact.at)
    if not values and not extra:
        return []
    stamps = dict.fromkeys([*values, *extra], fact.at.isoformat())
    traits = row.traits | {name.removeprefix("traits."): value for name, value in extra.items()}
    change = update(customers).where(here).values(**values, traits=traits, told_at=row.told_at | stamps)
    await on.connection.execute(change)
    if "email" in values:
        await silence.settle(on.connection, on.store_id, on.customer_id)
    return []


async def consent(on: Applying, fact: ConsentChanged) -> list[Derived]:
    """Write the word of consent down."""
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


async def unsubscribed(on: Applying, fact: Unsubscribed) -> list[Derived]:
    """Withdraw consent, and silence the address."""
    source, ip = fact.source, fact.ip
    await _record_consent(on, fact.channel, Topic.MARKETING, granted=False, source=source, ip=ip, at=fact.at)
    await silence.asked_for(on.connection, on.store_id, on.customer_id, fact.channel, fact.at)
    return []


async def told_as_is(on: Applying, fact: Fact) -> list[Derived]:
    """Pass on a fact that changes nothing but what journeys make of it."""
    return on.me(fact)
