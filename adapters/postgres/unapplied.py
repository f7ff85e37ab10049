"""Unapplied events: what has been accepted of a customer and is not part of what is known yet (G4)."""

from typing import Any
from uuid import UUID

from sqlalchemy import CompoundSelect, Row, and_, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import runs
from adapters.postgres.statements import any_of, built_once
from adapters.postgres.tables import UNAPPLIED, customers, events, identities
from domain.delivery import Slot
from domain.gate import may_forbid
from domain.vocabulary import heard_as


async def has_unapplied_events(connection: AsyncConnection, slot: Slot, customer: Row[Any]) -> bool:
    """Tell whether an accepted event could still change what is true for this customer (G4).

    An event counts from the commit that its 200 was sent after. A parked one counts if it may be what forbids
    the message: an order, a withdrawal of consent, or an exit of the run that we failed to understand.
    """
    store_id = slot.store_id
    found = (await connection.execute(*_unapplied(store_id, customer.customer_id, customer.email))).all()
    if any(row.state == "pending" or may_forbid(row.type, row.name) for row in found):
        return True
    heard = {heard_as(row.type, row.name) for row in found}
    return bool(heard) and not heard.isdisjoint(await runs.exits(connection, store_id, slot.run_id))


@built_once
def _unapplied(store_id: str, customer_id: UUID, address: str) -> CompoundSelect[Any]:
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
    unapplied = and_(events.c.store_id == store_id, UNAPPLIED, events.c.commands.is_(None))
    what = (events.c.state, events.c.type, events.c.name)
    return union(*(select(*what).where(unapplied, one) for one in mine))
