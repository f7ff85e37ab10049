"""Every query of a hot path finds its rows by an index: no table that grows is read from end to end.

The statements are not listed here: a life is lived on large tables, and each statement is explained on the connection,
in the transaction and with the values with which it is executed.
"""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import event as happens
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import links, preferences, queue, tombstones
from adapters.postgres.engine import create_engine
from adapters.postgres.imports import CustomerImport, Progress
from adapters.postgres.ingest import EventStore
from adapters.postgres.keys import KeyStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.migrations.statistics import SUPPOSED
from adapters.postgres.reports import journeys_of
from adapters.postgres.tenancy import across_stores, as_store
from adapters.postgres.waitlist import PostgresWaitlist
from adapters.settings import Settings
from api.envelope import Arrival
from cli.importing.preparing import block_of
from cli.importing.reading import Row
from domain.commands import Command
from domain.delivery import CartQuiet, Delivery, InStock, OrderStands, PriceLow, Result, Rule, Slot, Undecided
from domain.events import Who
from domain.plans import Step
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import Shop
from worker.router import Router

NOW = START + timedelta(minutes=5)
HOUR = timedelta(hours=1)
SMALL = {"stores", "keys", "plans", "pauses", "sending_rules", "provider_secrets", "imports", "tombstones"}
"""Tables that grow with stores, plans and imports, not with customers and events."""
OURS = {"import_rows", "import_words"}
"""Staging tables: all of their rows are wanted."""

# Customers enough that no planner would rather read them all.
_FILL = """
    create temp table n as
        select n, md5('c' || n)::uuid as c, 'p' || n % 100 as p, 'c' || n || '@x.test' as address, (
            lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7' || substr(md5('e' || n), 1, 19)
        )::uuid as id from generate_series(1, 4000) n;
    insert into customers (store_id, customer_id, email, created_at) select 'mugs', c, address, '2026-01-01' from n;
    insert into identities (store_id, kind, value, customer_id) select 'mugs', 'user', 'u' || n, c from n;
    insert into identities (store_id, kind, value, customer_id) select 'mugs', 'email', address, c from n;
    insert into events (store_id, id, message_id, type, name, user_id, anonymous_id, email, payload, at, received_at,
                        shard, state, error)
        select 'mugs', id, 'm' || n, 'track', 'Product Viewed', 'u' || n, 'a' || n, address, '{}',
               '2026-01-01', '2026-01-01', n % 64, case when n % 40 = 0 then 'parked' else 'routed' end, 'why' from n;
    insert into dedup_keys (store_id, message_id, event_id) select 'mugs', 'm' || n, id from n;
    insert into carts (store_id, customer_id, cart, total_minor) select 'mugs', c, '{}', 0 from n;
    insert into orders (store_id, order_id, customer_id, status, placed_at, lines, updated_at)
        select 'mugs', 'o' || n, c, 'placed', '2026-01-01', '[{"product_id": "cup", "quantity": 1}]', '2026-01-01'
        from n;
    insert into products (store_id, product_id, name, category, price_minor, currency, stock, sold, told_at)
        select 'mugs', 'p' || n, 'Cup', 'k' || n % 50, 500, 'EUR', 5, n, jsonb_build_object(
            'stock', '2026-01-01T00:00:00+00:00', 'price_minor', '2026-01-01T00:00:00+00:00') from n;
    insert into views (store_id, view_id, customer_id, product_id, at)
        select 'mugs', md5('v' || n)::uuid, c, p, '2026-01-01' from n;
    insert into watchlist (store_id, customer_id, product_id, price_when_watched_minor, currency, notify_on_price_drop,
                           notify_on_restock, changed_at, active)
        select 'mugs', c, p, 900, 'EUR', true, true, '2026-01-01', true from n;
    insert into waitlist (store_id, product_id, customer_id, asked_at, told_at)
        select 'mugs', p, c, '2026-01-01', '2026-01-02' from n;
    insert into consents (store_id, consent_id, customer_id, channel, topic, granted, source, at, recorded_at)
        select 'mugs', md5('w' || n)::uuid, c, 'email', 'marketing_emails', true, 'form', '2026-01-01', '2026-01-01'
        from n;
    insert into suppressions (store_id, channel, address, reason, at)
        select 'mugs', 'email', 's' || n || '@x.test', 'bounced', '2026-01-01' from n;
    insert into runs (store_id, run_id, workflow_id, journey, customer_id, product_id, plan_version, since, begun_at,
                      expires_at)
        select 'mugs', md5('r' || n)::uuid, 'w' || n, 'back-in-stock', c, p, 0, '2026-01-01', '2026-01-01', '2027-01-01'
        from n;
    insert into messages (store_id, message_id, run_id, customer_id, journey, step, template, transactional, state,
                          address, claimed_at, sending_at)
        select 'mugs', md5('s' || n)::uuid, md5('r' || n)::uuid, c, 'back-in-stock', 'alert', 't', false, 'sent',
               address, '2026-01-01', '2026-01-01' from n;
    insert into decisions (store_id, decision_id, run_id, step, due, decided_at, result, because, inputs)
        select 'mugs', md5('d' || n)::uuid, md5('r' || n)::uuid, 'alert', '2026-01-01', '2026-01-01', 'sent', '', '{}'
        from n;
    insert into happenings (store_id, event_id, customer_id, name, at)
        select 'mugs', md5('e' || n)::uuid, c, 'Service Completed', '2026-01-01' from n;
    insert into discount_codes (store_id, code, pool, place, added_at)
        select 'mugs', 'code' || n, 'spring', n, '2026-01-01' from n;
    analyze
"""


class Plans:
    """The plans of all statements that were executed, by statement."""

    def __init__(self) -> None:
        self.by_statement: dict[str, list[Any]] = {}
        self.empty: set[str] = set()

    def full_reads(self) -> dict[str, set[str]]:
        """The statements that read a large table from end to end, and which."""
        found = {
            statement: {n["Relation Name"] for plan in plans for n in _nodes(plan) if n["Node Type"] == "Seq Scan"}
            for statement, plans in self.by_statement.items()
        }
        ignored = SMALL | OURS | self.empty
        return {" ".join(s.split()): large for s, tables in found.items() if (large := tables - ignored)}


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def explaining(plans: Plans) -> type[psycopg.AsyncCursor[Any]]:
    """A cursor that has each statement explained before it is executed."""

    class Explaining(psycopg.AsyncCursor[Any]):
        async def execute(self, query: Any, params: Any = None, **how: Any) -> Any:
            words = query.split(None, 1)[0].lower() if isinstance(query, str) else ""
            if words in {"select", "insert", "update", "delete", "with"}:
                async with psycopg.AsyncCursor(self.connection) as aside:
                    await aside.execute(f"explain (format json) {query}", params)
                    (row,) = await aside.fetchall()
                plans.by_statement.setdefault(query, []).append(row[0][0]["Plan"])
            return await super().execute(query, params, **how)

    return Explaining


class Nobody:
    """Carries nothing out."""

    async def execute(self, store_id: str, command: Command) -> bool:
        return True


@pytest.fixture
def plans() -> Plans:
    return Plans()


@pytest.fixture(params=[{}])
async def watched(settings: Settings, plans: Plans, request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    """A pool whose connections explain what they execute."""
    engine = create_engine(settings.sqlalchemy_url, **request.param)

    @happens.listens_for(engine.sync_engine, "connect")
    def explain(connection: Any, _: object) -> None:
        connection.driver_connection.cursor_factory = explaining(plans)

    yield engine
    await engine.dispose()


@pytest.fixture
async def filled(settings: Settings, store: Shop, plans: Plans) -> None:
    """Large tables; nothing can be said of those that stay empty: the weeks to come."""
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as connection:
        await connection.execute(_FILL)
        empty = await connection.execute("select relname from pg_class where relkind = 'r' and reltuples < 1")
        plans.empty = {name for (name,) in await empty.fetchall()}


async def test_no_statement_of_a_hot_path_reads_a_large_table_from_end_to_end(
    filled: None, watched: AsyncEngine, store: Shop, plans: Plans
) -> None:
    """Ingest, router, gate, waves, links, keys, the admin's view of a customer and imports."""
    mugs = Telling(watched)
    await KeyStore(watched, lambda: NOW).verify(store.write_key)
    await a_life(mugs)
    await messages_are_claimed(mugs)
    await a_wave(mugs)
    await links.message(watched, UUID(int=1))
    await preferences.of_customer(watched, mugs.store_id, await mugs.customer("u7"))
    await journeys_of(watched, mugs.store_id, "u7")
    await an_import(mugs)

    assert len(plans.by_statement) > 80
    assert plans.full_reads() == {}


async def a_life(mugs: Telling) -> None:
    """What customers do, as events through the door and the router; two of them turn out to be one."""
    cup = {"product_id": "p7", "price": 5, "currency": "EUR", "name": "Cup"}
    ada, browser = Who(user_id="u7"), Who(anonymous_id="b-1")
    told = [
        mugs.event(None, START, ada, "identify", email="c7@x.test", firstName="Ada", marketing_consent=True),
        *(mugs.event("Product Viewed", START, browser, **cup) for _ in range(3)),
        mugs.event("Product Viewed", START, Who(user_id="u7", anonymous_id="b-1"), **cup),
        mugs.event("Product Added", START, ada, **cup),
        mugs.event("Back In Stock Requested", START, ada, **cup),
        mugs.event("Product Added to Wishlist", START, ada, **cup),
        mugs.event("Product Updated", START, Who(), product_id="p7", stock=3, price=4, currency="EUR"),
        mugs.event("Order Completed", START, Who(user_id="u8"), order_id="o-new", products=[cup], coupon="code1"),
        mugs.event("Order Refunded", START, Who(user_id="u8"), order_id="o-new"),
        mugs.event("Newsletter Subscribed", START, Who(user_id="u9"), email="c9@x.test"),
        mugs.event("Newsletter Unsubscribed", START, Who(user_id="u9")),
        mugs.event("Email Link Clicked", START, Who(customer_id=await mugs.customer("u7")), message_id=str(uuid4())),
        mugs.event(None, START, Who(user_id="u10"), "alias", previousId="u11", userId="u10"),
    ]
    door = EventStore(mugs.engine)
    await door.accept(told)
    await Router(mugs.engine, Nobody(), lambda: NOW, retries=()).route_everything()
    assert {one.error for one in await queue.parked(mugs.engine, mugs.store_id)} == {"why"}


async def messages_are_claimed(mugs: Telling) -> None:
    """Every condition that the gate knows, for messages that are sent, put off and given up."""
    ledger, customer = PostgresLedger(mugs.engine), await mugs.customer("u7")
    conditions = [
        CartQuiet(quiet=timedelta(minutes=1)), InStock(product_id="p7"), OrderStands(order_id="o7"),
        Undecided(product_id="p7", quiet=HOUR, since=START), PriceLow(product_id="p7", percent=10),
    ]  # fmt: skip
    for number, condition in enumerate(conditions):
        step = Step(name=f"reminder-{number}", template="cart-reminder", discount_pool="spring")
        slot = Slot(
            store_id=mugs.store_id, customer_id=customer, run_id=UUID(int=number), journey="cart-recovery", step=step,
            gap=HOUR, due=NOW, waited_from=NOW, requires=(condition,), product_id="p7", last=True,
        )  # fmt: skip
        claim = await ledger.claim(slot, NOW)
        if claim.material is not None:
            message_id = claim.material.message_id
            await ledger.sending(slot, message_id, ["https://mugs.test/"], NOW)
            await ledger.record(slot, message_id, Delivery(result=Result.SENT, rule=Rule.PROVIDER, because=""), NOW)
        await ledger.abandon(slot, NOW)


async def a_wave(mugs: Telling) -> None:
    waves = PostgresWaitlist(mugs.engine)
    wave = await waves.next_wave(mugs.store_id, "p7", 1.0, NOW)
    assert wave.fact is not None
    await waves.wave_told(mugs.store_id, wave.fact, wave.workflow_ids, NOW)


async def an_import(mugs: Telling) -> None:
    """New customers, known ones, silenced ones, and somebody erased: a block, which is much beside what is known."""
    async with as_store(mugs.engine, mugs.store_id) as connection:
        await tombstones.lay(connection, mugs.store_id, [("email", "s1@x.test")], NOW)
    importing = CustomerImport(mugs.engine, mugs.store_id, "file")
    known = {0: ("new-{}", "new-{}@x.test"), 1: ("new-{}", "s{}@x.test"), 2: ("u{}", "c{}@x.test")}
    rows = [Row(n, [*(name.format(n) for name in known[n % 3]), "yes"]) for n in range(2_000)]
    header = ["id", "email", "marketing_consent"]
    block, _ = block_of(rows, header, Arrival(store_id=mugs.store_id, received_at=NOW))

    async def door(_: object) -> None:
        """They are explained above."""

    await importing.take(block, await importing.begin(NOW, NOW), door, NOW)
    await importing.finish(Progress(as_of=NOW), NOW, by="test")


async def test_who_is_held_back_is_found_among_those_that_wait_for_a_retry(
    settings: Settings, filled: None, watched: AsyncEngine, plans: Plans
) -> None:
    """The router asks it with every batch; not all that waits in a lane may be read for it."""
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as connection:
        await connection.execute("update events set state = 'pending' where state = 'routed'")
        await connection.execute("analyze events")
    async with across_stores(watched) as connection:
        assert await queue.next_in_lanes(connection, [1, 2, 3], 200, NOW)

    ((plan,),) = (found for statement, found in plans.by_statement.items() if "retry_at >" in statement)
    read = [node for node in _nodes(plan) if node.get("Relation Name") not in plans.empty]
    assert any("retry_at >" in node.get("Index Cond", "") for node in read)
    assert not any("retry_at >" in node.get("Filter", "") for node in read)


@pytest.mark.parametrize(
    "before",
    [
        ["update events set state = 'pending' where user_id <> 'u7'", "analyze events"],
        # A Monday: Postgres knows nothing yet of the table of this week, and has not vacuumed it.
        ["update events set state = 'pending'", "update events set state = 'routed'", "delete from pg_statistic"],
    ],
    ids=["the-router-is-behind", "many-were-just-applied"],
)
async def test_a_claim_does_not_read_the_events_of_others(
    filled: None, settings: Settings, watched: AsyncEngine, plans: Plans, before: list[str]
) -> None:
    """However many wait, or were waiting, the gate looks only into the events of whom it knows, by each identity."""
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as connection:
        for statement in before:
            await connection.execute(statement)
    mugs = Telling(watched)
    slot = Slot(
        store_id=mugs.store_id, customer_id=await mugs.customer("u7"), run_id=UUID(int=1), journey="cart-recovery",
        step=Step(name="reminder-1", template="cart-reminder"), gap=HOUR, due=NOW, waited_from=NOW,
    )  # fmt: skip
    await PostgresLedger(watched).claim(slot, NOW)

    conditions = [
        node["Index Cond"]
        for statement, explained in plans.by_statement.items() if "events.commands IS NULL" in statement
        for plan in explained
        for node in _nodes(plan) if node.get("Index Name", "").startswith("events_")
    ]  # fmt: skip
    assert conditions
    identity = re.compile("user_id|anonymous_id|email|customer_id")
    assert [condition for condition in conditions if not identity.search(condition)] == []


@pytest.mark.parametrize("watched", [{"by_key": True}], indirect=True, ids=["as-our-processes-do"])
@pytest.mark.parametrize("looked", ["not-yet", "when-they-were-small"])
async def test_in_its_first_minutes_nothing_is_looked_for_among_all_that_a_store_has(
    settings: Settings, watched: AsyncEngine, store: Shop, plans: Plans, looked: str
) -> None:
    """Postgres has not looked at the tables yet, or a minute ago, and keeps the plans that it makes until it does."""
    async with await psycopg.AsyncConnection.connect(settings.psycopg_url, autocommit=True) as connection:
        await connection.execute("delete from pg_statistic")
        await connection.execute("update pg_class set reltuples = -1, relpages = 0 where relkind = 'r'")
        await connection.execute(SUPPOSED)
        few = "400" if looked == "not-yet" else "40"
        await connection.execute(
            _FILL.replace("4000", few).replace("analyze", "" if looked == "not-yet" else "analyze")
        )
    mugs = Telling(watched)
    await a_life(mugs)
    await messages_are_claimed(mugs)

    found = {
        (" ".join(statement.split()), node.get("Index Name", "all"))
        for statement, explained in plans.by_statement.items()
        for plan in explained
        for node in _nodes(plan)
        if re.search(r"(customers|identities|messages|runs)", node.get("Index Name", node.get("Relation Name", "")))
        if node["Node Type"] == "Seq Scan" or re.fullmatch(r"\(store_id = [^ ]+\)", node.get("Index Cond", ""))
    }
    assert found == set()


async def test_a_statement_that_reads_everything_would_be_found(
    filled: None, watched: AsyncEngine, plans: Plans
) -> None:
    """The check itself can fail."""
    async with as_store(watched, "mugs") as connection:
        await connection.execute(text("select count(*) from views where duration_s = 5"))

    assert list(plans.full_reads().values()) == [{"views"}]
