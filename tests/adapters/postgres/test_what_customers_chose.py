"""What a customer has chosen: seen before it is applied, obeyed by the gate, and kept when identities are joined."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, insert, update

from adapters.postgres import preferences, why
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.preferences import Preferences
from adapters.postgres.tables import customers, decisions, events
from domain.delivery import Delivery, Result, Rule, Slot
from domain.events import Who
from domain.facts import Topic
from domain.plans import Step
from tests.adapters.postgres.conftest import START, Telling

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = START + HOUR


@pytest.fixture
async def ada(mugs: Telling) -> UUID:
    """A customer with an address, consent and a time zone that a browser told."""
    known = {"email": "ada@x.test", "marketing_consent": True, "timezone": "Asia/Tokyo"}
    await mugs.apply([mugs.event(None, kind="identify", **known)])
    return await mugs.customer()


def slot_of(mugs: Telling, customer_id: UUID, run_id: UUID, step: Step) -> Slot:
    return Slot(
        store_id=mugs.store_id, customer_id=customer_id, run_id=run_id, journey="cart-recovery", step=step,
        gap=timedelta(0), due=NOW, waited_from=START,
    )  # fmt: skip


async def seen(mugs: Telling, customer_id: UUID) -> Preferences:
    return await preferences.of_customer(mugs.engine, mugs.store_id, customer_id)


SAID: list[tuple[str, dict[str, Any]]] = [
    ("Email Preferences Saved", {"topics": {"newsletter": False, "marketing_emails": True}}),
    ("Email Preferences Saved", {"topics": {"marketing_emails": False}}),
    ("Unsubscribed", {}),
    ("Email Preferences Saved", {"topics": {"marketing_emails": True}, "locale": "de-AT", "timezone": "Europe/Vienna"}),
    ("Marketing Paused", {"days": 10}),
    ("Marketing Resumed", {}),
    ("Marketing Paused", {"until": (START + 20 * DAY).isoformat()}),
]


async def test_what_was_said_a_moment_ago_is_seen_as_it_is_going_to_be(mugs: Telling, ada: UUID) -> None:
    """After each word the page shows the same before and after the router has applied it."""
    store = EventStore(mugs.engine)
    views = []
    for minute, (name, properties) in enumerate(SAID):
        said = mugs.event(name, START + timedelta(minutes=minute), Who(customer_id=ada), **properties)
        await store.accept([said])
        before = await seen(mugs, ada)
        await mugs.apply([said])
        await mugs.write(delete(events).where(events.c.id == said.id))
        assert await seen(mugs, ada) == before, name
        views.append(before)
    await store.close()

    assert views[0].topics == set(Topic) - {Topic.NEWSLETTER}
    assert views[1].topics == views[2].topics == set()
    assert (views[3].locale, views[3].timezone, views[2].timezone) == ("de-AT", "Europe/Vienna", "Asia/Tokyo")
    assert [view.paused_until for view in views[4:]] == [START + timedelta(days=10, minutes=4), None, START + 20 * DAY]


async def test_a_browser_does_not_overwrite_what_was_chosen(mugs: Telling, ada: UUID) -> None:
    """Also if the choice arrives last, and if it was made under another identity that turns out to be the same."""
    chosen = mugs.event("Email Preferences Saved", START + HOUR, Who(customer_id=ada), timezone="Europe/Vienna")
    reported = [mugs.event(None, START + n * DAY, kind="identify", timezone="America/New_York") for n in (1, 2)]
    await mugs.apply([reported[0], chosen, reported[1]])
    assert (await seen(mugs, ada)).timezone == "Europe/Vienna"

    visitor = Who(anonymous_id="b-9")
    await mugs.apply([mugs.event(None, START + 3 * DAY, visitor, "identify", timezone="Asia/Tokyo")])
    await mugs.apply([mugs.event(None, START + 3 * DAY, Who(user_id="ada", anonymous_id="b-9"), "identify")])
    assert (await seen(mugs, ada)).timezone == "Europe/Vienna"


async def test_while_paused_marketing_waits_or_expires_and_orders_are_told_of(
    mugs: Telling, ada: UUID, reminder: Step
) -> None:
    """Two days: within the deadline, so it waits. Ten: it is withheld at once, and said to be. `why` tells both."""
    ledger, run_id = PostgresLedger(mugs.engine), await mugs.run(ada, "cart-recovery")

    async def asked(step: Step, now: Any = NOW, ask: int = 1) -> Delivery:
        claim = await ledger.claim(slot_of(mugs, ada, run_id, step).model_copy(update={"ask": ask}), now)
        return claim.delivery

    await mugs.apply([mugs.event("Marketing Paused", START, Who(customer_id=ada), days=2)])
    waits = await asked(reminder)
    assert (waits.result, waits.rule, waits.until) == (Result.DEFERRED, Rule.MARKETING_PAUSED, START + 2 * DAY)
    told = await why.why(mugs.engine, mugs.store_id, str(run_id))
    assert told.next is not None
    assert (told.next.due, told.next.waits_for) == (START + 2 * DAY, "the customer paused marketing")
    assert [d.inputs.get("marketing_paused_until") for d in told.decisions if d.step == reminder.name] == [
        (START + 2 * DAY).isoformat().replace("+00:00", "Z")
    ]

    thanks = reminder.model_copy(update={"name": "thanks", "transactional": True})
    assert (await asked(thanks)).result is Result.SENT

    await mugs.apply([mugs.event("Marketing Paused", NOW, Who(customer_id=ada), days=10)])
    dropped = await asked(reminder, NOW + DAY, 2)
    assert (dropped.result, dropped.rule, dropped.until) == (Result.DROPPED, Rule.MARKETING_PAUSED, None)
    again = reminder.model_copy(update={"name": "reminder-2"})
    assert (await asked(again, NOW + 10 * DAY)).result is Result.SENT
    assert len(await mugs.rows(decisions, decisions.c.rule == Rule.MARKETING_PAUSED)) == 2


async def test_the_newest_word_on_a_pause_counts_whenever_it_arrives(mugs: Telling, ada: UUID) -> None:
    """Resumed after paused, told the other way round; at the same instant, the longer pause."""
    paused = mugs.event("Marketing Paused", START, Who(customer_id=ada), days=5)
    resumed = mugs.event("Marketing Resumed", START + HOUR, Who(customer_id=ada))
    await mugs.apply([resumed, paused])
    assert (await seen(mugs, ada)).paused_until is None

    at_once = [
        mugs.event("Marketing Resumed", START + DAY, Who(customer_id=ada)),
        mugs.event("Marketing Paused", START + DAY, Who(customer_id=ada), days=3),
        mugs.event("Marketing Paused", START + DAY, Who(customer_id=ada), days=2),
    ]
    for told in (at_once, at_once[::-1]):
        await mugs.write(update(customers).values(told_at={}, marketing_paused_until=None))
        await mugs.apply(told)
        assert (await seen(mugs, ada)).paused_until == START + 4 * DAY


async def test_a_pause_is_joined_with_the_customer(mugs: Telling) -> None:
    """The newest word of the two identities counts, also if it is that there is no pause."""
    for user, browser, first, then in (("eva", "b-1", 5, 0), ("eve", "b-2", 0, 5)):
        said = []
        for who, hours, days in ((Who(user_id=user), 0, first), (Who(anonymous_id=browser), 1, then)):
            name = "Marketing Paused" if days else "Marketing Resumed"
            said.append(mugs.event(name, START + hours * HOUR, who, days=days))
        both = Who(user_id=user, anonymous_id=browser)
        await mugs.apply([*said, mugs.event("Product Viewed", START + 2 * HOUR, both, product_id="cup")])
        until = (await seen(mugs, await mugs.customer(user))).paused_until
        assert until == (START + HOUR + 5 * DAY if then else None)


async def test_another_stores_customer_is_not_paused(mugs: Telling, ada: UUID) -> None:
    """G7: the same id in another store is somebody else."""
    other = Telling(mugs.engine, "pots")
    row = {"store_id": "pots", "customer_id": ada, "created_at": START, "marketing_paused_until": START + DAY}
    await other.write(insert(customers).values(row))

    assert (await seen(mugs, ada)).paused_until is None
    assert (await seen(other, ada)).paused_until == START + DAY
    assert (await seen(other, ada)).topics == set()
