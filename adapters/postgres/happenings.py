"""Happenings: the events that a store's follow-ups mention, kept to be counted, and what each of them sets off.

Only names that a follow-up mentions are kept, from the moment it does. Purchases are counted as the orders they are,
so those from before count as well.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, union_all
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import events, happenings, orders
from domain.decoding.fields import Fields
from domain.decoding.subject import subject
from domain.events import Event
from domain.facts import EventHeard
from domain.follow_ups import PURCHASE, CountIs, of_the_event, of_the_past
from domain.plans import FollowUpPlan
from domain.snapshot import PinnedPlan

_EVER = datetime.fromtimestamp(0, UTC)


async def heard(
    connection: AsyncConnection, event: Event, name: str, customer_id: UUID, offers: Iterable[PinnedPlan]
) -> list[EventHeard]:
    """Keep an event that follow-ups mention, and say which of them it sets off.

    Args:
        connection: In a transaction that holds the customer's lock.
        event: A new event.
        name: In the spelling of `vocabulary.known_as`.
        customer_id: Who did it.
        offers: The store's plans.

    Returns:
        The event itself, and any later one that meets a condition only now because this one came late.
    """
    history = _History(connection, event.store_id, customer_id)
    await history.keep(event, name)
    facts = {event.id: _fact(event, name)}
    for offer in offers:
        if not isinstance(plan := offer.plan, FollowUpPlan) or not plan.enabled:
            continue
        for entry in await _entries(history, event, name, plan):
            if await _meets(history, entry, plan):
                known = facts.setdefault(entry.id, _fact(entry, plan.event))
                facts[entry.id] = known.model_copy(update={"meets": (*known.meets, offer.journey)})
                break
    return list(facts.values())


def _fact(event: Event, name: str) -> EventHeard:
    return EventHeard(at=event.at, name=name, event_id=event.id, **subject(event).model_dump())


async def _entries(history: "_History", event: Event, name: str, plan: FollowUpPlan) -> list[Event]:
    """Return the events by which a plan may be entered now: this one, or the newest of those that it lets count."""
    entries = [event] if name == plan.event else []
    counted = [c.within for c in plan.conditions if isinstance(c, CountIs) and c.event == name]
    newest = await history.newest(plan.event, event, max(counted)) if counted else None
    return entries if newest is None else [*entries, newest]


async def _meets(history: "_History", entry: Event, plan: FollowUpPlan) -> bool:
    body = Fields(entry.payload)
    properties = body.under("properties").over(body.only("name"))  # a page call tells its name beside them
    if not all(condition.holds(properties) for condition in of_the_event(plan.conditions)):
        return False
    for condition in of_the_past(plan.conditions):
        most = condition.more_than + 1 if isinstance(condition, CountIs) else 1
        since = _EVER if condition.within is None else entry.at - condition.within
        if not condition.holds(await history.count([condition.event], since, entry.at, most)):
            return False
    # What ends a run has come first; a run that began now would not hear of it.
    return not await history.count(plan.exits, entry.at - timedelta.resolution, None, 1)


class _History:
    """What a customer did, of what the store's follow-ups mention."""

    def __init__(self, connection: AsyncConnection, store_id: str, customer_id: UUID) -> None:
        self._connection = connection
        self._store_id = store_id
        self._customer_id = customer_id

    async def keep(self, event: Event, name: str) -> None:
        row = {"store_id": self._store_id, "event_id": event.id, "customer_id": self._customer_id}
        note = upsert(happenings).values(**row, name=name, at=event.at)
        await self._connection.execute(note.on_conflict_do_nothing())

    async def count(self, names: Collection[str], after: datetime, until: datetime | None, most: int) -> int:
        """Count how often something happened after a moment, until another; counting ends with `most`."""
        times = self._times(names)
        found = (union_all(times, self._purchases()) if PURCHASE in names else times).subquery()
        some = select(found.c.at).where(found.c.at > after).limit(most)
        if until is not None:
            some = some.where(found.c.at <= until)
        return await self._connection.scalar(select(func.count()).select_from(some.subquery())) or 0

    async def newest(self, name: str, event: Event, within: timedelta) -> Event | None:
        """Return the newest event of a name that came before this one but happened after it."""
        mine = (
            select(happenings.c.event_id, happenings.c.at)
            .where(happenings.c.store_id == self._store_id, happenings.c.customer_id == self._customer_id)
            .where(happenings.c.name == name)
            .subquery()
        )
        query = (
            select(events)
            .join(mine, events.c.id == mine.c.event_id)
            .where(events.c.store_id == self._store_id, mine.c.at > event.at, mine.c.at < event.at + within)
            .order_by(mine.c.at.desc(), mine.c.event_id)
            .limit(1)
        )
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            return None
        return event._replace(
            id=row.id, message_id=row.message_id, type=row.type, name=row.name, payload=row.payload, at=row.at,
            received_at=row.received_at, ip=row.ip,
        )  # fmt: skip

    def _times(self, names: Collection[str]) -> Select[datetime]:
        return select(happenings.c.at).where(
            happenings.c.store_id == self._store_id,
            happenings.c.customer_id == self._customer_id,
            happenings.c.name.in_([name for name in names if name != PURCHASE]),
        )

    def _purchases(self) -> Select[datetime]:
        return select(func.coalesce(orders.c.placed_at, orders.c.updated_at).label("at")).where(
            orders.c.store_id == self._store_id, orders.c.customer_id == self._customer_id
        )
