"""Unapplied events: what has been accepted of a customer and is not part of what is known yet (G4)."""

from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import CompoundSelect, ScalarSelect, and_, select, union

from adapters.postgres.statements import any_of
from adapters.postgres.tables import UNAPPLIED, customers, events, identities
from domain.gate import may_forbid
from domain.vocabulary import heard_as


class Unapplied(NamedTuple):
    """What counts of an event that is not applied: columns of its row."""

    state: str
    type: str
    name: str | None


def may_change(found: Collection[Unapplied], exits: Collection[str]) -> bool:
    """Tell whether an accepted event could still change what is true for a customer (G4).

    An event counts from the commit that its 200 was sent after. A parked one counts if it may be what forbids
    the message: an order, a withdrawal of consent, or an exit of the run that we failed to understand.

    Args:
        found: The customer's events that are not applied.
        exits: Events that end the run that asks.
    """
    if any(event.state == "pending" or may_forbid(event.type, event.name) for event in found):
        return True
    return not {heard_as(event.type, event.name) for event in found}.isdisjoint(exits)


def unapplied(store_id: str, customer_id: UUID, address: ScalarSelect[Any]) -> CompoundSelect[Any]:
    """Select what counts of a customer's unapplied events; `address` selects where the customer is written to."""
    here = (identities.c.store_id == store_id, identities.c.customer_id == customer_id)
    known = select(identities.c.kind, identities.c.value).where(*here).cte("known")
    merged = select(customers.c.customer_id).where(
        customers.c.store_id == store_id, customers.c.merged_into == customer_id
    )
    # Each identity by itself, by arrays and not sets: in any other form Postgres may read an index through, and with it
    # what it keeps of all events that were unapplied since it was last vacuumed.
    mine = (
        events.c.user_id == any_of(select(known.c.value).where(known.c.kind == "user")),
        events.c.anonymous_id == any_of(select(known.c.value).where(known.c.kind == "anonymous")),
        events.c.email == any_of(select(known.c.value).where(known.c.kind == "email"), address),
        events.c.customer_id == any_of(merged, customer_id),
    )
    open_ones = and_(events.c.store_id == store_id, UNAPPLIED, events.c.commands.is_(None))
    what = [events.c[name] for name in Unapplied._fields]
    return union(*(select(*what).where(open_ones, one) for one in mine))
