"""The queue of accepted events: which are next in a lane, what became of them, which were given up."""

import json
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import TypeAdapter
from sqlalchemy import (
    Integer,
    Row,
    Select,
    TableValuedAlias,
    Text,
    Update,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.at_once import ACROSS_STORES, Asked, asked_at_once
from adapters.postgres.statements import built_once, one_of
from adapters.postgres.tables import OPEN, events
from adapters.postgres.tenancy import as_store
from domain import ids
from domain.commands import Command
from domain.events import Event, Who
from domain.values import Value

CHANNEL = "journeys_events"
"""The NOTIFY channel on which ingest wakes the routers."""

_LANES = 7_221_000
_IDENTITY = func.coalesce(
    literal("c:") + cast(events.c.customer_id, Text),
    literal("u:") + events.c.user_id,
    literal("a:") + events.c.anonymous_id,
    literal("e:") + events.c.email,
    "-",
)
"""`Who.lane` in SQL."""
# Said by what it is not: with `state = 'pending'` Postgres may take the index of what is unapplied for a short list,
# and read a store's whole backlog for each batch.
_PENDING = text("state not in ('applied', 'routed', 'parked')")
_LEFT = ("payload", "shard", "retry_at", "error")
_READ = [column for column in events.c if column.name not in _LEFT]
"""What is read of an event that is next: of most, nobody asks for the payload."""
_APPLIED = (
    update(events)
    .where(events.c.id == bindparam("event"))
    .values(state="applied", commands=bindparam("todo", type_=JSONB))
)
_COMMANDS: TypeAdapter[list[Command]] = TypeAdapter(list[Command])


class Queued:
    """An event in the queue: what its envelope says at once, and the event itself once it is to be applied.

    Attributes:
        commands: Set once the event has been applied.
        traceparent: The trace that its request belonged to.
    """

    def __init__(
        self, of: Event | Row[Any], attempts: int = 0, commands: Sequence[Command] | None = None,
        traceparent: str | None = None,
    ) -> None:  # fmt: skip
        """Queue an event, or the row of one, without its payload."""
        self._of = of
        self._event = of if isinstance(of, Event) else None
        self.id: UUID = of.id
        self.store_id: str = of.store_id
        self.type: str = of.type
        self.name: str | None = of.name
        self.received_at: datetime = of.received_at
        self.attempts = attempts
        self.commands = commands
        self.traceparent = traceparent

    @property
    def who(self) -> Who:
        """The identities that it names."""
        return self._of.who if isinstance(self._of, Event) else _who(self._of)

    @property
    def names_two(self) -> bool:
        """Whether it names more than one identity, so that it may say that they are the same person's."""
        who = self._of.who if isinstance(self._of, Event) else self._of
        return (who.user_id is not None) + (who.anonymous_id is not None) + (who.email is not None) > 1

    @property
    def event(self) -> Event:
        """The event, of which the payload was read."""
        assert self._event is not None, "still_pending() reads it"  # noqa: S101
        return self._event

    def read(self, payload: str) -> None:
        """Take the payload in, which is JSON."""
        if not isinstance(self._of, Event):
            self._event = event_of(self._of, json.loads(payload))

    def owing(self, commands: Sequence[Command]) -> "Queued":
        """Return it as it is once it has been applied."""
        return Queued(self._of, self.attempts, commands, self.traceparent)


class Parked(Value):
    """An event that was given up, and why."""

    id: UUID
    message_id: str
    name: str | None
    received_at: datetime
    attempts: int
    error: str


def listener() -> str:
    """Name the connection on which this machine's router hears of events, as Postgres shows it (at most 63 bytes)."""
    return f"journeys-router@{socket.gethostname()}"[:63]


async def waiting_lanes(connection: AsyncConnection, now: datetime) -> dict[int, int]:
    """Return how many events wait in the lanes that have something to do now.

    The lane that has waited longest comes first: none may starve. The connection is of an engine that is `unbegun`.
    """
    _, waiting = await asked_at_once(connection, ACROSS_STORES, _waiting(now))
    return {row.shard: row.events for row in waiting}


@built_once
def _waiting(now: datetime) -> Select[Any]:
    due = or_(events.c.retry_at.is_(None), events.c.retry_at <= now)
    waiting = select(events.c.shard, func.count().label("events")).where(OPEN, due)
    return waiting.group_by(events.c.shard).order_by(func.min(events.c.received_at))


async def take_lanes(
    connection: AsyncConnection, lanes: Collection[int], limit: int, now: datetime
) -> tuple[list[int], list[Queued]]:
    """Try to own lanes until `leave_lanes` or the end of the connection, however that ends, and read what is next.

    Args:
        connection: Of an engine that is `unbegun`.
        lanes: Those that we would have.
        limit: Events at most.
        now: What waits for a later moment is not read.

    Returns:
        The lanes that we got, and the oldest open events in them (`next_in_lanes`).
    """
    taken, _, rows = await asked_at_once(connection, _take(list(lanes)), ACROSS_STORES, _next(list(lanes), limit, now))
    ours = [row.lane for row in taken]
    if len(ours) == len(lanes):
        return ours, _queued(rows)
    return ours, await next_in_lanes(connection, ours, limit, now) if ours else []


async def leave_lanes(connection: AsyncConnection) -> None:
    """Give all lanes back that a connection owns."""
    await asked_at_once(connection, ("select pg_advisory_unlock_all()", None))


@built_once
def _take(lanes: list[int]) -> Select[Any]:
    lane = _each(lanes).c.lane
    return select(lane).where(func.pg_try_advisory_lock(_LANES, cast(lane, Integer)))


def _each(lanes: list[int]) -> TableValuedAlias:
    return func.unnest(lanes).table_valued("lane").render_derived(name="each")


async def hold_lanes(connection: AsyncConnection, store_id: str, names: Iterable[str]) -> None:
    """Wait until nobody routes events of these identities (`Who.lane`), and let nobody until the transaction ends."""
    for lane in sorted({ids.shard(store_id, name) for name in names}):
        await connection.execute(select(func.pg_advisory_xact_lock(_LANES, lane)))


async def next_in_lanes(connection: AsyncConnection, lanes: Collection[int], limit: int, now: datetime) -> list[Queued]:
    """Return the oldest open events of these lanes that are due, in order.

    An event that waits for its retry holds back the other events of the same identity, and only those.
    """
    _, rows = await asked_at_once(connection, ACROSS_STORES, _next(list(lanes), limit, now))
    return _queued(rows)


def _queued(rows: Iterable[Any]) -> list[Queued]:
    return [
        Queued(
            row,
            row.attempts,
            None if row.state == "pending" else _COMMANDS.validate_python(row.commands or []),
            row.traceparent,
        )
        for row in rows
    ]


@built_once
def _next(lanes: list[int], limit: int, now: datetime) -> Select[Any]:
    held = select(events.c.store_id, _IDENTITY).where(one_of(events.c.shard, lanes), OPEN, events.c.retry_at > now)
    free = tuple_(events.c.store_id, _IDENTITY).not_in(held)
    each = _each(lanes)
    # Lane by lane: each is in order in its index, and all of them together are not.
    oldest = select(*_READ).where(events.c.shard == each.c.lane, OPEN, free).order_by(events.c.id).limit(limit)
    found = oldest.correlate(each).lateral("found")
    return select(found).select_from(each.join(found, true())).order_by(found.c.id).limit(limit)


def still_pending(batch: Sequence[Queued]) -> Asked:
    """Lock those of these events that nobody has applied meanwhile, and read what they say (`read`).

    Whoever loses the connection that owns a lane does not notice before the batch is through; the next owner
    must not apply the same events again and overwrite the commands that are owed for them.
    """
    return _lock([queued.id for queued in batch])


def read(batch: Sequence[Queued], locked: Iterable[Any]) -> list[Queued]:
    """Return those of a batch that are still pending, in its order, with what they say."""
    payloads = {row.id: row.payload for row in locked}
    pending = [queued for queued in batch if queued.id in payloads]
    for queued in pending:
        queued.read(payloads[queued.id])
    return pending


@built_once
def _lock(event_ids: list[UUID]) -> Select[Any]:
    here = (one_of(events.c.id, event_ids), _PENDING)
    read = select(events.c.id, cast(events.c.payload, Text).label("payload"))
    return read.where(*here).order_by(events.c.id).with_for_update()


def applied(commands: Mapping[UUID, Sequence[Command]]) -> list[Asked]:
    """Note that these events changed the state, and what is still to be done for them in Temporal."""
    done = [event_id for event_id, todo in commands.items() if not todo]
    owed = {event_id: _COMMANDS.dump_python(list(todo), mode="json") for event_id, todo in commands.items() if todo}
    noted: list[Asked] = [routed(done)] if done else []
    return noted + [(_APPLIED, {"event": event_id, "todo": Jsonb(todo)}) for event_id, todo in owed.items()]


@built_once
def passed_by(event_ids: list[UUID]) -> Select[UUID]:
    """Note that nothing had to be done for these events; find those of which somebody else has noted it meanwhile."""
    here = (one_of(events.c.id, event_ids), _PENDING)
    change = update(events).where(*here).values(state="routed", error=None, retry_at=None)
    passed = change.returning(events.c.id).cte("passed")
    each = func.unnest(event_ids).table_valued("id").render_derived(name="each")
    return select(cast(each.c.id, Uuid)).where(each.c.id.not_in(select(passed.c.id)))


@built_once
def routed(event_ids: list[UUID]) -> Update:
    """Note that everything was done for these events."""
    change = update(events).where(one_of(events.c.id, event_ids))
    return change.values(state="routed", error=None, retry_at=None, commands=None)


async def mark_failed(connection: AsyncConnection, event_id: UUID, error: str, retry_at: datetime | None) -> None:
    """Note a failure: the event is tried again at `retry_at`, or given up (parked) when that is None."""
    readable = error.replace("\0", "")[:2000]  # Postgres stores any text but that character
    values: dict[str, Any] = {"attempts": events.c.attempts + 1, "error": readable, "retry_at": retry_at}
    if retry_at is None:
        values["state"] = "parked"
    await connection.execute(update(events).where(events.c.id == event_id).values(values))


async def told_on_pages(connection: AsyncConnection, store_id: str, customer_id: UUID) -> list[Event]:
    """Return what a customer did on our own pages that is not applied yet, oldest first."""
    mine = (events.c.store_id == store_id) & (events.c.customer_id == customer_id)
    query = select(events).where(mine, events.c.state.in_(["pending", "parked"]), events.c.commands.is_(None))
    return [event_of(row, row.payload) for row in (await connection.execute(query.order_by(events.c.id))).all()]


async def parked(engine: AsyncEngine, store_id: str) -> list[Parked]:
    """Return the events of a store that were given up, oldest first."""
    query = select(events).where(events.c.store_id == store_id, events.c.state == "parked").order_by(events.c.id)
    async with as_store(engine, store_id) as connection:
        rows = (await connection.execute(query)).all()
    return [Parked.model_validate(row, from_attributes=True) for row in rows]


async def retry(engine: AsyncEngine, store_id: str, event_id: UUID | None = None) -> int:
    """Put parked events (or one of them) back into the queue.

    Returns:
        How many.
    """
    async with as_store(engine, store_id) as connection:
        return await put_back(connection, store_id, event_id)


async def put_back(connection: AsyncConnection, store_id: str, event_id: UUID | None = None) -> int:
    """Do what `retry` does, in a transaction of the caller."""
    query = update(events).where(events.c.store_id == store_id, events.c.state == "parked")
    if event_id is not None:
        query = query.where(events.c.id == event_id)
    # An event that was applied before it was parked owes only its commands.
    state = case((events.c.commands.is_(None), "pending"), else_="applied")
    result = await connection.execute(query.values(state=state, attempts=0, retry_at=None).returning(events.c.id))
    await connection.execute(text("select pg_notify(:channel, '')"), {"channel": CHANNEL})
    return len(result.all())


def _who(row: Row[Any]) -> Who:
    return Who(user_id=row.user_id, anonymous_id=row.anonymous_id, email=row.email, customer_id=row.customer_id)


def event_of(row: Row[Any], payload: dict[str, Any]) -> Event:
    """Make an event of its row."""
    return Event(
        store_id=row.store_id, id=row.id, message_id=row.message_id, type=row.type, name=row.name, who=_who(row),
        payload=payload, at=row.at, received_at=row.received_at, ip=row.ip,
    )  # fmt: skip
