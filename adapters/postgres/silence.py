"""Silence: an address gets no marketing from the moment its customer said so until the customer asks again.

The customer may say it before we know the address, change the address afterwards, or ask again in an event that
overtakes the first. So the moment is kept with the customer, and whatever may change the answer settles it anew.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Delete, Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import consents, tombstones
from adapters.postgres.statements import built_once
from adapters.postgres.tables import customers, suppressions
from domain.consent import asked_for_mail


async def asked_for(connection: AsyncConnection, store_id: str, customer_id: UUID, channel: str, at: datetime) -> None:
    """Note that a customer wants no more marketing on a channel."""
    here = (customers.c.store_id == store_id) & (customers.c.customer_id == customer_id)
    told_at = await connection.scalar(select(customers.c.told_at).where(here))
    since = _since(told_at, channel)
    if since is None or since < at:
        stamped = {**(told_at or {}), _stamp(channel): at.isoformat()}
        await connection.execute(update(customers).where(here).values(told_at=stamped))
    await settle(connection, store_id, customer_id, channel)


async def settle(connection: AsyncConnection, store_id: str, customer_id: UUID, channel: str = "email") -> None:
    """Make the suppression of a customer's address follow from what was said last."""
    customer = (await connection.execute(*_customer(store_id, customer_id))).one()
    if customer.email is None:
        return
    since = _since(customer.told_at, channel)
    said = await consents.of_customer(connection, store_id, customer_id, channel)
    asked_again = asked_for_mail(said, customer.email)
    if since is not None and (asked_again is None or asked_again <= since):
        row = {"store_id": store_id, "channel": channel, "address": customer.email, "at": since}
        key = [suppressions.c[name] for name in ("store_id", "channel", "address", "reason")]
        statement = upsert(suppressions).values(**row, reason="unsubscribed")
        newest = {"at": func.greatest(suppressions.c.at, since)}
        await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=newest))
    elif asked_again is not None:
        # Asking for mail again takes back an unsubscribe, but never a bounce or a complaint.
        await connection.execute(*_lift(store_id, channel, customer.email, asked_again))


@built_once
def _customer(store_id: str, customer_id: UUID) -> Select[Any]:
    here = (customers.c.store_id == store_id, customers.c.customer_id == customer_id)
    return select(customers.c.email, customers.c.told_at).where(*here)


@built_once
def _lift(store_id: str, channel: str, address: str, asked_again: datetime) -> Delete:
    return delete(suppressions).where(
        suppressions.c.store_id == store_id,
        suppressions.c.channel == channel,
        suppressions.c.address.in_(tombstones.spellings(store_id, address)),
        suppressions.c.reason == "unsubscribed",
        suppressions.c.at < asked_again,
    )


def _since(told_at: dict[str, str] | None, channel: str) -> datetime | None:
    stamp = (told_at or {}).get(_stamp(channel))
    return None if stamp is None else datetime.fromisoformat(stamp)


def _stamp(channel: str) -> str:
    return f"unsubscribed.{channel}"
