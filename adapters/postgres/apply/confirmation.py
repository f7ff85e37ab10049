"""Confirmation: where a store asks for double opt-in, who answers for an address is whoever reads its mails.

The rule is the one of the moment at which a word is written down: what was there before the store switched it on keeps
counting, and what awaits a confirmation goes on waiting after it was switched off (docs/consent.md).
"""

from datetime import datetime

from adapters.postgres import consents
from adapters.postgres.apply.applying import Applying, Derived
from domain.consent import IDENTIFY, Confirmation, awaiting
from domain.facts import ConsentChanged, ConsentConfirmed, ConsentPending, ConsentWithdrawn
from domain.plans import DoubleOptInPlan


async def needed(on: Applying, fact: ConsentChanged) -> tuple[Confirmation | None, str | None]:
    """Say what a word of consent needs before it counts, and which address was proved by the way it was said."""
    if not fact.granted or fact.channel != "email" or not on.plan("double-opt-in", DoubleOptInPlan).enabled:
        return None, None
    proved = fact.message_id and await consents.mailbox(on.connection, on.store_id, fact.message_id)
    return (Confirmation.GIVEN, proved) if proved else (Confirmation.AWAITED, None)


async def asked(on: Applying, fact: ConsentChanged) -> list[Derived]:
    """Tell that a word waits to be confirmed; a trait that a client repeats is none."""
    address = await consents.address_of(on.connection, on.store_id, on.customer_id)
    records = await consents.of_customer(on.connection, on.store_id, on.customer_id)
    if address is None or fact.topic not in awaiting(records, address):
        return []
    before = [record for record in records if record.at < fact.at]
    repeated = fact.source == IDENTIFY and fact.topic in awaiting(before, address)
    return [] if repeated else on.me(ConsentPending(at=fact.at))


async def moved(on: Applying, at: datetime) -> list[Derived]:
    """Tell that what waits to be confirmed, or was confirmed for another address, is now for a new one to confirm."""
    pending = await consents.pending(on.connection, on.store_id, on.customer_id)
    return on.me(ConsentPending(at=at, new_address=True)) if pending.topics else []


async def withdrawn(on: Applying, at: datetime) -> list[Derived]:
    """Tell that nothing is left to confirm."""
    pending = await consents.pending(on.connection, on.store_id, on.customer_id)
    return on.me(ConsentWithdrawn(at=at)) if pending.ever and not pending.topics else []


async def confirmed(on: Applying, fact: ConsentConfirmed) -> list[Derived]:
    """Pass a confirmation on, if it is for the address that the customer still has."""
    proved = await consents.mailbox(on.connection, on.store_id, fact.message_id)
    mine = await consents.address_of(on.connection, on.store_id, on.customer_id)
    return on.me(fact) if proved is not None and proved == mine else []
