"""Arrivals: what is written of events that come in, and the statement that writes it.

No IP address goes in whole, whoever brings it, but for one: that of a customer who gives or withdraws consent, if the
store keeps it as evidence; it stands in `events.ip` and in the consent ledger. A payload that comes written has none
(`domain.events.Kept`); any other is written here.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters import tracing
from adapters.postgres.at_once import sent_as_a_whole
from adapters.postgres.tenancy import ACT, acting_as
from domain import ids
from domain.consent import tells_consent
from domain.decoding import facts
from domain.events import Event, EventType, Kept, Who, kept, shortened
from domain.gate import may_forbid
from domain.ip_addresses import anonymised
from domain.vocabulary import heard_as

# The values go in binary: as text, Postgres' arrays want every quote in a payload escaped.
# A commit is one round trip, and one of these for each store in it; the routers hear of it only if it commits. The
# answer is which events were known already: hardly ever one.
#
# `dedup_keys` says which events are new; only those go on into `events`. `is true` keeps the planner from
# comparing each with each.
#
# `held` makes "acknowledged before the claim" exact (G4): an event that may forbid a message takes a share of its
# customers' row locks until it is committed. A claim takes the whole lock, so it either waits and then sees the event,
# or has committed before the event is acknowledged. The router's weaker lock is not in the way. Which events may forbid
# a message is fixed, except for the exits of a store's follow-ups: one look at its plans per commit. Each customer is
# looked up by itself: joined, all of the store's were read with each commit while Postgres believed them to be few.
_INSERT = """
    with told as (
        select cast(%(store_id)b as text) as store_id, e.*
        from unnest(cast(%(id)b as uuid[]), cast(%(message_id)b as text[]), cast(%(type)b as text[]),
                    cast(%(name)b as text[]), cast(%(user_id)b as text[]), cast(%(anonymous_id)b as text[]),
                    cast(%(email)b as text[]), cast(%(customer_id)b as uuid[]), cast(%(payload)b as text[]),
                    cast(%(at)b as timestamptz[]), cast(%(received_at)b as timestamptz[]), cast(%(ip)b as text[]),
                    cast(%(shard)b as smallint[]), cast(%(forbids)b as boolean[]), cast(%(heard_as)b as text[]),
                    cast(%(traceparent)b as text[]))
             as e (id, message_id, type, name, user_id, anonymous_id, email, customer_id, payload, at, received_at, ip,
                   shard, forbids, heard_as, traceparent)
    ), exits as (
        select p.store_id, jsonb_array_elements_text(p.plan -> 'exits') as name from plans p
        where p.store_id in (select store_id from told) and p.journey like 'follow-up/%%'
    ), forbidding as (
        select * from told where forbids or (store_id, heard_as) in (select store_id, name from exits)
    ), held as (
        select c.customer_id from forbidding f
         cross join lateral (
               select i.customer_id from identities i
                where i.store_id = f.store_id and i.kind = 'user' and i.value = f.user_id
                union all select i.customer_id from identities i
                where i.store_id = f.store_id and i.kind = 'anonymous' and i.value = f.anonymous_id
                union all select i.customer_id from identities i
                where i.store_id = f.store_id and i.kind = 'email' and i.value = f.email
                union all select coalesce(m.merged_into, m.customer_id) from customers m
                where m.store_id = f.store_id and m.customer_id = f.customer_id) theirs
         cross join lateral (
               select c.customer_id from customers c
                where c.store_id = f.store_id and c.customer_id = theirs.customer_id for key share of c) c
    ), new as (
        insert into dedup_keys (store_id, message_id, event_id)
        select e.store_id, e.message_id, e.id from told e where (select count(*) from held) is not null
        on conflict (store_id, message_id) do nothing
        returning event_id
    ), stored as (
        insert into events (store_id, id, message_id, type, name, user_id, anonymous_id, email, customer_id, payload,
                            at, received_at, ip, shard, traceparent)
        select e.store_id, e.id, e.message_id, e.type, e.name, e.user_id, e.anonymous_id, e.email, e.customer_id,
               e.payload::jsonb, e.at, e.received_at, e.ip, e.shard, e.traceparent
        from told e where (e.id in (select event_id from new)) is true
    )
    select case when (select count(*) from new) < cardinality(%(id)b)
                then (select array_agg(id) from told where id not in (select event_id from new)) end,
           (select pg_notify('journeys_events', '') where exists (select from new))
"""


class Row(NamedTuple):
    """What of an event waits to be written: not what was read to make it, which is several times as much."""

    store_id: str
    id: UUID
    message_id: str
    type: EventType
    name: str | None
    who: Who
    payload: Kept
    at: datetime
    received_at: datetime
    ip: str | None
    traceparent: str | None


def rows_of(events: Sequence[Event], whole: Collection[str]) -> list[Row]:
    """Say what is written of events.

    Args:
        events: That were accepted.
        whole: Stores that keep the addresses of consent whole.
    """
    traceparent = tracing.traceparent()
    return [
        Row(
            event.store_id, event.id, event.message_id, event.type, event.name, event.who,
            event.kept or kept(shortened(event.payload)), event.at, event.received_at,
            _address(event, whole=event.store_id in whole), traceparent,
        )
        for event in events
    ]  # fmt: skip


async def write(connection: AsyncConnection, rows: Sequence[Row]) -> set[UUID]:
    """Write events in one transaction, which is sent as a whole; those of each store in this store's name.

    Returns:
        The ids of those that were known.
    """
    # Always in the same order, so that two processes with the same events wait for, not lock out, each other.
    once = {row.id: row for row in rows}
    rows = sorted(once.values(), key=attrgetter("store_id", "message_id"))
    answers = []
    async with sent_as_a_whole(connection) as driver:
        for store_id, told in groupby(rows, key=attrgetter("store_id")):
            await driver.execute(ACT, acting_as(store_id))
            answers.append(await driver.execute(_INSERT, {"store_id": store_id, **_columns(list(told))}))
    return {event_id for answer in answers for known, _ in await answer.fetchall() for event_id in known or ()}


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    # A column of all rows before the next one costs a processor less than all columns of one (docs/performance.md).
    store_ids, event_ids, message_ids, types, names, whos, payloads, moments, received, addresses, parents = zip(
        *rows, strict=True
    )
    user_ids, anonymous_ids, emails, customer_ids = zip(*whos, strict=True)
    kinds = list(zip(types, names, strict=True))
    known = {kind: (may_forbid(*kind) or None, heard_as(*kind)) for kind in set(kinds)}
    columns: dict[str, Iterable[Any]] = {
        "id": event_ids,
        "message_id": message_ids,
        "type": types,
        "name": names,
        "user_id": user_ids,
        "anonymous_id": anonymous_ids,
        "email": emails,
        "customer_id": customer_ids,
        "payload": [payload.decode() for payload in payloads],
        "at": moments,
        "received_at": received,
        "ip": addresses,
        "shard": [ids.shard(store_id, who.lane) for store_id, who in zip(store_ids, whos, strict=True)],
        "forbids": [known[kind][0] for kind in kinds],
        "heard_as": [known[kind][1] for kind in kinds],
        "traceparent": parents,
    }
    # Of a column in which nothing stands nothing is sent: `unnest` fills what is short up with nulls.
    return {name: [*values] if any(value is not None for value in values) else [] for name, values in columns.items()}


def _address(event: Event, *, whole: bool) -> str | None:
    if event.ip is None or (whole and tells_consent(facts(event, "XXX"))):
        return event.ip
    return anonymised(event.ip)
