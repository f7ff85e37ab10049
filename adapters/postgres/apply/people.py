"""People: who a customer is, and what they allow."""

from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Select, and_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres import silence
from adapters.postgres.apply import confirmation
from adapters.postgres.apply.applying import Applying, Derived
from adapters.postgres.statements import built_once
from adapters.postgres.tables import consents, customers
from domain import profile as profiles
from domain.consent import IDENTIFY, Confirmation
from domain.facts import (
    ConsentChanged,
    Fact,
    MarketingPaused,
    MarketingResumed,
    ProfileChanged,
    Topic,
    Unsubscribed,
)

_PAUSED = "marketing_paused_until"
_LINE = upsert(consents).on_conflict_do_nothing()


async def profile(on: Applying, fact: ProfileChanged) -> list[Derived]:
    """Keep the word that counts on each field."""
    row = (await on.connection.execute(*_customer(on.store_id, on.customer_id))).one()
    told = fact.model_dump(include={"email", "phone", "first_name", "last_name", "locale", "timezone"})
    said = {name: value for name, value in told.items() if value is not None}
    said |= {f"traits.{name}": value for name, value in fact.traits.items()}
    counting = {n: v for n, v in said.items() if profiles.counts(row.told_at, n, fact.at, chosen=fact.chosen)}
    if not counting:
        return []
    stamps = profiles.stamped(counting, fact.at, chosen=fact.chosen)
    values = {name: value for name, value in counting.items() if name in told}
    extra = {name: value for name, value in counting.items() if name not in told}
    traits = row.traits | {name.removeprefix("traits."): value for name, value in extra.items()}
    here = and_(customers.c.store_id == on.store_id, customers.c.customer_id == on.customer_id)
    change = update(customers).where(here).values(**values, traits=traits, told_at=row.told_at | stamps)
    await on.connection.execute(change)
    if "email" in values:
        await silence.settle(on.connection, on.store_id, on.customer_id)
        if values["email"] != row.email:
            return await confirmation.moved(on, fact.at)
    return []


@built_once
def _customer(store_id: str, customer_id: UUID) -> Select[Any]:
    return select(customers).where(customers.c.store_id == store_id, customers.c.customer_id == customer_id)


async def consent(on: Applying, fact: ConsentChanged) -> list[Derived]:
    """Write the word of consent down."""
    state, address = await confirmation.needed(on, fact)
    await _record(on, fact, fact.topic, granted=fact.granted, confirmation=state, address=address)
    if fact.granted or fact.source == IDENTIFY:  # an earlier "no" makes a later "yes" a word again
        await silence.settle(on.connection, on.store_id, on.customer_id, fact.channel)
    if not fact.granted:
        return await confirmation.withdrawn(on, fact.at)
    return await confirmation.asked(on, fact) if state is Confirmation.AWAITED else []


async def _record(
    on: Applying,
    fact: ConsentChanged | Unsubscribed,
    topic: Topic,
    *,
    granted: bool,
    confirmation: Confirmation | None = None,
    address: str | None = None,
) -> None:
    row = {
        "store_id": on.store_id,
        "consent_id": uuid5(on.event.id, f"{fact.channel}:{topic}"),
        "customer_id": on.customer_id,
        "channel": fact.channel,
        "topic": topic,
        "granted": granted,
        "confirmation": confirmation,
        "address": address,
        "source": fact.source[:200],
        "ip": fact.ip,
        "user_agent": fact.user_agent,
        "wording": fact.wording,
        "at": fact.at,
        "recorded_at": on.now,
    }
    await on.connection.execute(_LINE, row)


async def unsubscribed(on: Applying, fact: Unsubscribed) -> list[Derived]:
    """Withdraw consent, and silence the address."""
    await _record(on, fact, Topic.MARKETING, granted=False)
    await silence.asked_for(on.connection, on.store_id, on.customer_id, fact.channel, fact.at)
    return await confirmation.withdrawn(on, fact.at)


async def marketing_pause(on: Applying, fact: MarketingPaused | MarketingResumed) -> list[Derived]:
    """Note how long the customer wants no marketing; of two words at the same instant the longer pause counts."""
    until = fact.until if isinstance(fact, MarketingPaused) else None
    here = and_(customers.c.store_id == on.store_id, customers.c.customer_id == on.customer_id)
    row = (await on.connection.execute(*_customer(on.store_id, on.customer_id))).one()
    before, stamp = row.marketing_paused_until, fact.at.isoformat()
    at_once = row.told_at.get(_PAUSED) == stamp and before is not None and (until is None or until < before)
    if at_once or not profiles.counts(row.told_at, _PAUSED, fact.at):
        return []
    values = {_PAUSED: until, "told_at": row.told_at | {_PAUSED: stamp}}
    await on.connection.execute(update(customers).where(here).values(values))
    # What waits for the end of the pause has to be told that it comes earlier.
    sooner = before is not None and before > on.now and (until is None or until < before)
    return on.me(MarketingResumed(at=fact.at)) if sooner else []


async def told_as_is(on: Applying, fact: Fact) -> list[Derived]:
    """Pass on a fact that changes nothing but what journeys make of it."""
    return on.me(fact)
