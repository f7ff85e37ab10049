"""Tombstones: salted hashes of the identities of erased customers, so that what is still on its way is not taken in.

Without the store's salt a hash says nothing; with it one can only ask about an identity that one knows already.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, or_, select, type_coerce
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.dedup import delete_events
from adapters.postgres.tables import events, stores, tombstones
from domain.events import Event

OURS = "customer"
"""The kind of our own ids, which nobody else can name."""


def digest(store_id: str, kind: str, value: str) -> ColumnElement[str]:
    """Hash an identity, in SQL: the salt does not leave the database."""
    salt = select(cast(stores.c.salt, Text)).where(stores.c.store_id == store_id).scalar_subquery()
    spelled = salt.concat(f":{kind}:").concat(value)
    return func.encode(func.sha256(func.convert_to(spelled, "UTF8")), "hex")


def spellings(store_id: str, address: str) -> list[ColumnElement[str]]:
    """Return how an address may stand in a list that outlives its customer: as it is, or hashed."""
    return [type_coerce(address, Text), digest(store_id, "email", address)]


async def lay(connection: AsyncConnection, store_id: str, named: Iterable[tuple[str, str]], at: datetime) -> None:
    """Lay a tombstone for each identity; the newest erasure counts."""
    for kind, value in named:
        row = {"store_id": store_id, "digest": digest(store_id, kind, value), "erased_at": at}
        key = [tombstones.c.store_id, tombstones.c.digest]
        statement = upsert(tombstones).values(row)
        await connection.execute(statement.on_conflict_do_update(index_elements=key, set_={"erased_at": at}))


def laid(store_id: str) -> ColumnElement[bool]:
    """Ask whether a store has erased anybody; most have not, and their events need no second look."""
    return exists().where(tombstones.c.store_id == store_id)


async def refused(connection: AsyncConnection, event: Event) -> bool:
    """Forget an event that is about an erased customer and happened before the erasure; tell whether it was one."""
    asked = _digests(event)
    if not asked:
        return False
    ours = digest(event.store_id, OURS, str(event.who.customer_id))
    late = or_(tombstones.c.erased_at >= event.at, tombstones.c.digest == ours)
    query = select(exists().where(and_(tombstones.c.store_id == event.store_id, tombstones.c.digest.in_(asked), late)))
    if not await connection.scalar(query):
        return False
    await delete_events(connection, event.store_id, events.c.id == event.id)
    return True


def _digests(event: Event) -> list[ColumnElement[str]]:
    """Hash what says whose event it is: a browser only where nothing stronger does."""
    who, before = event.who, event.payload.get("previousId")
    named = [("user", who.user_id), ("email", who.email and who.email.lower()), (OURS, who.customer_id)]
    if who.user_id is None:
        named.append(("anonymous", who.anonymous_id))
    if event.type == "alias":
        named += [("user", before), ("anonymous", before)]
    return [digest(event.store_id, kind, str(value)) for kind, value in named if value]
