"""Acquaintance: the customers of a batch are found, made and locked together, where it is plain who they are.

It is plain if all that an event names is known to be one customer's, or if nobody knows any of it and no event before
it leaves a doubt about any of it. Of whoever it is not plain, identities.py decides when it comes to that event: what
the events before it say may change the answer.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, Select, Text, cast, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.identities import Identity, among, columns, identities_of, new_id, serialise
from adapters.postgres.statements import built_once, one_of
from adapters.postgres.tables import customers, identities
from domain.events import Who


@dataclass(frozen=True)
class _Company:
    """What one event names.

    Attributes:
        at: When a customer that it makes has come.
        declares: It declares two ids to be the same person's.
    """

    who: Who
    names: Sequence[Identity]
    at: datetime
    declares: bool


async def acquaint(
    connection: AsyncConnection, store_id: str, told: Sequence[tuple[Who, str | None, datetime]]
) -> dict[Who, UUID]:
    """Find or make the customers of a batch's events, and lock their rows: all of them in one order.

    Args:
        connection: In a transaction as this store.
        store_id: The store.
        told: What each event about a customer names, in order, with the id that an `alias` declares to be the same
            person, and when a customer that it makes has come.

    Returns:
        Those of whom it is plain who they are. Nobody else joins them until the transaction ends.
    """
    companies = [
        _Company(who, names, at, previous is not None)
        for who, previous, at in told
        if who.customer_id is None and (names := identities_of(who, previous))
    ]
    owners = await _owners(connection, store_id, {name for company in companies for name in company.names})
    plain, strangers = _plain(companies, owners)
    if strangers:
        # Before all other locks, as whoever makes a customer alone does it.
        names = sorted(name for company in strangers.values() for name in company.names)
        await serialise(connection, store_id, names)
        made_meanwhile = await _owners(connection, store_id, names)
        if made_meanwhile:
            plain, strangers = _plain(companies, owners | made_meanwhile)
    locked = await _lock(connection, store_id, set(plain.values()) - strangers.keys())
    if strangers:
        await _make(connection, store_id, strangers)
    return {who: owner for who, owner in plain.items() if owner in locked or owner in strangers}


def _plain(
    companies: Sequence[_Company], owners: Mapping[Identity, UUID]
) -> tuple[dict[Who, UUID], dict[UUID, _Company]]:
    """Go through what the events name; say whose it plainly is, and which customers are to be made for it."""
    known = dict(owners)
    plain: dict[Who, UUID] = {}
    strangers: dict[UUID, _Company] = {}
    doubtful: set[Identity] = set()
    for company in companies:
        theirs = {known.get(name) for name in company.names}
        owner = theirs.pop() if len(theirs) == 1 and not company.declares else None
        if owner is None and not company.declares and not any(n in known or n in doubtful for n in company.names):
            owner = new_id()
            strangers[owner] = company
            known |= dict.fromkeys(company.names, owner)
        if owner is None:
            doubtful.update(company.names)
        else:
            plain.setdefault(company.who, owner)
    return plain, strangers


async def _owners(connection: AsyncConnection, store_id: str, names: Collection[Identity]) -> dict[Identity, UUID]:
    if not names:
        return {}
    rows = (await connection.execute(*_owned(store_id, *columns(sorted(names))))).all()
    return {(row.kind, row.value): row.customer_id for row in rows}


@built_once
def _owned(store_id: str, kinds: list[str], values: list[str]) -> Select[Any]:
    return select(identities).where(among(store_id, kinds, values))


async def _lock(connection: AsyncConnection, store_id: str, customer_ids: Iterable[UUID]) -> set[UUID]:
    """Lock customers' rows; whoever has been joined with another meanwhile is not among those returned."""
    wanted = list(customer_ids)
    if not wanted:
        return set()
    rows = (await connection.execute(*_lock_all(store_id, wanted))).all()
    return {row.customer_id for row in rows if row.merged_into is None}


@built_once
def _lock_all(store_id: str, customer_ids: list[UUID]) -> Select[Any]:
    here = (customers.c.store_id == store_id, one_of(customers.c.customer_id, customer_ids))
    query = select(customers.c.customer_id, customers.c.merged_into).where(*here)
    return query.order_by(customers.c.customer_id).with_for_update(key_share=True)


async def _make(connection: AsyncConnection, store_id: str, strangers: Mapping[UUID, _Company]) -> None:
    moments = [company.at for company in strangers.values()]
    await connection.execute(*_new_customers(store_id, list(strangers), moments))
    each = [(name, customer_id) for customer_id, company in strangers.items() for name in company.names]
    kinds, values = columns([name for name, _ in each])
    await connection.execute(*_new_identities(store_id, kinds, values, [customer_id for _, customer_id in each]))


@built_once
def _new_customers(store_id: str, customer_ids: list[UUID], moments: list[datetime]) -> Insert:
    each = func.unnest(customer_ids, moments).table_valued("customer_id", "created_at").render_derived(name="each")
    rows = select(cast(store_id, Text), each.c.customer_id, each.c.created_at)
    return insert(customers).from_select(["store_id", "customer_id", "created_at"], rows)


@built_once
def _new_identities(store_id: str, kinds: list[str], values: list[str], customer_ids: list[UUID]) -> Insert:
    each = func.unnest(kinds, values, customer_ids).table_valued("kind", "value", "customer_id")
    each = each.render_derived(name="each")
    rows = select(cast(store_id, Text), each.c.kind, each.c.value, each.c.customer_id)
    return insert(identities).from_select(["store_id", "kind", "value", "customer_id"], rows)
