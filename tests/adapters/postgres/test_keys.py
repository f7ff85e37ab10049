"""Keys over their lives, limits over several processes, and an audit log that only grows, on a real Postgres."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import audit, stores
from adapters.postgres.engine import create_engine
from adapters.postgres.keys import KeyStore
from adapters.postgres.meter import Meter
from adapters.postgres.migrations import upgrade
from adapters.settings import Settings
from domain.access import WRITE_KEY, Grant, Scope
from domain.errors import InvalidInput, LimitReached, NotAuthorised, NotFound, OperationRefused, Unavailable
from domain.limits import DEFAULT, Limit
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock, statements

READS = Grant(kind="api", scopes=(Scope.READ,), name="dashboard")
DAY = timedelta(days=1)


@pytest.fixture
def keys(engine: AsyncEngine, clock: SteppedClock) -> KeyStore:
    """The keys, as one process knows them."""
    return KeyStore(engine, clock)


async def test_an_old_key_works_beside_the_new_one_and_then_ends_by_itself(
    keys: KeyStore, engine: AsyncEngine, store: Shop, clock: SteppedClock
) -> None:
    """To the moment, also in a process that has seen it and still remembers it; the new one opens the same."""
    old = await keys.create("mugs", READS, by="test")
    other = KeyStore(engine, clock, remember=1_000)
    new = await keys.rotate("mugs", old.key_id, DAY, by="test")
    assert (await other.verify(old.secret)).scopes == (await other.verify(new.secret)).scopes == {Scope.READ}

    clock.advance(DAY - timedelta(seconds=1))
    assert (await other.verify(old.secret)).key_id == old.key_id
    clock.advance(timedelta(seconds=1))
    for one in (keys, other, KeyStore(engine, clock)):
        with pytest.raises(NotAuthorised):
            await one.verify(old.secret)
        assert (await one.verify(new.secret)).key_id == new.key_id

    states = {key.key_id: (key.state, key.replaced_by, key.name) for key in await keys.listed("mugs")}
    assert states[old.key_id] == ("ended", new.key_id, "dashboard")
    assert states[new.key_id] == ("active", None, "dashboard")


async def test_a_rotation_without_overlap_ends_the_old_key_at_once(keys: KeyStore, store: Shop) -> None:
    """For a secret that has leaked."""
    old = await keys.create("mugs", WRITE_KEY, by="test")
    await keys.verify(old.secret)
    await keys.rotate("mugs", old.key_id, timedelta(0), by="test")

    with pytest.raises(NotAuthorised):
        await keys.verify(old.secret)


async def test_what_cannot_be_rotated_is_refused(keys: KeyStore, store: Shop) -> None:
    """Twice, after the end, of another store, or for longer than anybody remembers."""
    old, gone = [await keys.create("mugs", READS, by="test") for _ in range(2)]
    await keys.rotate("mugs", old.key_id, DAY, by="test")
    await keys.revoke("mugs", gone.key_id, by="test")
    for key_id in (old.key_id, gone.key_id):
        with pytest.raises(OperationRefused):
            await keys.rotate("mugs", key_id, DAY, by="test")
    with pytest.raises(NotFound):
        await keys.rotate("hats", old.key_id, DAY, by="test")
    for overlap in (-DAY, 91 * DAY):
        with pytest.raises(InvalidInput, match="overlap"):
            await keys.rotate("mugs", old.key_id, overlap, by="test")


async def test_a_key_has_its_own_limit_or_its_stores_or_the_default(
    keys: KeyStore, engine: AsyncEngine, store: Shop, clock: SteppedClock
) -> None:
    """The nearest counts, and a rotated key keeps it."""
    new, fresh = await keys.create("mugs", WRITE_KEY, by="test"), KeyStore(engine, clock, remember=0)
    seen = [(await fresh.verify(new.secret)).limit]
    theirs, own = Limit(per_second=5, burst=50), Limit(per_second=2, burst=20)
    await stores.set_limit(engine, "mugs", theirs, clock(), by="test")
    seen.append((await fresh.verify(new.secret)).limit)
    await keys.limit("mugs", new.key_id, own, by="test")
    seen.append((await fresh.verify(new.secret)).limit)
    rotated = await keys.rotate("mugs", new.key_id, DAY, by="test")
    seen.append((await fresh.verify(rotated.secret)).limit)
    await keys.limit("mugs", new.key_id, None, by="test")
    await stores.set_limit(engine, "mugs", None, clock(), by="test")
    seen.append((await fresh.verify(new.secret)).limit)

    assert seen == [DEFAULT, theirs, own, own, DEFAULT]


async def test_keys_from_before_there_were_scopes_open_what_they_opened(
    database_url: str, fresh_database: str, clock: SteppedClock
) -> None:
    """A write key sends events, an admin key opens everything; what was revoked stays revoked."""
    from alembic import command

    from adapters.postgres.migrations import config

    command.stamp(config(fresh_database), "0003", purge=True)
    with psycopg.connect(fresh_database) as connection:
        connection.execute("drop schema public cascade; create schema public")
    upgrade(fresh_database, "0003")
    with psycopg.connect(fresh_database) as connection:
        connection.execute(
            "insert into stores (store_id, name, url, sender_email, sender_name, created_at) "
            "values ('mugs', 'Mugs', '', '', '', now())"
        )
        for kind, revoked in (("write", "null"), ("admin", "null"), ("admin", "now()")):
            connection.execute(
                "insert into keys (store_id, key_id, kind, hash, created_at, revoked_at) values ('mugs', "  # noqa: S608
                f"gen_random_uuid(), '{kind}', encode(sha256('{kind} {revoked}'), 'hex'), now(), {revoked})"
            )
    upgrade(fresh_database)

    engine = create_engine(Settings(database_url=fresh_database).sqlalchemy_url)
    keys = KeyStore(engine, clock)
    write, admin = await keys.verify("write null"), await keys.verify("admin null")
    assert (write.kind, write.scopes, admin.kind, admin.scopes) == ("write", set(), "api", set(Scope))
    with pytest.raises(NotAuthorised):
        await keys.verify("admin now()")
    await engine.dispose()


class Seconds:
    """A clock of seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_processes_learn_within_a_second_what_the_others_gave_away(
    keys: KeyStore, engine: AsyncEngine, store: Shop, clock: SteppedClock
) -> None:
    """Each has given a bucketful before it knew; then both refuse until what was too much has come back."""
    new = await keys.create("mugs", WRITE_KEY, by="test")
    limit, seconds = Limit(per_second=0.001, burst=10), Seconds()  # what comes back during this test does not count
    access = (await keys.verify(new.secret)).model_copy(update={"limit": limit})
    one, other = Meter(seconds), Meter(seconds)
    for meter in (one, other):
        meter.take(access, 6)
        assert meter.allowance(access).left == pytest.approx(4)

    await one.share(engine, clock())
    await other.share(engine, clock())
    one.take(access, 1)  # it has not heard yet
    assert other.allowance(access).left == pytest.approx(-2, abs=0.1)
    with pytest.raises(LimitReached) as refused:
        other.take(access, 1)
    assert refused.value.wait == pytest.approx(3_000, abs=100)
    await one.share(engine, clock())
    assert one.allowance(access).left == pytest.approx(-3, abs=0.1)
    with pytest.raises(LimitReached):
        one.take(access, 1)

    seconds.now += 4_000
    one.take(access, 1)
    (told,) = [key for key in await keys.listed("mugs") if key.key_id == new.key_id]
    assert told.last_used_at == clock()


async def test_while_the_database_is_away_each_process_counts_for_itself_and_tells_later(
    keys: KeyStore, engine: AsyncEngine, store: Shop, clock: SteppedClock
) -> None:
    """No request waits for it, and nothing is forgotten."""
    new, limit = await keys.create("mugs", WRITE_KEY, by="test"), Limit(per_second=0.001, burst=10)
    access = (await keys.verify(new.secret)).model_copy(update={"limit": limit})
    one, other, nowhere = Meter(), Meter(), create_engine("postgresql+psycopg://postgres@127.0.0.1:1/nowhere")
    one.take(access, 8)
    with pytest.raises(Unavailable):
        await one.share(nowhere, clock())
    await nowhere.dispose()
    assert one.allowance(access).left == pytest.approx(2, abs=0.1)

    other.take(access, 8)
    await one.share(engine, clock())
    await other.share(engine, clock())
    assert other.allowance(access).left == pytest.approx(-6, abs=0.1)


async def test_a_steady_client_below_its_limit_is_never_refused_by_sharing(
    keys: KeyStore, engine: AsyncEngine, store: Shop, clock: SteppedClock
) -> None:
    """What was taken over the last second is not taken for taken just now, however small the bucket."""
    new, limit, seconds = await keys.create("mugs", WRITE_KEY, by="test"), Limit(per_second=10, burst=2), Seconds()
    access = (await keys.verify(new.secret)).model_copy(update={"limit": limit})
    meter = Meter(seconds)
    for _ in range(10):
        meter.take(access, 1)
        seconds.now += 0.1001
    await meter.share(engine, clock())
    for _ in range(2):
        meter.take(access, 1)


ATTEMPTS = (
    "update audit set by = 'cli:nobody'",
    "delete from audit",
    "truncate audit",
    "set local journeys.retention = 'on'; update audit set by = 'cli:nobody'",
)


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_the_database_itself_keeps_the_audit_log_as_it_is(
    engine: AsyncEngine, store: Shop, database: str, attempt: str
) -> None:
    """Whatever a program or a person tries; even retention may only take away, never change."""
    before = await audit.listed(engine, "mugs")
    assert [entry.action for entry in before].count("key_created") == 2
    with psycopg.connect(database) as connection, pytest.raises(InsufficientPrivilege, match="append-only"):
        connection.execute(attempt)

    assert await audit.listed(engine, "mugs") == before


async def test_the_audit_log_is_read_page_by_page(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> None:
    """Newest first, each entry once, though many have one moment; of one store only (G7)."""
    async with as_owner(engine) as connection:
        for store_id in ("mugs", "hats"):
            for number in range(5):
                await audit.write(
                    connection, store_id, by="test", action="pause", subject="journey:welcome",
                    detail={"number": number}, at=clock() + timedelta(minutes=number // 2),
                )  # fmt: skip
    seen: list[Any] = []
    before: UUID | None = None
    while page := await audit.listed(engine, "mugs", action="pause", before=before, limit=2):
        seen, before = [*seen, *page], page[-1].audit_id

    assert len(seen) == len({entry.audit_id for entry in seen}) == 5
    assert [entry.at for entry in seen] == sorted((entry.at for entry in seen), reverse=True)


async def test_requests_that_show_a_key_at_once_ask_for_it_once(
    keys: KeyStore, engine: AsyncEngine, store: Shop, clock: SteppedClock
) -> None:
    """A thousand connections after a restart are one look at the database, and one wrong key is refused to all."""
    fresh = KeyStore(engine, clock)
    with statements(engine) as looks:
        found = await asyncio.gather(*(fresh.verify(store.write_key) for _ in range(50)))
        wrong = await asyncio.gather(*(fresh.verify("write_wrong") for _ in range(50)), return_exceptions=True)

    assert len({access.key_id for access in found}) == 1
    assert {type(problem) for problem in wrong} == {NotAuthorised}
    assert sum("FROM keys" in look for look in looks) == 2
