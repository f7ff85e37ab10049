"""The consent ledger in the database: its evidence, what may touch it, and what double opt-in makes of it."""

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import consents as ledger
from adapters.postgres import plans, preferences
from adapters.postgres.batch import Batch
from adapters.postgres.identities import new_id
from adapters.postgres.routing import route
from adapters.postgres.tables import consents, customers, messages, runs, suppressions
from adapters.postgres.tenancy import as_store
from domain.commands import Command, RestartRun, SignalRun, StartRun
from domain.events import Event, Who
from domain.facts import Topic
from domain.plans import validated
from domain.runs import Outcome
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ADA = Who(user_id="ada", email="ada@x.test")


class Asking(Telling):
    """A store with double opt-in, and what its router would tell Temporal."""

    async def told(self, *events: Event, now: datetime = START) -> list[tuple[str, str]]:
        """Apply events; return the commands as pairs of a kind (or how a run ends) and a journey."""
        async with as_store(self.engine, self.store_id) as connection:
            return await self.told_in(connection, *events, now=now)

    async def told_in(self, connection: AsyncConnection, *events: Event, now: datetime) -> list[tuple[str, str]]:
        """The same in a transaction of the caller."""
        owed: list[Command] = []
        for event in events:
            owed += await route(connection, event, now, Batch())
        return [self._said(command) for command in owed]

    @staticmethod
    def _said(command: Command) -> tuple[str, str]:
        match command:
            case StartRun(run=run) | RestartRun(run=run):
                return command.kind, run.journey
            case SignalRun(ends=ends, workflow_id=workflow_id):
                return str(ends), workflow_id.split("/")[1]
        return command.kind, ""

    async def mail(self, address: str, at: datetime = START, run_id: UUID | None = None) -> UUID:
        """Write a confirmation mail to Ada down as sent."""
        message_id = await self.sent_message(await self.customer(), at)
        known = messages.c.message_id == message_id
        values: dict[str, Any] = {"address": address, "journey": "double-opt-in"}
        await self.write(update(messages).where(known).values(values | ({"run_id": run_id} if run_id else {})))
        return message_id

    async def confirmation(self, message_id: UUID, at: datetime, *topics: Topic) -> Event:
        """Make the event of the page behind a mail's link."""
        said = dict.fromkeys(topics or [Topic.MARKETING], True)
        who = Who(customer_id=await self.customer())
        return self.event("Consent Confirmed", at, who, message_id=str(message_id), topics=said)

    async def allowed(self) -> set[Topic]:
        """What Ada gets by mail, as her preferences page shows it."""
        return set((await preferences.of_customer(self.engine, self.store_id, await self.customer())).topics)


@pytest.fixture
async def asking(mugs: Telling) -> Asking:
    """A store that has switched double opt-in on."""
    await plans.put(mugs.engine, mugs.store_id, "double-opt-in", validated("double-opt-in", {"enabled": True}), START)
    return Asking(mugs.engine, mugs.store_id)


def identified(store: Telling, at: datetime = START, **traits: Any) -> Event:
    return store.event(None, at, ADA, "identify", **{"email": "ada@x.test", **traits})


async def test_a_line_keeps_all_of_its_evidence(mugs: Telling) -> None:
    """Given or refused, when, where, with what, on which text; nothing of it is needed to say what is allowed."""
    said = {"ip": "192.0.2.7", "userAgent": "Browser/1.0"}
    event = mugs.event("Newsletter Subscribed", START, ADA, source="footer", wording="footer-3")
    event = event._replace(payload=event.payload | {"context": said})
    await mugs.apply([event, mugs.event("Unsubscribed", START + MINUTE, ADA, source="page", wording="page-2")])
    lines, allowed, _ = await ledger.ledger(mugs.engine, mugs.store_id, await mugs.customer())

    assert [(line.granted, line.source, line.wording, line.user_agent) for line in lines] == [
        (True, "footer", "footer-3", "Browser/1.0"),
        (False, "page", "page-2", None),
    ]
    assert (lines[0].ip, lines[0].at, lines[0].recorded_at) == ("192.0.2.7", START, START)
    assert not any(allowed.values())


@pytest.mark.parametrize(
    "statement",
    [
        update(consents).values(granted=True),
        update(consents).values(at=START - DAY, customer_id=UUID(int=1)),
        delete(consents),
        text("truncate consents"),
    ],
    ids=["change", "backdate", "delete", "truncate"],
)
async def test_the_database_refuses_to_change_what_was_said(mugs: Telling, statement: Any) -> None:
    """Whoever gets past our code meets a trigger, also the owner of the tables."""
    await mugs.apply([mugs.event("Unsubscribed", START, ADA)])
    before = await mugs.rows(consents)

    with pytest.raises(IntegrityError, match="append-only"):
        async with as_owner(mugs.engine) as connection:
            await connection.execute(statement)
    assert await mugs.rows(consents) == before


async def test_a_line_follows_its_customer_into_another_identity_and_leaves_only_with_an_erasure(mugs: Telling) -> None:
    """The two things that may touch a line; the second says what it is, and says so for one transaction."""
    browser = Who(anonymous_id="b-1")
    await mugs.apply([mugs.event("Newsletter Subscribed", START, browser), identified(mugs)])
    await mugs.apply([mugs.event(None, START, Who(user_id="ada", anonymous_id="b-1"), "identify")])
    assert {row.customer_id for row in await mugs.rows(consents)} == {await mugs.customer()}

    async with as_store(mugs.engine, mugs.store_id) as connection:
        await ledger.allow_erasure(connection)
        await connection.execute(delete(consents).where(consents.c.store_id == mugs.store_id))
    await mugs.apply([mugs.event("Unsubscribed", START, ADA)])
    with pytest.raises(IntegrityError, match="append-only"):
        await mugs.write(delete(consents))


async def test_a_topic_that_nobody_knows_stops_neither_the_gate_nor_the_pages(mugs: Telling) -> None:
    """A line of a newer version: what it grants is not granted, and what it refuses is refused altogether."""
    await mugs.apply([identified(mugs, marketing_consent=True)])
    line = {
        "store_id": mugs.store_id, "customer_id": await mugs.customer(), "channel": "email", "topic": "horoscope",
        "source": "form", "recorded_at": START,
    }  # fmt: skip
    store = Asking(mugs.engine, mugs.store_id)
    await mugs.write(insert(consents).values(consent_id=new_id(), granted=True, at=START + MINUTE, **line))
    assert await store.allowed() == set(Topic)

    await mugs.write(insert(consents).values(consent_id=new_id(), granted=False, at=START + MINUTE, **line))
    assert await store.allowed() == set()


async def test_consent_is_pending_until_it_is_confirmed_and_then_the_welcome_begins(asking: Asking) -> None:
    """By a form, a sign-up or `identify`: the mail is asked for once, and nothing else begins before the answer."""
    for_sign_up = asking.event("Signed Up", START, ADA, email="ada@x.test", accepts_marketing=True)
    assert await asking.told(for_sign_up) == [("start", "double-opt-in")]
    assert await asking.told(asking.event("Newsletter Subscribed", START + MINUTE, ADA)) == []
    assert await asking.told(identified(asking, START + MINUTE, marketing_consent=True)) == []
    assert await asking.allowed() == set()

    message_id = await asking.mail("ada@x.test")
    confirmed = await asking.confirmation(message_id, START + 2 * MINUTE)
    assert await asking.told(confirmed) == [("start", "welcome"), ("confirmed", "double-opt-in")]
    assert await asking.allowed() == set(Topic)
    assert [row.outcome for row in await asking.rows(runs, runs.c.journey == "double-opt-in")] == ["confirmed"]
    (given,) = await asking.rows(consents, consents.c.confirmation == "given")
    assert (given.address, given.source, given.granted) == ("ada@x.test", "double_opt_in", True)


async def test_consent_from_before_it_was_switched_on_keeps_counting(mugs: Telling) -> None:
    """The moment of writing decides, not a time that a client tells; switched off, what awaits goes on waiting."""
    store = Asking(mugs.engine, mugs.store_id)
    on, off = (validated("double-opt-in", {"enabled": enabled}) for enabled in (True, False))
    await store.told(identified(store, newsletter=True, price_drop_alerts=False))
    before = await store.allowed()
    await plans.put(store.engine, store.store_id, "double-opt-in", on, START)
    backdated = asking_for(store, START - DAY, Topic.PRICE_DROP)
    imported = store.event("Newsletter Subscribed", START - DAY, ADA, source="import")
    await store.told(backdated, imported, asking_for(store, START + MINUTE, Topic.PRICE_DROP))
    assert await store.allowed() == before != set()

    await plans.put(store.engine, store.store_id, "double-opt-in", off, START)
    assert await store.allowed() == before
    await store.told(asking_for(store, START + 2 * MINUTE, Topic.PRICE_DROP))
    assert await store.allowed() == before | {Topic.PRICE_DROP}


def asking_for(store: Telling, at: datetime, topic: Topic) -> Event:
    return store.event("Email Preferences Saved", at, ADA, topics={topic.value: True})


async def test_whoever_unsubscribed_is_not_subscribed_again_by_somebody_else(asking: Asking) -> None:
    """A form anybody can fill in takes no unsubscribe back; the answer from the mailbox does."""
    await asking.told(identified(asking), asking.event("Unsubscribed", START, ADA))
    again = asking.event("Newsletter Subscribed", START + MINUTE, ADA)
    assert await asking.told(again) == [("start", "double-opt-in")]
    assert [row.reason for row in await asking.rows(suppressions)] == ["unsubscribed"]
    assert await asking.allowed() == set()

    await asking.told(await asking.confirmation(await asking.mail("ada@x.test"), START + 2 * MINUTE))
    assert await asking.rows(suppressions) == []
    assert await asking.allowed() == set(Topic)


async def test_a_trait_that_a_client_repeats_asks_nobody_again(asking: Asking) -> None:
    """Not with every page view after the time to confirm is over; a form that is filled in again does."""
    await asking.told(identified(asking, marketing_consent=True))
    await asking.write(update(runs).values(ended_at=START + DAY, outcome=Outcome.EXPIRED))
    later = START + 9 * DAY
    assert await asking.told(identified(asking, later, marketing_consent=True), now=later) == []
    form = asking.event("Newsletter Subscribed", later + MINUTE, ADA)
    assert await asking.told(form, now=later + MINUTE) == [("start", "double-opt-in")]


async def test_who_asks_again_soon_gets_no_second_mail_and_later_a_new_one(asking: Asking) -> None:
    """An impatient double click is one request; a mail that got lost can be had again a day later."""
    await asking.told(asking.event("Newsletter Subscribed", START, ADA, email="ada@x.test"))
    (run,) = await asking.rows(runs)
    await asking.mail("ada@x.test", START, run.run_id)
    for hours, owed in ((1, []), (25, [("restart", "double-opt-in")])):
        at = START + timedelta(hours=hours)
        assert await asking.told(asking.event("Newsletter Subscribed", at, ADA), now=at) == owed


async def test_another_address_has_to_confirm_for_itself(asking: Asking) -> None:
    """A typo put right is asked at once; whoever has the wrong address can confirm nothing for the customer."""
    await asking.told(asking.event("Newsletter Subscribed", START, ADA, email="typo@x.test"))
    (run,) = await asking.rows(runs)
    wrong = await asking.mail("typo@x.test", START, run.run_id)
    put_right = identified(asking, START + MINUTE)
    assert await asking.told(put_right, now=START + MINUTE) == [("restart", "double-opt-in")]

    assert await asking.told(await asking.confirmation(wrong, START + 2 * MINUTE)) == []
    assert await asking.allowed() == set()
    right = await asking.mail("ada@x.test", START + 3 * MINUTE)
    assert ("confirmed", "double-opt-in") in await asking.told(await asking.confirmation(right, START + 4 * MINUTE))
    assert await asking.allowed() == set(Topic)

    moved = identified(asking, START + 2 * DAY, email="victim@x.test")
    assert await asking.told(moved, now=START + 2 * DAY) == [("start", "double-opt-in")]
    assert await asking.allowed() == set()


@pytest.mark.parametrize("name", ["Unsubscribed", "identify"])
async def test_a_withdrawal_ends_the_wait(asking: Asking, name: str) -> None:
    """By whichever way it is said; one topic of two does not."""
    await asking.told(identified(asking, marketing_emails=True, price_drop_alerts=True))
    no_alerts = asking.event("Email Preferences Saved", START + MINUTE, ADA, topics={"price_drop_alerts": False})
    assert await asking.told(no_alerts) == []
    at = START + 2 * MINUTE
    refusal = asking.event(name, at, ADA) if name != "identify" else identified(asking, at, marketing_consent=False)

    assert await asking.told(refusal) == [("withdrawn", "double-opt-in")]
    assert [row.outcome for row in await asking.rows(runs)] == ["withdrawn"]


async def test_consent_of_a_browser_is_asked_for_once_its_address_is_known(asking: Asking) -> None:
    """The browser turns out to be a customer's whose address we have."""
    await asking.told(identified(asking))
    assert await asking.told(asking.event("Newsletter Subscribed", START + MINUTE, Who(anonymous_id="b-1"))) == []
    both = Who(user_id="ada", anonymous_id="b-1")

    assert await asking.told(asking.event("Product Viewed", START + 2 * MINUTE, both, product_id="cup")) == [
        ("start", "double-opt-in")
    ]


async def test_what_is_said_through_a_link_in_a_mail_needs_no_confirmation(asking: Asking) -> None:
    """The preferences page is reached from the mailbox; a client that claims to be it is not."""
    await asking.told(identified(asking))
    message_id = await asking.mail("ada@x.test")
    choice = {"message_id": str(message_id), "topics": {"newsletter": True}}
    await asking.told(asking.event("Email Preferences Saved", START, ADA, **choice))
    assert await asking.allowed() == set()

    page = Who(customer_id=await asking.customer())
    await asking.told(asking.event("Email Preferences Saved", START + MINUTE, page, **choice))
    assert await asking.allowed() == {Topic.NEWSLETTER}


async def test_the_order_in_which_it_is_told_does_not_matter(asking: Asking) -> None:
    """G2: asked, refused, asked again and confirmed, in any order and twice, allows the same in the end."""
    await asking.told(identified(asking))
    message_id = await asking.mail("ada@x.test")
    life = [
        asking.event("Newsletter Subscribed", START + MINUTE, ADA),
        asking.event("Unsubscribed", START + 2 * MINUTE, ADA),
        identified(asking, START + 3 * MINUTE, newsletter=True, price_drop_alerts=True),
        await asking.confirmation(message_id, START + 4 * MINUTE, Topic.MARKETING, Topic.PRICE_DROP),
    ]
    customer_id, seen = await asking.customer(), set()
    for told in list(permutations(life))[::3]:
        async with as_store(asking.engine, asking.store_id) as connection:
            await asking.told_in(connection, *told, told[0], now=START + DAY)
            records = await ledger.of_customer(connection, asking.store_id, customer_id)
            address = await connection.scalar(select(customers.c.email).where(customers.c.customer_id == customer_id))
            silent = await connection.scalar(select(suppressions.c.reason))
            allowed = tuple(topic for topic in Topic if ledger.allows(records, topic, address))
            seen.add((allowed, silent, (await ledger.pending(connection, asking.store_id, customer_id)).topics))
            await connection.rollback()

    assert seen == {(tuple(Topic), None, frozenset())}
