"""Acquaintance: the customers of a batch are found, made and locked together, where it is plain who they are.

It is plain if all that an event names is known to be one customer's, or if nobody knows any of it and no other event of
the batch names any of it in another company. Of whoever it is not plain, identities.py decides when it comes to that
event: what the events before it say may change the answer.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, Select, Text, cast, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.identities import Identity, among, columns, identities_of, new_id, serialise
from adapters.postgres.statements import built_once, one_of
from adapters.postgres.tables import customers, identities
from domain.events import Who


async def acquaint(
    connection: AsyncConnection, store_id: str, told: Sequence[tuple[Who, str | None, datetime]]
) -> dict[Who, UUID]:
    """Find or make the customers of a batch's events, and lock their rows: all of them in one order.

    Args:
        connection: In a transaction as this store.
        store_id: The store.
        told: What each event about a customer names, with the id that an `alias` declares to be the same person, and
            when a customer that it makes has come.

    Returns:
        Those of whom it is plain who they are. Nobody else joins them until the transaction ends.
    """
    companies = {(who, previous): identities_of(who, previous) for who, previous, _ in told if who.customer_id is None}
    asked = {who: names for (who, previous), names in companies.items() if previous is None and names}
    if not asked:
        return {}
    owners = await _owners(connection, store_id, {name for names in asked.values() for name in names})
    named_by = Counter(name for names in companies.values() for name in set(names))
    strangers = [who for who, names in asked.items() if all(named_by[n] == 1 and n not in owners for n in names)]
    if strangers:  # first of all locks, as whoever makes a customer alone does it
        names = sorted(name for who in strangers for name in asked[who])
        await serialise(connection, store_id, names)
        made_meanwhile = await _owners(connection, store_id, names)
        strangers = [who for who in strangers if not any(name in made_meanwhile for name in asked[who])]
    theirs = {who: {owners.get(name) for name in names} for who, names in asked.items()}
    known = {who: ids.pop() for who, ids in theirs.items() if len(ids) == 1}
    locked = await _lock(connection, store_id, {owner for owner in known.values() if owner is not None})
    plain = {who: owner for who, owner in known.items() if owner in locked}
    if strangers:
        came = {who: at for who, _, at in reversed(told)}
        plain |= await _make(connection, store_id, {who: (asked[who], came[who]) for who in strangers})
    return plain


async def _owners(connection: AsyncConnection, store_id: str, names: Iterable[Identity]) -> dict[Identity, UUID]:
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


async def _make(
    connection: AsyncConnection, store_id: str, strangers: Mapping[Who, tuple[Sequence[Identity], datetime]]
) -> dict[Who, UUID]:
    made = {who: new_id() for who in strangers}
    moments = [at for _, at in strangers.values()]
    await connection.execute(*_new_customers(store_id, list(made.values()), moments))
    each = [(name, made[who]) for who, (names, _) in strangers.items() for name in names]
    kinds, values = columns([name for name, _ in each])
    await connection.execute(*_new_identities(store_id, kinds, values, [owner for _, owner in each]))
    return made


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
