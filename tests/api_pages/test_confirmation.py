"""The page behind a confirmation mail: a scanner changes nothing, a person confirms, and the ledger says how."""

from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import plans
from adapters.postgres.batch import Batch
from adapters.postgres.identities import new_id
from adapters.postgres.routing import route
from adapters.postgres.tables import consents
from adapters.postgres.tenancy import as_store
from api import html
from api.services import Services
from domain.decoding import facts
from domain.events import Event, Who
from domain.facts import ConsentConfirmed
from domain.plans import validated
from domain.tokens import Purpose
from tests.api_pages.conftest import Browser
from tests.api_pages.markup import Markup
from tests.api_pages.sent_mail import ADDRESS, NOON, Mail
from tests.conftest import SteppedClock

WEEK = timedelta(days=7)
BROWSER = {"User-Agent": "Browser/1.0"}


def link(mail: Mail) -> str:
    token = mail.signer.token(mail.message_id, Purpose.CONFIRM, expires_at=NOON + WEEK)
    return f"/confirm?token={token}"


async def said(mail: Mail, name: str, **properties: object) -> None:
    """The shop tells something of the customer, and it is applied."""
    event = Event(
        store_id=mail.store_id, id=new_id(), message_id=str(new_id()), type="track", name=name,
        who=Who(email=ADDRESS), payload={"properties": properties}, at=NOON, received_at=NOON,
    )  # fmt: skip
    await applied(mail, event._replace(who=Who(customer_id=mail.customer_id)))


async def applied(mail: Mail, event: Event) -> None:
    async with as_store(mail.engine, mail.store_id) as connection:
        await route(connection, event, NOON, Batch())


@pytest.fixture
async def asked(mail: Mail) -> Mail:
    """The mail of a store that asks for confirmations, to somebody who wants two kinds of mail."""
    await plans.put(mail.engine, mail.store_id, "double-opt-in", validated("double-opt-in", {"enabled": True}), NOON)
    await said(mail, "Email Preferences Saved", newsletter=True, price_drop_alerts=True)
    return mail


async def test_opening_the_link_changes_nothing(client: AsyncClient, asked: Mail) -> None:
    """Mail scanners follow every link, with GET and with HEAD; the page says what the button means."""
    answers = [await client.request(method, link(asked)) for method in ("HEAD", "GET", "GET")]
    shown = Markup(answers[-1].text)

    assert [answer.status_code for answer in answers] == [200] * 3
    assert await asked.events() == []
    assert len(shown.all("button")) == 1
    assert [("Newsletter." in words, "Price drops." in words) for words in [shown.texts["strong"]]] == [(True, True)]
    assert "Cart reminders" not in answers[-1].text


async def test_pressing_the_button_confirms_with_all_of_the_evidence(client: AsyncClient, asked: Mail) -> None:
    """Through the door of every event, into the ledger: when, where, with what, on which text, for which address."""
    shown = Markup((await client.get(link(asked))).text)
    [wording] = [one["value"] for one in shown.all("input") if one["name"] == "wording"]
    answer = await client.post(link(asked), data={"wording": wording}, headers=BROWSER)
    (event,) = await asked.events()

    assert wording == html.wording("confirm.html", "en")
    assert (answer.status_code, "that is confirmed" in answer.text) == (200, True)
    assert (event.name, event.ip, event.who.customer_id) == ("Consent Confirmed", "127.0.0.0", asked.customer_id)
    assert facts(event)[-1] == ConsentConfirmed(at=NOON, message_id=asked.message_id, mail_as_such=True)

    await applied(asked, event)
    given = select(consents).where(consents.c.store_id == asked.store_id, consents.c.confirmation == "given")
    async with as_store(asked.engine, asked.store_id) as connection:
        rows = (await connection.execute(given)).all()
    assert {row.topic for row in rows} == {"newsletter", "price_drop_alerts"}
    assert {(row.at, row.ip, row.user_agent, row.wording, row.address, row.source) for row in rows} == {
        (NOON, "127.0.0.0", "Browser/1.0", wording, ADDRESS, "double_opt_in")
    }

    again = await client.get(link(asked))
    assert (again.status_code, "that is confirmed" in again.text) == (200, True)
    await client.post(link(asked))
    assert len(await asked.events()) == 1, "there is nothing left to confirm"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_after_its_time_the_link_confirms_nothing(
    client: AsyncClient, asked: Mail, clock: SteppedClock, method: str
) -> None:
    """The plan says how long; the page says what to do. A second before, it still does."""
    clock.advance(WEEK)
    late = await client.request(method, link(asked))
    assert (late.status_code, "no longer valid" in late.text) == (410, True)
    assert await asked.events() == []

    clock.advance(-timedelta(seconds=1))
    assert (await client.request(method, link(asked))).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_was_withdrawn_meanwhile_cannot_be_confirmed(client: AsyncClient, asked: Mail, method: str) -> None:
    """The newest word is the refusal."""
    await said(asked, "Unsubscribed")
    answer = await client.request(method, link(asked))

    assert (answer.status_code, "nothing to confirm" in answer.text) == (410, True)
    assert await asked.events() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_link_confirms_nothing(client: AsyncClient, asked: Mail, method: str) -> None:
    """Not even an unsubscribe link, which never expires; nor a confirmation that says no time."""
    bad = ["", "x", *(asked.token(purpose) for purpose in Purpose)]
    answers = [await client.request(method, "/confirm", params={"token": token}) for token in bad]

    assert {answer.status_code for answer in answers} <= {400, 404}
    assert await asked.events() == []


async def test_nothing_is_claimed_to_be_confirmed_without_a_database(
    browser: Browser, asked: Mail, outage: Services
) -> None:
    """503, so that the customer presses again; after a 200 it is not lost (G1)."""
    answer = await browser(outage).post(link(asked))

    assert (answer.status_code, "that is confirmed" in answer.text) == (503, False)


async def test_the_pages_are_as_safe_and_readable_as_the_others(
    client: AsyncClient, asked: Mail, engine: AsyncEngine
) -> None:
    """No script, no person, no copy in a cache; one heading, and nothing that a shop's name could break."""
    for answer in (await client.get(link(asked)), await client.post(link(asked))):
        shown = Markup(answer.text)

        assert "Blue Teapot" in answer.text
        assert ADDRESS not in answer.text
        assert {"script", "img", "link"}.isdisjoint(tag for tag, _ in shown.tags)
        assert 1 == len(shown.all("h1")) == len(shown.all("main"))
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
