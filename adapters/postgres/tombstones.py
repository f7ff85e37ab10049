"""Tombstones: salted hashes of the identities of erased customers, so that what is still on its way is not taken in.

Without the store's salt a hash says nothing; with it one can only ask about an identity that one knows already.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, cast, exists, func, literal, or_, select, type_coerce
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.dedup import delete_events
from adapters.postgres.statements import built_once
from adapters.postgres.tables import events, stores, tombstones
from domain.events import Event

OURS = "customer"
"""The kind of our own ids, which nobody else can name."""


def digest(store_id: str, kind: str, value: ColumnElement[str] | str) -> ColumnElement[str]:
    """Hash an identity, in SQL: the salt does not leave the database."""
    return _digest(store_id, f":{kind}:", value)


def _digest(store_id: str, kind: ColumnElement[str] | str, value: ColumnElement[str] | str) -> ColumnElement[str]:
    salt = select(cast(stores.c.salt, Text)).where(stores.c.store_id == store_id).scalar_subquery()
    spelled = salt.concat(kind).concat(value)
    return func.encode(func.sha256(func.convert_to(spelled, "UTF8")), "hex")


def spellings(store_id: str, address: ColumnElement[str] | str) -> list[ColumnElement[str]]:
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


async def refused(connection: AsyncConnection, store_id: str, told: Iterable[Event]) -> set[UUID]:
    """Forget the events that are about erased customers and happened before the erasure; return which."""
    asked = [(event.id, kind, value, event.at) for event in told for kind, value in _named(event)]
    if not asked:
        return set()
    event_ids, kinds, values, moments = map(list, zip(*asked, strict=True))
    found = set((await connection.execute(*_erased(store_id, event_ids, kinds, values, moments))).scalars())
    if found:
        await delete_events(connection, store_id, events.c.id.in_(found))
    return found


@built_once
def _erased(
    store_id: str, event_ids: list[UUID], kinds: list[str], values: list[str], moments: list[datetime]
) -> Select[UUID]:
    names = ("event_id", "kind", "value", "at")
    asked = func.unnest(event_ids, kinds, values, moments).table_valued(*names).render_derived(name="asked").c
    late = or_(tombstones.c.erased_at >= asked.at, asked.kind == OURS)
    theirs = tombstones.c.digest == _digest(store_id, literal(":") + asked.kind + ":", asked.value)
    return select(asked.event_id).where(tombstones.c.store_id == store_id, theirs, late).distinct()


def _named(event: Event) -> list[tuple[str, str]]:
    """Say whose an event is: a browser's only where nothing stronger is named."""
    who, before = event.who, event.payload.get("previousId")
    named = [("user", who.user_id), ("email", who.email and who.email.lower()), (OURS, who.customer_id)]
    if who.user_id is None:
        named.append(("anonymous", who.anonymous_id))
    if event.type == "alias":
        named += [("user", before), ("anonymous", before)]
    return [(kind, str(value)) for kind, value in named if value]
