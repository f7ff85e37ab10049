"""Erasure in the database: what is about a customer goes, what the store counts by stays without the customer.

Runs and messages keep their ids, their times and what came of them, so that last month's report stays true.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import queue, tombstones
from adapters.postgres.consents import allow_erasure
from adapters.postgres.customer_keys import Owner, destroy
from adapters.postgres.dedup import delete_events
from adapters.postgres.tables import (
    carts,
    consents,
    customers,
    decisions,
    events,
    happenings,
    identities,
    messages,
    orders,
    runs,
    stores,
    suppressions,
    views,
    waitlist,
    watchlist,
)
from domain.errors import NotFound
from domain.events import Who
from domain.runs import Outcome
from domain.values import Value

DELETED = (carts, orders, views, waitlist, watchlist, consents, happenings, identities)
"""Tables whose rows go; `events`, `customers`, `runs` and `messages` are treated one by one."""
_DONE = ("routed", "parked")
_BEFORE = r"(?:(?<![[:alnum:]._%+-])|(?<=\\[nrt]))"
_AFTER = r"(?![[:alnum:]_%+-]|\.[[:alnum:]])"
"""What stands around an address in JSON: joann@x.test is not ann@x.test, though a line may begin with it."""
_SHORTEST = 6
"""A shorter number says nothing about whose it is."""


class Person(Value):
    """A customer and all that names them.

    Attributes:
        family: The customer's ids: their own, and those of whoever was merged into them.
        named: Identities, by kind and value.
        said: Addresses and numbers that may stand anywhere.
    """

    customer_id: UUID
    family: tuple[UUID, ...]
    named: tuple[tuple[str, str], ...]
    said: tuple[str, ...]

    def values(self, kind: str) -> list[str]:
        """Return the identities of one kind."""
        return [value for named, value in self.named if named == kind]


class Erased(Value):
    """What an erasure has done in the database, and which workflows are to end."""

    rows: dict[str, int]
    keys_destroyed: int
    workflow_ids: tuple[str, ...]


async def person(connection: AsyncConnection, store_id: str, customer_id: UUID) -> Person:
    """Collect what names a customer.

    Raises:
        NotFound: The store has no such customer.
    """
    ours = (customers.c.customer_id == customer_id) | (customers.c.merged_into == customer_id)
    rows = (await connection.execute(select(customers).where(customers.c.store_id == store_id, ours))).all()
    if not rows:
        raise NotFound("the store has no such customer")
    family = tuple(row.customer_id for row in rows)
    known = select(identities.c.kind, identities.c.value).where(*_of(identities, store_id, family))
    named = {(row.kind, row.value) for row in (await connection.execute(known)).all()}
    written = select(messages.c.address).where(*_of(messages, store_id, family), messages.c.address.is_not(None))
    addresses = set((await connection.execute(written)).scalars()) | {row.email for row in rows if row.email}
    named |= {("email", address.lower()) for address in addresses}
    said = {value for kind, value in named if kind == "email"} | {
        row.phone for row in rows if row.phone and len(row.phone) >= _SHORTEST
    }
    return Person(customer_id=customer_id, family=family, named=tuple(sorted(named)), said=tuple(sorted(said)))


async def erase(connection: AsyncConnection, store_id: str, customer_id: UUID, now: datetime) -> Erased:
    """Erase a customer in the caller's transaction; whoever routes events of this customer is waited for."""
    await connection.execute(text("set local statement_timeout = '10min'"))
    who = await person(connection, store_id, customer_id)
    # The only slow part, so before anybody has to wait for us: others' events that mention the customer.
    counts = {"events": await _forget_mentions(connection, store_id, who)}
    await queue.hold_lanes(connection, store_id, _lanes(who))
    await connection.execute(select(stores.c.store_id).where(stores.c.store_id == store_id).with_for_update())
    who = await person(connection, store_id, customer_id)
    here = customers.c.customer_id.in_(who.family)
    await connection.execute(select(customers).where(customers.c.store_id == store_id, here).with_for_update())
    our_ids = [(tombstones.OURS, str(one)) for one in who.family]
    await tombstones.lay(connection, store_id, [*who.named, *our_ids], now)

    workflow_ids = await _end_runs(connection, store_id, who, now)
    counts["events"] += await delete_events(connection, store_id, told_by(who))
    counts["suppressions"] = await _hash_suppressions(connection, store_id, who)
    mine = select(runs.c.run_id).where(*_of(runs, store_id, who.family))
    gone = delete(decisions).where(decisions.c.store_id == store_id, decisions.c.run_id.in_(mine))
    counts["decisions"] = (await connection.execute(gone)).rowcount
    await allow_erasure(connection)
    for table in DELETED:
        counts[table.name] = (await connection.execute(delete(table).where(*_of(table, store_id, who.family)))).rowcount
    for table, blank in _BLANKS:
        change = update(table).where(*_of(table, store_id, who.family)).values(blank)
        counts[table.name] = (await connection.execute(change)).rowcount
    # A run that was joined from another identity still has that one's key.
    owners = [Owner(store_id=store_id, customer_id=one) for one in who.family]
    destroyed = await destroy(connection, owners, now)
    return Erased(rows=counts, keys_destroyed=destroyed, workflow_ids=workflow_ids)


_BLANKS: tuple[tuple[Any, dict[str, Any]], ...] = (
    (
        customers,
        {
            **dict.fromkeys(
                ("email", "phone", "first_name", "last_name", "locale", "timezone", "marketing_paused_until")
            ),
            "traits": {},
            "told_at": {},
        },
    ),
    (runs, dict.fromkeys(("order_id", "because", "began_by", "trigger_event"))),
    (messages, {**dict.fromkeys(("address", "because", "discount_code", "order_id")), "urls": []}),
)


def _of(table: Any, store_id: str, family: Sequence[UUID]) -> tuple[Any, Any]:
    return table.c.store_id == store_id, table.c.customer_id.in_(family)


def _lanes(who: Person) -> list[str]:
    """Name the lanes in which events about the customer may be under way."""
    lanes = [Who(customer_id=one).lane for one in who.family]
    lanes += [Who(user_id=value).lane for value in who.values("user")]
    lanes += [Who(anonymous_id=value).lane for value in who.values("anonymous")]
    return lanes + [Who(email=value).lane for value in who.values("email")]


async def _end_runs(connection: AsyncConnection, store_id: str, who: Person, now: datetime) -> tuple[str, ...]:
    """Close the rows, so that the gate lets nothing out; return the workflows that may still be open."""
    mine = _of(runs, store_id, who.family)
    maybe_open = or_(runs.c.ended_at.is_(None), runs.c.expires_at > now)
    query = select(runs.c.workflow_id).where(*mine, maybe_open)
    workflow_ids = set((await connection.execute(query)).scalars())
    close = update(runs).where(*mine, runs.c.ended_at.is_(None))
    await connection.execute(close.values(ended_at=now, outcome=Outcome.LEFT))
    return tuple(sorted(workflow_ids))


async def _forget_mentions(connection: AsyncConnection, store_id: str, who: Person) -> int:
    """Delete events of others that hold an address or a number of the customer."""
    if not who.said:
        return 0
    payload = func.lower(cast(events.c.payload, Text))
    told = or_(*(payload.regexp_match(_BEFORE + re.escape(value.lower()) + _AFTER) for value in who.said))
    return await delete_events(connection, store_id, and_(events.c.state.in_(_DONE), told))


def told_by(who: Person) -> ColumnElement[bool]:
    """Ask whether an event is the customer's; one of a shared browser is that of whoever was signed in there."""
    return or_(
        events.c.customer_id.in_(who.family),
        events.c.user_id.in_(who.values("user")),
        func.lower(events.c.email).in_(who.values("email")),
        and_(events.c.user_id.is_(None), events.c.anonymous_id.in_(who.values("anonymous"))),
    )


async def _hash_suppressions(connection: AsyncConnection, store_id: str, who: Person) -> int:
    """Keep an address suppressed without keeping the address."""
    count = 0
    for address in who.values("email"):
        here = and_(suppressions.c.store_id == store_id, func.lower(suppressions.c.address) == address)
        anew = {"address": tombstones.digest(store_id, "email", address), "detail": literal("")}
        columns = [anew.get(column.name, column).label(column.name) for column in suppressions.c]
        names = [column.name for column in suppressions.c]
        copy = upsert(suppressions).from_select(names, select(*columns).where(here)).on_conflict_do_nothing()
        await connection.execute(copy)
        count += (await connection.execute(delete(suppressions).where(here))).rowcount
    return count
