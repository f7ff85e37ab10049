"""The disk: what a customer, an event and a journey leave in Postgres and in Temporal's database, indexes included."""

import asyncio

import psycopg

from adapters.postgres.ingest import EventStore
from api.envelope import Arrival, understood
from bench import calls
from bench.parts.cart import STEPS
from bench.parts.waiting import database_bytes, settled
from bench.runner import Run, part
from bench.stage import STORE, House, house, now, until

_SIZES = """
    select relation, sum(pg_total_relation_size(oid)), sum(pg_indexes_size(oid)) from (
        select oid, coalesce(pg_partition_root(oid), oid)::regclass::text as relation from pg_class
        where relkind = 'r' and relnamespace = 'public'::regnamespace
    ) as tables group by relation
"""
_Sizes = dict[str, tuple[int, int]]
"""Bytes of each table and its indexes together, and of the indexes alone."""


@part("storage", "bytes that a customer, an event and a journey leave", minutes=6)
async def storage(run: Run) -> None:
    """Tell of customers, of what they look at, and lead some of them through a whole journey; look at the files."""
    customers, looks, journeys = run.of(small=(2_000, 10_000, 100), full=(100_000, 500_000, 2_000))
    async with house(without=("api", "worker")) as place:
        await place.only("cart-recovery")
        steps = [{"name": name, "template": name, "delay": "PT1S" if n else "PT0S"} for n, name in enumerate(STEPS)]
        await place.plan("cart-recovery", quiet="PT1S", steps=steps)
        before = await _looked(place)
        await _told(place, [calls.subscriber(f"c{number}") for number in range(customers)])
        run.say(f"{customers:,} customers known")
        known = await _looked(place)
        await _told(place, [_viewed(number, customers) for number in range(looks)])
        run.say(f"{looks:,} looks told")
        looked = await _looked(place)
        began = database_bytes(place)
        place.stack.start("worker")
        await _told(place, [calls.cart(f"c{number}", number) for number in range(journeys)])

        async def over() -> bool:
            return len(place.mails()) >= 3 * journeys and not await place.running_workflows()

        await until(over)
        await settled(place)
        lived = await _looked(place)
        profile = _grown(before, known, exclude=("events", "dedup_keys"))
        _found(run, "a customer: profile, identities, consent", profile, customers)
        _found(run, "an event, with its key", _grown(known, looked, only=("events", "dedup_keys")), looks)
        wal = (looked[1] - known[1]) / looks
        run.found("an event in the log of Postgres, stored and routed", wal, "bytes")
        _found(run, "a look at a product", _grown(known, looked, only=("views",)), looks)
        of_runs = _grown(looked, lived, exclude=("events", "dedup_keys"))
        _found(run, "a journey of three messages", of_runs, journeys)
        ended = (database_bytes(place) - began) / journeys
        run.found("a journey of three messages that has ended, in Temporal's database", ended, "bytes")


def _viewed(number: int, customers: int) -> dict[str, object]:
    properties = {"product_id": f"MUG-{number % 200}", "name": "Blue mug", "price": 18.99, "currency": "EUR"}
    call = {"type": "track", "event": "Product Viewed", "userId": f"c{number % customers}", "messageId": f"v{number}"}
    return {**call, "properties": properties, "context": calls.CONTEXT}


async def _told(place: House, raws: list[dict[str, object]]) -> None:
    store, arrival = EventStore(place.engine), Arrival(store_id=STORE, received_at=now())
    for at in range(0, len(raws), 2_000):
        await store.accept([understood(raw, arrival) for raw in raws[at : at + 2_000]])
    await store.close()

    async def routed() -> bool:
        return not await place.waiting_events()

    await until(routed)


async def _looked(place: House) -> tuple[_Sizes, int]:
    """Return the sizes of the tables, and how far the log of Postgres is."""
    return await asyncio.to_thread(_read, place.stack.info.database_url)


def _read(url: str) -> tuple[_Sizes, int]:
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(_SIZES).fetchall()
        written = connection.execute("select pg_current_wal_lsn() - '0/0'").fetchone()
    return {name: (int(size), int(indexes)) for name, size, indexes in rows}, int(written[0] if written else 0)


def _grown(
    before: tuple[_Sizes, int], after: tuple[_Sizes, int], *, only: tuple[str, ...] = (), exclude: tuple[str, ...] = ()
) -> _Sizes:
    names = only or tuple(name for name in after[0] if name not in exclude)
    return {
        name: (after[0][name][0] - before[0][name][0], after[0][name][1] - before[0][name][1])
        for name in names
        if after[0][name] != before[0][name]
    }


def _found(run: Run, name: str, grown: _Sizes, count: int) -> None:
    bytes_each = {table: round(size / count) for table, (size, _) in sorted(grown.items())}
    indexes = round(sum(indexes for _, indexes in grown.values()) / count)
    total = sum(size for size, _ in grown.values()) / count
    run.found(name, total, "bytes", detail={"count": count, "of_which_indexes": indexes, "tables": bytes_each})
