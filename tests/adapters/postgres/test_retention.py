"""Retention in a real database: what is old goes, week by week and row by row, and what a rule asks for stays."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from importlib import import_module
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.retention import EnforceRetention, enforced, foreseen
from adapters.postgres import partitions, plans, queue, retention_policies
from adapters.postgres import retention as adapter
from adapters.postgres.at_once import asked_at_once, unbegun
from adapters.postgres.engine import create_engine
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.queue import Queued
from adapters.postgres.retention import PostgresRetention
from adapters.postgres.tables import (
    audit,
    consents,
    decisions,
    dedup_keys,
    events,
    happenings,
    messages,
    pauses,
    runs,
    views,
    watchlist,
)
from adapters.postgres.tenancy import across_stores, as_store
from domain import ids
from domain.delivery import Result, Slot
from domain.errors import Unavailable
from domain.events import Event, Who
from domain.plans import Step, validated
from domain.retention import Report, RetentionPolicy
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import Telling

NOW = datetime.fromisoformat("2020-06-03T12:00:00Z")
"""Long before the weeks that a migration of today makes, so that only those of these tests are old."""
DAY = timedelta(days=1)
_MINUTES = count()


def made(moment: datetime) -> UUID:
    """An id as the API makes it at a moment."""
    return UUID(int=ids.first_made_at(moment + timedelta(minutes=next(_MINUTES) % 600)).int | (7 << 76) | (2 << 62))


class Past:
    """A store with a past: events that came in long ago."""

    def __init__(self, mugs: Telling, engine: AsyncEngine) -> None:
        self.mugs, self.engine, self.retention = mugs, engine, PostgresRetention(engine)

    async def take_in(self, age: timedelta, state: str = "routed", store_id: str = "mugs", **more: Any) -> UUID:
        at = NOW - age
        event = Event(
            store_id=store_id, id=made(at), message_id=f"of-{new_id()}", type="track", name="Product Viewed",
            who=Who(user_id="ada"), payload={}, at=at, received_at=at,
        )._replace(**more)  # fmt: skip
        await EventStore(self.engine).accept([event])
        async with as_owner(self.engine) as connection:
            await connection.execute(update(events).where(events.c.id == event.id).values(state=state))
        return event.id

    async def weeks(self, *ages: timedelta) -> list[str]:
        async with self.engine.begin() as connection:
            return [await partitions.make(connection, partitions.monday_of(NOW - age)) for age in ages]

    async def enforce(self, now: datetime = NOW, key: str = "night") -> Report:
        return await enforced(self.retention, now, key, "cli:ops", Report(), lambda _: None)

    async def policy(self, **policy: Any) -> None:
        async with as_store(self.engine, "mugs") as connection:
            await retention_policies.put(connection, "mugs", RetentionPolicy(**policy), "cli:ops", NOW - 800 * DAY)

    async def kept(self) -> set[UUID]:
        async with as_owner(self.engine) as connection:
            found = set((await connection.execute(select(events.c.id))).scalars())
            assert set((await connection.execute(select(dedup_keys.c.event_id))).scalars()) >= found
        return found

    async def keys(self) -> set[UUID]:
        async with as_owner(self.engine) as connection:
            return set((await connection.execute(select(dedup_keys.c.event_id))).scalars())

    async def tables(self) -> list[str]:
        async with as_owner(self.engine) as connection:
            return [week.name for week in await partitions.existing(connection)]


@pytest.fixture
async def past(mugs: Telling, engine: AsyncEngine) -> AsyncIterator[Past]:
    """The store; the tables of its weeks go with it."""
    past = Past(mugs, engine)
    before = set(await past.tables())
    yield past
    async with as_owner(engine) as connection:
        for name in set(await past.tables()) - before:
            await connection.execute(text(f"drop table {name}"))


async def test_a_week_is_dropped_when_all_of_it_is_older_than_the_period(past: Past) -> None:
    """90 days by default, by whole weeks: never earlier, and at most seven days later. The dedup keys go along."""
    weeks = await past.weeks(*(age * DAY for age in (105, 98, 91, 84)))
    old, kept = (
        [await past.take_in(age * DAY) for age in (105, 98)],
        [await past.take_in(age * DAY) for age in (91, 84)],
    )
    report = await past.enforce()

    assert report.dropped == tuple(weeks[:2])
    assert report.rows == {}
    assert await past.kept() == set(kept) == await past.keys()
    assert set(weeks) & set(await past.tables()) == set(weeks[2:])
    assert not set(old) & await past.keys()


async def test_a_week_with_an_event_that_is_not_finished_is_kept_and_reported(past: Past) -> None:
    """Waiting, owed to Temporal, or parked: it may be all we know of an order. What is finished beside it goes."""
    weeks = await past.weeks(*(age * DAY for age in (112, 119, 126, 133)))
    open_ones = [
        await past.take_in(age * DAY, state) for age, state in ((112, "pending"), (119, "applied"), (126, "parked"))
    ]
    for age in (112, 126, 133):
        await past.take_in(age * DAY)
    report = await past.enforce()

    assert report.dropped == (weeks[3],)
    assert set(report.kept) == set(weeks[:3])
    assert report.rows == {"mugs": {"events": 2}}
    assert await past.kept() == set(open_ones) == await past.keys()
    assert await queue.retry(past.engine, "mugs") == 1
    await past.mugs.write(update(events).values(state="routed"))
    assert (await past.enforce(key="next night")).dropped == tuple(reversed(weeks[:3]))


async def test_the_owner_s_function_drops_nothing_else(past: Past, engine: AsyncEngine) -> None:
    """Whoever may call it may not drop a week that is not finished, the default, or any other table."""
    (week,) = await past.weeks(100 * DAY)
    await past.take_in(100 * DAY, "parked")
    async with engine.begin() as connection:
        assert not await partitions.drop(connection, week)
    for name in (week, "events_default"):  # reached through `events` alone, whose policies bind
        with pytest.raises(DBAPIError, match="permission denied"):
            async with as_store(engine, "mugs") as connection:
                await connection.execute(text(f"select from {name}"))
    for name in ("events_default", "events", "customers", "pg_class", 'x"; drop table customers; --'):
        with pytest.raises(DBAPIError, match="is no week of events"):
            async with engine.begin() as connection:
                await partitions.drop(connection, name)
    with pytest.raises(DBAPIError, match="begins on a Monday"):
        async with engine.begin() as connection:
            await partitions.make(connection, partitions.monday_of(NOW) + DAY)


async def test_an_event_of_a_week_without_a_table_is_stored_and_moves_when_the_table_is_made(past: Past) -> None:
    """A clock that is wrong, or a schedule that stood still, costs nobody an event (G1)."""
    ids_of_ours = {await past.take_in(-7000 * DAY, "pending"), await past.take_in(50 * DAY)}
    async with as_owner(past.engine) as connection:
        count_default = select(text("count(*)")).select_from(text("events_default"))
        assert await connection.scalar(count_default) == 2
    (week,) = await past.weeks(50 * DAY)
    async with as_owner(past.engine) as connection:
        assert await connection.scalar(count_default) == 1
        assert await connection.scalar(select(text("count(*)")).select_from(text(week))) == 1

    assert await past.kept() == ids_of_ours


async def test_what_lies_in_the_default_table_goes_row_by_row(past: Past) -> None:
    """Nobody made its week, and nothing of it stays longer for that."""
    for age in (200, 100):
        await past.take_in(age * DAY)
    young, parked = await past.take_in(80 * DAY), await past.take_in(200 * DAY, "parked")
    report = await past.enforce()

    assert report.rows == {"mugs": {"events": 2}}
    assert await past.kept() == {young, parked} == await past.keys()


async def test_the_weeks_to_come_are_made_ahead(past: Past) -> None:
    """For four weeks, and once; from where the last one ends, whatever was missed."""
    async with as_owner(past.engine) as connection:
        last = ids.made_at((await partitions.existing(connection))[-1].until)
    later = last + 10 * DAY
    report = await past.enforce(later)

    assert report.made == tuple(f"events_{last + timedelta(weeks=1 + number):%Y%m%d}" for number in range(5))
    assert (await past.enforce(later)).made == ()
    assert len((await past.enforce(later + 8 * DAY)).made) == 1


async def test_events_come_in_and_are_routed_while_weeks_are_made_and_dropped(past: Past, engine: AsyncEngine) -> None:
    """The locks are short: nobody is refused, and nothing is lost."""
    door, stop = EventStore(engine), asyncio.Event()
    accepted: list[UUID] = []

    async def keep_coming() -> None:
        while not stop.is_set():
            event = past.mugs.event("Product Viewed", product_id="cup")
            assert await door.accept([event]) == 1
            accepted.append(event.id)
            async with as_store(engine, "mugs") as connection:
                (locked,) = await asked_at_once(connection, queue.still_pending([Queued(event)]))
                await asked_at_once(connection, queue.routed([row.id for row in locked]))

    coming = [asyncio.create_task(keep_coming()) for _ in range(3)]
    for number in range(4):
        await past.weeks((100 + 7 * number) * DAY)
        await past.take_in((100 + 7 * number) * DAY)
        assert len((await past.enforce()).dropped) == 1
    stop.set()
    await asyncio.gather(*coming)

    assert len(accepted) >= 4
    assert await past.kept() == set(accepted)


async def test_a_lock_that_is_held_is_asked_for_again_later(past: Past, engine: AsyncEngine) -> None:
    """Whoever waits for a lock on all events holds up whoever comes later, so retention gives way."""
    await past.weeks(100 * DAY)
    await past.take_in(100 * DAY)
    async with as_owner(engine) as other:
        await other.execute(text("lock table events in access share mode"))
        await other.execute(text("set local statement_timeout = '30s'"))
        with pytest.raises(Unavailable):
            await past.enforce()

    assert len((await past.enforce()).dropped) == 1


async def test_a_store_that_keeps_less_than_others_loses_its_rows_alone(past: Past, mugs: Telling) -> None:
    """The stores share the tables, so a week goes with the longest period of all, and the others' rows before it."""
    pots = Telling(past.engine, "pots")
    await _store(past.engine, "pots")
    await past.weeks(*(age * DAY for age in (98, 49, 35, 21)))
    mine = [await past.take_in(age * DAY) for age in (98, 49, 35, 21)]
    theirs = [await past.take_in(age * DAY, store_id="pots") for age in (98, 49, 35, 21)]
    await past.policy(events=30 * DAY)
    report = await past.enforce()

    assert len(report.dropped) == 1
    assert report.rows == {"mugs": {"events": 2}}
    assert {row.id for row in await mugs.rows(events)} == {mine[3]}
    assert {row.id for row in await pots.rows(events)} == set(theirs[1:])


async def _store(engine: AsyncEngine, store_id: str) -> None:
    async with as_owner(engine) as connection:
        copy = "insert into stores (store_id, name, url, sender_email, sender_name, created_at) "
        values = f"select '{store_id}', name, url, sender_email, sender_name, created_at from stores"  # noqa: S608
        await connection.execute(text(copy + values))


async def test_a_repeated_event_is_known_for_as_long_as_it_is_kept_and_a_price_for_good(past: Past) -> None:
    """A customer hears of a price once, also when the alert's event is long gone."""
    (week,) = await past.weeks(100 * DAY)
    alert = {"name": "Watched Price Fell", "who": Who(customer_id=new_id()), "message_id": "price-drop:of-ada"}
    remembered = await past.take_in(100 * DAY, **alert)
    forged = await past.take_in(100 * DAY, name="Watched Price Fell")
    in_default = await past.take_in(200 * DAY, **alert | {"message_id": "price-drop:of-bob"})
    plain = await past.take_in(100 * DAY, message_id="plain")
    assert await EventStore(past.engine).accept([past.mugs.event("X")._replace(message_id="plain")]) == 0
    assert (await past.enforce()).dropped == (week,)

    assert await past.keys() == {remembered, in_default}
    assert {forged, plain} & await past.keys() == set()
    again = [past.mugs.event("X")._replace(message_id=name) for name in ("plain", "price-drop:of-ada")]
    assert [await EventStore(past.engine).accept([event]) for event in again] == [1, 0]


class Ledger:
    """Runs, messages and decisions of a certain age."""

    def __init__(self, past: Past) -> None:
        self.past, self.mugs = past, past.mugs
        self.customer = new_id()

    async def run(self, age: timedelta, journey: str = "welcome", **more: Any) -> UUID:
        at = NOW - age
        life = {"since": at, "begun_at": at, "expires_at": at + 20 * DAY, "ended_at": at + 10 * DAY}
        return await self.mugs.run(self.customer, journey, **{**life, "outcome": "completed", **more})

    async def message(self, run_id: UUID, age: timedelta, **more: Any) -> UUID:
        message_id, at = new_id(), NOW - age
        row = {
            "store_id": "mugs", "message_id": message_id, "run_id": run_id, "customer_id": self.customer,
            "journey": "welcome", "step": f"s-{message_id}", "template": "welcome", "transactional": False,
            "state": "sent", "claimed_at": at, "sending_at": at, "settled_at": at,
        }  # fmt: skip
        await self.mugs.write(insert(messages).values(row | more))
        return message_id

    async def decision(self, run_id: UUID, age: timedelta) -> UUID:
        decision_id, at = new_id(), NOW - age
        row = {
            "store_id": "mugs", "decision_id": decision_id, "run_id": run_id, "step": "s", "due": at, "decided_at": at,
            "result": "sent", "because": "", "inputs": {},
        }  # fmt: skip
        await self.mugs.write(insert(decisions).values(row))
        return decision_id

    async def kept(self, table: Any, key: Any) -> set[UUID]:
        return {getattr(row, key.name) for row in await self.mugs.rows(table)}


async def test_messages_go_with_their_age_but_never_before_their_run_is_over(past: Past) -> None:
    """A slot of a run under way must find its row (G3): also a run that is paused, or whose beginning is still owed."""
    ledger = Ledger(past)
    await past.policy(messages=100 * DAY)
    trigger = await past.take_in(300 * DAY, "parked")
    over = await ledger.run(400 * DAY)
    under_way = await ledger.run(390 * DAY, ended_at=None, expires_at=NOW + DAY, outcome="running")
    ended_but_alive = await ledger.run(380 * DAY, expires_at=NOW - 50 * DAY)
    lately_ended = await ledger.run(370 * DAY, ended_at=NOW - 50 * DAY)
    owed = await ledger.run(360 * DAY, trigger_event=trigger)
    paused = await ledger.run(350 * DAY, "win-back", ended_at=None, outcome="running")
    never_closed = await ledger.run(340 * DAY, ended_at=None, outcome="running")
    await past.mugs.write(
        insert(pauses).values(store_id="mugs", pause_id=new_id(), journey="win-back", since=NOW - 345 * DAY)
    )
    stay = [
        await ledger.message(run, 300 * DAY) for run in (under_way, ended_but_alive, lately_ended, owed, paused)
    ] + [
        await ledger.message(over, 99 * DAY),
        await ledger.message(over, 300 * DAY, settled_at=NOW - 99 * DAY),
    ]  # fmt: skip
    for run in (over, never_closed, new_id()):
        await ledger.message(run, 101 * DAY)
    report = await past.enforce()

    assert report.rows["mugs"]["messages"] == 3
    assert await ledger.kept(messages, messages.c.message_id) == set(stay)


async def test_a_claim_of_a_run_under_way_finds_its_message_however_old(past: Past) -> None:
    """What was sent a year ago by a run that still waits is not sent again (G3)."""
    ledger, step = Ledger(past), Step(name="reminder-1", template="cart-reminder")
    await past.policy(messages=60 * DAY)
    await past.mugs.apply([past.mugs.event(None, NOW - 400 * DAY, kind="identify", email="ada@x.test")], NOW)
    ledger.customer = await past.mugs.customer()
    run_id = await ledger.run(400 * DAY, ended_at=None, expires_at=NOW + DAY, outcome="running")
    await ledger.message(run_id, 395 * DAY, message_id=ids.message_id(run_id, step.name), step=step.name)
    await past.enforce()
    slot = Slot(
        store_id="mugs", customer_id=ledger.customer, run_id=run_id, journey="welcome", step=step, gap=timedelta(0),
        due=NOW, waited_from=NOW,
    )  # fmt: skip
    claim = await PostgresLedger(past.engine).claim(slot, NOW)

    assert (claim.material, claim.delivery.result, claim.delivery.rule) == (None, Result.SENT, "settled_before")


async def test_the_newest_run_of_each_journey_stays_for_good(past: Past) -> None:
    """It says that the customer has been welcomed, which happens once in a life."""
    ledger = Ledger(past)
    await past.policy(messages=100 * DAY)
    old = [await ledger.run(age * DAY, journey) for journey in ("welcome", "follow-up/vip") for age in (900, 800, 700)]
    wrote_lately = await ledger.run(850 * DAY, "welcome")
    await ledger.message(wrote_lately, 90 * DAY)
    report = await past.enforce()

    assert report.rows["mugs"] == {"runs": 4}
    assert await ledger.kept(runs, runs.c.run_id) == {old[2], old[5], wrote_lately}


async def test_decisions_stay_as_long_as_their_run_may_ask(past: Past) -> None:
    """A message that waits for a slot knows by them since when."""
    ledger = Ledger(past)
    await past.policy(decisions=30 * DAY)
    over, under_way = await ledger.run(400 * DAY), await ledger.run(400 * DAY, ended_at=None, expires_at=NOW + DAY)
    stay = {await ledger.decision(under_way, 300 * DAY), await ledger.decision(over, 29 * DAY)}
    for run in (over, new_id()):
        await ledger.decision(run, 31 * DAY)
    assert (await past.enforce()).rows["mugs"]["decisions"] == 2

    assert await ledger.kept(decisions, decisions.c.decision_id) == stay


async def test_looks_go_but_for_those_that_a_price_alert_compares_with(past: Past) -> None:
    """The old price is the one that the customer saw, however long ago that was."""
    watcher, other = new_id(), new_id()
    look = {"store_id": "mugs", "price_minor": 900, "currency": "EUR"}
    kept = set()
    for customer, product, age in (
        (watcher, "cup", 91), (watcher, "pot", 91), (other, "cup", 91), (other, "cup", 89), (other, "jar", 91)
    ):  # fmt: skip
        row = look | {"view_id": new_id(), "customer_id": customer, "product_id": product, "at": NOW - age * DAY}
        await past.mugs.write(insert(views).values(row))
        if (customer, product) == (watcher, "cup") or age == 89:
            kept.add(row["view_id"])
    for customer, product, active in ((watcher, "cup", True), (other, "jar", False)):
        watch = {"store_id": "mugs", "customer_id": customer, "product_id": product, "notify_on_price_drop": True}
        more = {"notify_on_restock": False, "changed_at": NOW - 100 * DAY, "active": active}
        await past.mugs.write(insert(watchlist).values(watch | more))
    assert (await past.enforce()).rows["mugs"] == {"views": 3}

    assert {row.view_id for row in await past.mugs.rows(views)} == kept


async def test_happenings_stay_as_long_as_a_follow_up_counts_them(past: Past) -> None:
    """Each name for its own time, "never before" for good, and what no plan mentions as long as events."""
    settings = {
        "event": "Product Viewed", "steps": [{"name": "one", "template": "welcome", "topic": "newsletter"}],
        "conditions": [
            {"kind": "count", "event": "Product Viewed", "more_than": 3, "within": "P90D"},
            {"kind": "none", "event": "Support Ticket Opened"},
        ],
    }  # fmt: skip
    await plans.put(past.engine, "mugs", "follow-up/vip", validated("follow-up/vip", settings), NOW)
    kept = set()
    for name, age, stays in (
        ("Product Viewed", 96, True), ("Product Viewed", 98, False), ("supportticketopened", 3000, True),
        ("Product Reviewed", 91, False), ("Product Reviewed", 89, True),
    ):  # fmt: skip
        row = {"event_id": made(NOW - age * DAY), "customer_id": new_id(), "name": name, "at": NOW - age * DAY}
        await past.mugs.write(insert(happenings).values(row | {"store_id": "mugs"}))
        if stays:
            kept.add(row["event_id"])
    assert (await past.enforce()).rows["mugs"] == {"happenings": 2}

    assert {row.event_id for row in await past.mugs.rows(happenings)} == kept


async def test_evidence_never_goes_and_the_audit_log_only_if_the_store_says_so(past: Past) -> None:
    """Words of consent stay for good, and so does who erased whom."""
    consent = {"store_id": "mugs", "consent_id": new_id(), "customer_id": new_id(), "channel": "email"}
    told = {"topic": "newsletter", "granted": True, "source": "form", "at": NOW - 3000 * DAY, "recorded_at": NOW}
    await past.mugs.write(insert(consents).values(consent | told))
    for action, age in (("pause", 400), ("erase", 400), ("pause", 300)):
        entry = {"store_id": "mugs", "audit_id": new_id(), "at": NOW - age * DAY, "by": "cli:ops", "action": action}
        await past.mugs.write(insert(audit).values(entry | {"subject": "x"}))
    assert (await past.enforce()).rows == {}
    await past.policy(audit=365 * DAY)
    assert (await past.enforce()).rows["mugs"]["audit"] == 2  # and the entry of the policy, which is as old

    assert len(await past.mugs.rows(consents)) == 1
    left = await past.mugs.rows(audit, audit.c.at < NOW)
    assert sorted(row.action for row in left) == ["erase", "pause"]


async def test_a_dry_run_says_what_would_go_and_does_nothing(past: Past) -> None:
    """To the row."""
    ledger = Ledger(past)
    await past.policy(messages=100 * DAY, events=30 * DAY)
    await _store(past.engine, "pots")
    await past.weeks(*(age * DAY for age in (105, 98, 49)))
    for age, state in ((105, "routed"), (98, "parked"), (98, "routed"), (49, "routed"), (300, "routed"), (7, "routed")):
        await past.take_in(age * DAY, state)
    for age in (900, 800, 700):
        await ledger.message(await ledger.run(age * DAY), 690 * DAY)
    before = await foreseen(past.retention, NOW)
    kept = await past.kept()
    assert await past.kept() == kept
    after = await past.enforce()

    assert (before.dropped, before.kept, before.rows) == (after.dropped, after.kept, after.rows)
    assert before.rows["mugs"] == {"events": 3, "messages": 3, "runs": 2}


async def test_the_report_is_in_the_audit_log_of_each_store_that_it_concerns(past: Past) -> None:
    """Once, however often the night is repeated."""
    (week,) = await past.weeks(98 * DAY)
    await past.take_in(98 * DAY)
    await past.take_in(300 * DAY)
    report = await past.enforce()
    await past.retention.write_down(report, ["mugs"], "night", "cli:ops", NOW)
    await past.enforce(key="a night of nothing")

    (entry,) = await past.mugs.rows(audit, audit.c.action == "retention")
    assert (entry.by, entry.action, entry.subject, entry.at) == ("cli:ops", "retention", "store:mugs", NOW)
    assert entry.detail == {"rows": {"events": 1}, "dropped": [week], "kept": {}}


async def test_a_night_that_is_cut_off_is_finished_by_the_next_attempt(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches, each with its heartbeat; the report counts what both attempts did."""
    monkeypatch.setattr(adapter, "_AT_ONCE", 2)
    (week,) = await past.weeks(98 * DAY)
    for _ in range(3):
        await past.take_in(98 * DAY)
    for _ in range(7):
        await past.take_in(300 * DAY)
    beats: list[Any] = []

    class Breaking(PostgresRetention):
        async def forget(self, *what: Any) -> int:
            if len(beats) == 5:  # two pages of keys, the week, two batches of rows
                raise Unavailable
            return await super().forget(*what)

    first, again = ActivityEnvironment(), ActivityEnvironment()
    first.on_heartbeat = lambda *details: beats.append(details)
    with pytest.raises(ApplicationError) as broken:
        await first.run(EnforceRetention(Breaking(past.engine), lambda: NOW).enforce)
    again.info = dataclasses.replace(again.info, heartbeat_details=beats[-1])
    report = await again.run(EnforceRetention(past.retention, lambda: NOW).enforce)

    assert not broken.value.non_retryable
    assert report.dropped == (week,)
    assert report.rows == {"mugs": {"events": 7}}
    (entry,) = await past.mugs.rows(audit, audit.c.action == "retention")
    assert (entry.by, entry.detail["rows"]) == ("worker:retention", {"events": 7})


async def test_no_hot_query_reads_an_old_week(past: Past, engine: AsyncEngine) -> None:
    """What waits is found by the small indexes of what waits; a plan that is made once serves all weeks."""
    weeks = await past.weeks(*(age * DAY for age in (7, 14, 21)))
    await past.mugs.write(text("""
        insert into events (store_id, id, message_id, type, user_id, payload, at, received_at, shard, state)
        select 'mugs', uuidv7(cast(:now as timestamptz) - now() - make_interval(mins => n * 10)), 'm' || n, 'track',
               'u' || n, '{}', now(), now(), n % 64, 'routed' from generate_series(1, 4000) n
    """).bindparams(now=NOW - DAY))  # fmt: skip
    step = Step(name="reminder-1", template="cart-reminder")
    await past.mugs.apply([past.mugs.event(None, NOW, kind="identify", email="ada@x.test")], NOW)
    slot = Slot(
        store_id="mugs", customer_id=await past.mugs.customer(), run_id=new_id(), journey="welcome", step=step,
        gap=timedelta(0), due=NOW, waited_from=NOW,
    )  # fmt: skip
    alone = create_engine(str(engine.url.render_as_string(hide_password=False)), pool_size=1)
    async with as_owner(engine) as connection:
        await connection.execute(text(f"analyze {', '.join(weeks)}"))
    for _ in range(12):  # psycopg prepares what comes again, and Postgres then plans for any parameters
        async with unbegun(alone).connect() as connection:
            await queue.waiting_lanes(connection, NOW)
        async with across_stores(alone) as connection:
            await queue.next_in_lanes(connection, [7], 10, NOW)
        await PostgresLedger(alone).claim(slot, NOW)
    async with as_owner(alone) as connection:
        prepared = (await connection.execute(text("select statement, generic_plans from pg_prepared_statements"))).all()
        hot = [row for row in prepared if "FROM events" in row.statement]
        plans_of_them = [
            "\n".join((await connection.exec_driver_sql(f"explain (generic_plan) {row.statement}")).scalars())
            for row in hot
        ]
    await alone.dispose()

    assert len(hot) == 3
    # How much waits in an array of lanes is unknown to a plan that is made once, so Postgres may plan anew for them.
    assert all(row.generic_plans > 0 for row in hot if "unnest" not in row.statement)
    ways = [line for plan in plans_of_them for line in plan.splitlines() if any(week in line for week in weeks)]
    assert len(ways) >= 4 * len(weeks)
    assert [line for line in ways if "Seq Scan" in line or "pkey" in line] == []


def test_a_database_with_events_becomes_weeks_without_losing_one(database_url: str) -> None:
    """Every event, every dedup key, and the queue's states; an id from a clock that was years ahead does not matter."""
    from adapters.postgres.migrations import upgrade
    from testing.fixtures import _execute, _url

    name = f"before_{new_id().hex}"
    _execute(database_url, f"create database {name}")
    url = _url(database_url, name)
    upgrade(url, import_module("adapters.postgres.migrations.versions.0008_retention").down_revision)
    _execute(url, """
        insert into events (store_id, id, message_id, type, payload, at, received_at, shard, state)
        select 'mugs', uuidv7(make_interval(days => n)), 'm' || n, 'track', '{}', now(), now(), 1,
               case n when 1000 then 'parked' when -50 then 'pending' else 'routed' end
          from (select -n as n from generate_series(0, 200) n union select 1000) n
    """)  # fmt: skip
    upgrade(url)
    with psycopg.connect(url, autocommit=True) as connection:
        counts = "select (select count(*) from {0}), (select count(distinct message_id) from {0})"
        assert connection.execute(counts.format("events")).fetchone() == (202, 202)
        assert connection.execute(counts.format("dedup_keys")).fetchone() == (202, 202)
        assert connection.execute("select count(*) from events_default").fetchone() == (1,)
        assert connection.execute("select count(*) from events_before").fetchone() == (201,)
        assert connection.execute("select state from events where message_id = 'm-50'").fetchone() == ("pending",)
        assert connection.execute("select events_drop('events_before')").fetchone() == (False,)
        connection.execute("update events set state = 'routed'")
        assert connection.execute("select events_drop('events_before')").fetchone() == (True,)
        assert connection.execute("select count(*) from events").fetchone() == (1,)
    _execute(database_url, f"drop database {name} with (force)")
