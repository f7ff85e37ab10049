"""Imports of customers: by COPY into a staging table, and from there into the tables that `identify` events fill.

Only customers of whom nothing is known take this way. Whoever is known already, is silenced, was erased or stands in
the rows twice goes through the door as an event, so that nothing is decided here that is decided elsewhere. Both ways
lead to the same state (docs/importing.md).
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import cast

import psycopg
from sqlalchemy import Update, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import audit, plans, tombstones
from adapters.postgres.identities import lone_introducer
from adapters.postgres.import_lines import PROFILE, ROW, WORD, Block
from adapters.postgres.tables import imports
from adapters.postgres.tenancy import as_store
from domain.operations import Operator
from domain.values import UtcTime, Value

_STAGE = """
    create temp table if not exists import_rows (
        place integer, customer_id uuid, user_id text, anonymous_id text, named_email text, email text, phone text,
        first_name text, last_name text, locale text, timezone text, traits jsonb, told_at jsonb
    ) on commit delete rows;
    create temp table if not exists import_words (
        place integer, consent_id uuid, channel text, topic text, granted boolean, source text, ip text, wording text,
        at timestamptz
    ) on commit delete rows
"""
_ANALYZED = "journeys.import_analyzed"
_NAMES = """
    names as (
        select place, customer_id, 'user' as kind, user_id as value from import_rows where user_id is not null
        union all
        select place, customer_id, 'anonymous', anonymous_id from import_rows where anonymous_id is not null
        union all
        select place, customer_id, 'email', named_email from import_rows where named_email is not null
    )"""
# Who is no stranger, or shares a name with a row before: with whether the row says anything new. Each name is looked up
# by itself (`limit 1` makes it so): from half a million customers on, Postgres would rather read through all names.
_NOT_NEW = text(f"""
    with {_NAMES}, known as (
        select n.place, count(*) as names, count(distinct i.customer_id) as owners,
               (array_agg(i.customer_id))[1] as owner
        from names n cross join lateral (
            select customer_id from identities i where i.store_id = :store_id and i.kind = n.kind and i.value = n.value
            limit 1
        ) i
        group by n.place
    ), again as (
        select place from (select place, row_number() over (partition by kind, value order by place) as turn from names)
        where turn > 1
    ), silenced as (
        select r.place from import_rows r cross join lateral (
            select from suppressions s where s.store_id = :store_id and s.channel = 'email' and s.address = r.email
              and s.reason = 'unsubscribed' limit 1
        ) s
    )
    select r.place, coalesce(k.owners = 1 and k.names = num_nonnulls(r.user_id, r.anonymous_id, r.named_email)
        and exists (
            select from customers c where c.store_id = :store_id and c.customer_id = k.owner and c.merged_into is null
              and coalesce(c.email = r.email, r.email is null) and coalesce(c.phone = r.phone, r.phone is null)
              and coalesce(c.first_name = r.first_name, r.first_name is null)
              and coalesce(c.last_name = r.last_name, r.last_name is null)
              and coalesce(c.locale = r.locale, r.locale is null)
              and coalesce(c.timezone = r.timezone, r.timezone is null) and c.traits @> r.traits
        ) and not exists (
            select from import_words w where w.place = r.place and w.granted is distinct from (
                select l.granted from consents l where l.store_id = :store_id and l.customer_id = k.owner
                  and l.channel = w.channel and l.topic = w.topic and l.source = w.source
                  and (w.source = 'identify' or l.at = w.at)
                order by l.at desc limit 1)
        ), false) as unchanged
    from import_rows r left join known k on k.place = r.place
    where k.place is not null or r.place in (select place from again) or r.place in (select place from silenced)
""")  # noqa: S608 - made of constants
# Erased customers are recognised by salted hashes; most stores have none. Each is looked up by itself, as above.
_ERASED = text(f"""
    with {_NAMES}, salted as (
        select n.place, s.salt || ':' || n.kind || ':' || n.value as name
        from names n join stores s on s.store_id = :store_id
    ), hashed as (
        select place, encode(sha256(convert_to(name, 'UTF8')), 'hex') as digest from salted
    )
    select distinct h.place from hashed h cross join lateral (
        (select from tombstones t where t.store_id = :store_id and t.digest = h.digest limit 1)
        union all
        (select from suppressions s where s.store_id = :store_id and s.channel in ('email', 'sms', 'push')
           and s.address = h.digest limit 1)
    ) found
""")  # noqa: S608 - made of constants
_LEAVE_OUT = text("delete from import_rows where place = any(:places)")
_TAKE = text(f"""
    with {_NAMES}, people as (
        insert into customers (store_id, customer_id, {", ".join(PROFILE)}, traits, told_at, created_at)
        select :store_id, customer_id, {", ".join(PROFILE)}, traits, told_at, :now from import_rows
    ), named as (
        insert into identities (store_id, kind, value, customer_id)
        select :store_id, kind, value, customer_id from names
    ), said as (
        insert into consents (store_id, consent_id, customer_id, channel, topic, granted, source, ip, wording,
                              confirmation, at, recorded_at)
        select :store_id, w.consent_id, r.customer_id, w.channel, w.topic, w.granted, w.source, w.ip, w.wording,
               case when :asks and w.granted and w.channel = 'email' then 'awaited' end, w.at, :now
        from import_words w join import_rows r on r.place = w.place
    )
    select count(*) from import_rows
""")  # noqa: S608 - made of constants


class Progress(Value):
    """How far an import is.

    Attributes:
        as_of: When rows that do not say themselves were true.
        line: The last line of the file that is done with.
        new: Customers who were not known before.
        known: Rows that said nothing new.
        told: Rows that went through the door as events.
        bad: Rows that were left out.
    """

    as_of: UtcTime
    line: int = 0
    new: int = 0
    known: int = 0
    told: int = 0
    bad: int = 0

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return self.new + self.known + self.told + self.bad


Door = Callable[[Sequence[int]], Awaitable[None]]
"""Takes the rows of these lines in as events."""


class CustomerImport:
    """The import of one file into one store; only one goes on at a time."""

    def __init__(self, engine: AsyncEngine, store_id: str, fingerprint: str) -> None:
        self._engine = engine
        self._store_id = store_id
        self._fingerprint = fingerprint

    async def begin(self, as_of: datetime, now: datetime) -> Progress:
        """Begin, or go on where an earlier attempt with the same file was interrupted."""
        key = {"store_id": self._store_id, "fingerprint": self._fingerprint}
        fresh = Progress(as_of=as_of)
        async with as_store(self._engine, self._store_id) as connection:
            unfinished = select(imports).filter_by(**key).where(imports.c.finished_at.is_(None))
            row = (await connection.execute(unfinished)).one_or_none()
            if row is not None:
                return Progress.model_validate(row, from_attributes=True)
            values = {**fresh.model_dump(), "begun_at": now, "finished_at": None}
            statement = upsert(imports).values(**key, **values)
            await connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
        return fresh

    async def take(self, block: Block, progress: Progress, door: Door, now: datetime) -> Progress:
        """Take rows in, in one transaction with the word of how far we are."""
        async with as_store(self._engine, self._store_id) as connection:
            await lone_introducer(connection, self._store_id)
            await _stage(connection, block)
            here = {"store_id": self._store_id}
            found = (await connection.execute(_NOT_NEW, here)).all()
            known = {row.place for row in found if row.unchanged}
            others = {row.place for row in found} - known
            if await connection.scalar(select(tombstones.laid(self._store_id))):
                erased = set((await connection.execute(_ERASED, here)).scalars())
                known, others = known - erased, others | erased
            if known or others:
                await connection.execute(_LEAVE_OUT, {"places": [*known, *others]})
            asks = await _asks_for_confirmation(connection, self._store_id)
            new = await connection.scalar(_TAKE, {**here, "now": now, "asks": asks}) or 0
            if others:
                # Before the commit: if we die in between, the rows come again, and their events are known by then.
                await door(sorted(others))
            done = progress.model_copy(
                update={
                    "line": block.last_line, "new": progress.new + new, "known": progress.known + len(known),
                    "told": progress.told + len(others), "bad": progress.bad + block.bad,
                }
            )  # fmt: skip
            await connection.execute(self._mine().values(done.model_dump(exclude={"as_of"})))
        return done

    async def finish(self, progress: Progress, now: datetime, *, by: Operator) -> None:
        """Note that the file is through; the next import of it begins at its first line."""
        async with as_store(self._engine, self._store_id) as connection:
            await connection.execute(self._mine().values(finished_at=now))
            await audit.write(
                connection, self._store_id, by=by, action="customers_imported", subject=f"store:{self._store_id}",
                detail=progress.model_dump(mode="json", exclude={"as_of", "line"}), at=now,
            )  # fmt: skip

    def _mine(self) -> Update:
        mine = update(imports).where(imports.c.store_id == self._store_id)
        return mine.where(imports.c.fingerprint == self._fingerprint)


async def _asks_for_confirmation(connection: AsyncConnection, store_id: str) -> bool:
    """Tell whether the store's consent counts only once it is confirmed (docs/consent.md)."""
    offer = (await plans.current(connection, store_id)).get("double-opt-in")
    return offer is not None and offer.plan.enabled


async def _stage(connection: AsyncConnection, block: Block) -> None:
    driver = cast("psycopg.AsyncConnection", (await connection.get_raw_connection()).driver_connection)
    async with driver.cursor() as cursor:
        await cursor.execute(_STAGE)
        for table, columns, content in (("import_rows", ROW, block.rows), ("import_words", WORD, block.words)):
            async with cursor.copy(f"copy {table} ({', '.join(columns)}) from stdin") as copy:
                await copy.write(content)
        if _ANALYZED not in connection.info:
            # Nobody else will, and joins hang on it. One block is like the other.
            await cursor.execute("analyze import_rows, import_words")
            connection.info[_ANALYZED] = True
