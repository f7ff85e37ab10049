"""Acquaintance: the customers of a batch are found, made and locked together, where it is plain who they are.

It is plain if all that an event names is known to be one customer's, or if nobody knows any of it and no event before
it leaves a doubt about any of it. Of whoever it is not plain, identities.py decides when it comes to that event: what
the events before it say may change the answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Insert, Select, Text, cast, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.at_once import Asked, asked_at_once
from adapters.postgres.identities import Identity, among, columns, identities_of, new_id, serialised
from adapters.postgres.statements import built_once, looked_up
from adapters.postgres.tables import customers, identities
from domain.events import Who


@dataclass(frozen=True)
class Company:
    """What one event names.

    Attributes:
        at: When a customer that it makes has come.
        declares: It declares two ids to be the same person's.
    """

    who: Who
    names: Sequence[Identity]
    at: datetime
    declares: bool


class Acquainted(NamedTuple):
    """The customers of a batch's events, where it is plain who they are; nobody has locked them yet.

    Attributes:
        plain: Whose an event is that names this.
        strangers: Customers that are to be made, and for what.
    """

    plain: dict[Who, UUID]
    strangers: dict[UUID, Company]

    def locking(self, store_id: str) -> list[Asked]:
        """Lock the customers' rows, all of them in one order, and make strangers; the first answer is for `locked`."""
        asked: list[Asked] = [_lock_all(store_id, sorted(set(self.plain.values()) - self.strangers.keys()))]
        if self.strangers:
            asked.append(_new_customers(store_id, list(self.strangers), [c.at for c in self.strangers.values()]))
            each = [(name, customer_id) for customer_id, c in self.strangers.items() for name in c.names]
            kinds, values = columns([name for name, _ in each])
            asked.append(_new_identities(store_id, kinds, values, [customer_id for _, customer_id in each]))
        return asked

    def locked(self, rows: Iterable[Any]) -> dict[Who, UUID]:
        """Leave out whoever has been joined with another before we had the lock; the others nobody else joins now."""
        ours = {row.customer_id for row in rows if row.merged_into is None} | self.strangers.keys()
        return {who: owner for who, owner in self.plain.items() if owner in ours}


def companies(told: Sequence[tuple[Who, str | None, datetime]]) -> list[Company]:
    """Say what events name by which somebody could be known.

    Args:
        told: What each event about a customer names, in order, with the id that an `alias` declares to be the same
            person, and when a customer that it makes has come.
    """
    return [
        Company(who, names, at, previous is not None)
        for who, previous, at in told
        if who.customer_id is None and (names := identities_of(who, previous))
    ]


def owners(store_id: str, named: Sequence[Company]) -> Asked:
    """Find whose the identities are that events name."""
    return _owned(store_id, *columns(sorted({name for company in named for name in company.names})))


async def acquaint(
    connection: AsyncConnection, store_id: str, named: Sequence[Company], owned: Iterable[Any]
) -> Acquainted:
    """Find the customers of a batch's events, and say which are to be made.

    Args:
        connection: In a transaction as this store.
        store_id: The store.
        named: What the events name.
        owned: What `owners` has found.
    """
    known = _by_name(owned)
    found = _plain(named, known)
    if not found.strangers:
        return found
    # Before all other locks, as whoever makes a customer alone does it.
    names = sorted(name for company in found.strangers.values() for name in company.names)
    _, rows = await asked_at_once(connection, serialised(store_id, names), _owned(store_id, *columns(names)))
    return _plain(named, known | _by_name(rows)) if rows else found


def _by_name(rows: Iterable[Any]) -> dict[Identity, UUID]:
    return {(row.kind, row.value): row.customer_id for row in rows}


def _plain(named: Sequence[Company], owned: Mapping[Identity, UUID]) -> Acquainted:
    """Go through what the events name; say whose it plainly is, and which customers are to be made for it."""
    known = dict(owned)
    plain: dict[Who, UUID] = {}
    strangers: dict[UUID, Company] = {}
    doubtful: set[Identity] = set()
    for company in named:
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
    return Acquainted(plain, strangers)


@built_once
def _owned(store_id: str, kinds: list[str], values: list[str]) -> Select[Any]:
    return select(among(store_id, kinds, values))


@built_once
def _lock_all(store_id: str, customer_ids: list[UUID]) -> Select[Any]:
    each = func.unnest(customer_ids).table_valued("customer_id").render_derived(name="each")
    here = (customers.c.store_id == store_id, customers.c.customer_id == each.c.customer_id)
    row = select(customers.c.customer_id, customers.c.merged_into).where(*here).with_for_update(key_share=True)
    return select(looked_up(row, each))


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
