"""The preferences page: what the customer gets is what is ticked, and what is ticked is what was chosen."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.tables import consents, suppressions
from api.html import TOPICS
from api.services import Services
from domain.facts import Topic
from domain.tokens import Purpose
from testing.inspection import as_owner
from tests.api_pages.conftest import Browser
from tests.api_pages.markup import Markup
from tests.api_pages.sent_mail import ADDRESS, NOON, Mail


def _link(mail: Mail) -> str:
    return f"/preferences?token={mail.token(Purpose.PREFERENCES)}"


async def _consent(engine: AsyncEngine, mail: Mail, topics: Sequence[Topic], *, granted: bool, hours: int = 0) -> None:
    at = NOON + timedelta(hours=hours)
    same = {"store_id": mail.store_id, "customer_id": mail.customer_id, "channel": "email", "source": "sign-up"}
    rows = [
        {**same, "consent_id": uuid4(), "topic": topic, "granted": granted, "at": at, "recorded_at": at}
        for topic in topics
    ]
    async with as_owner(engine) as connection:
        await connection.execute(insert(consents), rows)


async def _ticked(client: AsyncClient, mail: Mail) -> set[str]:
    return Markup((await client.get(_link(mail))).text).ticked


async def test_every_topic_has_a_box(client: AsyncClient, mail: Mail) -> None:
    """Every topic can be chosen, under a name that a person understands; the main switch comes first."""
    boxes = [box["name"] for box in Markup((await client.get(_link(mail))).text).all("input")]

    assert set(Topic) == set(boxes) == set(TOPICS)
    assert boxes[0] == Topic.MARKETING


async def test_the_page_shows_what_the_ledger_says(client: AsyncClient, mail: Mail, engine: AsyncEngine) -> None:
    """Nothing said is nothing ticked; a word on a topic beats the word on everything; the newest word wins."""
    said_nothing = await _ticked(client, mail)
    await _consent(engine, mail, [Topic.MARKETING], granted=True)
    said_yes = await _ticked(client, mail)
    await _consent(engine, mail, [Topic.NEWSLETTER], granted=False, hours=1)
    but_no_newsletter = await _ticked(client, mail)
    await _consent(engine, mail, [Topic.MARKETING], granted=False, hours=2)
    then_no = await _ticked(client, mail)

    assert set() == said_nothing
    assert set(Topic) == said_yes
    assert set(Topic) - {Topic.NEWSLETTER} == but_no_newsletter
    assert set() == then_no


@pytest.mark.parametrize(("reason", "shown"), [("unsubscribed", set()), ("bounced", set(Topic))])
async def test_an_unsubscribed_address_gets_nothing(
    client: AsyncClient, mail: Mail, engine: AsyncEngine, reason: str, shown: set[Topic]
) -> None:
    """Unsubscribed is shown as nothing ticked; a bounce is about the address and not about the choice."""
    await _consent(engine, mail, [Topic.MARKETING], granted=True)
    async with as_owner(engine) as connection:
        row = {"store_id": mail.store_id, "channel": "email", "address": ADDRESS, "reason": reason, "at": NOON}
        await connection.execute(insert(suppressions).values(row))

    assert shown == await _ticked(client, mail)


async def test_another_shop_does_not_matter(client: AsyncClient, mail: Mail, engine: AsyncEngine) -> None:
    """G7: what the same address did in another shop changes nothing here."""
    await _consent(engine, mail, [Topic.MARKETING], granted=True)
    async with as_owner(engine) as connection:
        elsewhere = {"store_id": f"other-{mail.store_id}", "channel": "email", "address": ADDRESS}
        await connection.execute(insert(suppressions).values(**elsewhere, reason="unsubscribed", at=NOON))

    assert set(Topic) == await _ticked(client, mail)


async def test_a_choice_is_saved_whole_and_shown(client: AsyncClient, mail: Mail) -> None:
    """What is ticked is granted and what is not is withdrawn, with where and from which address it was said."""
    chosen = {Topic.MARKETING, Topic.BACK_IN_STOCK}
    answer = await client.post(_link(mail), data=dict.fromkeys(chosen, "yes"))
    [event] = await mail.events()
    shown = Markup(answer.text)

    assert (200, chosen) == (answer.status_code, shown.ticked)
    assert [p for p in shown.all("p") if "role" in p] == [{"class": "note", "role": "status"}]
    assert ("Email Preferences Saved", mail.customer_id) == (event.name, event.who.customer_id)
    assert event.ip == "127.0.0.0"
    expected = {
        "message_id": str(mail.message_id),
        "source": "preference_page",
        "topics": {topic.value: topic in chosen for topic in Topic},
    }
    assert expected == event.payload["properties"]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ([Topic.MARKETING, Topic.NEWSLETTER], "You get the emails that are ticked"),
        ([Topic.NEWSLETTER], "is off, so you get none"),
        ([], "You get no marketing emails"),
    ],
)
async def test_the_page_says_what_a_choice_means(
    client: AsyncClient, mail: Mail, chosen: list[Topic], said: str
) -> None:
    """A box that has no effect because the main switch is off is not passed over in silence."""
    answer = await client.post(_link(mail), data=dict.fromkeys(chosen, "yes"))

    assert said in Markup(answer.text).texts["p"]


async def test_unsubscribe_from_everything_wins_over_the_boxes(client: AsyncClient, mail: Mail) -> None:
    """The second button is an unsubscribe like every other, whatever is ticked."""
    answer = await client.post(_link(mail), data={"marketing_emails": "yes", "unsubscribe": "yes"})
    [event] = await mail.events()

    assert (answer.status_code, "You are unsubscribed" in answer.text) == (200, True)
    assert (event.name, event.payload["properties"]["source"]) == ("Unsubscribed", "preference_page")


async def test_enter_saves(client: AsyncClient, mail: Mail) -> None:
    """Enter presses the first button of a form: it must not be the one that ends everything."""
    first, second = Markup((await client.get(_link(mail))).text).all("button")

    assert "name" not in first
    assert second["name"] == "unsubscribe"


async def test_nothing_is_claimed_to_be_saved_without_a_database(
    browser: Browser, mail: Mail, outage: Services
) -> None:
    """503, and not the word that everybody looks for."""
    answer = await browser(outage).post(_link(mail), data={"newsletter": "yes"})

    assert answer.status_code == 503
    assert "Saved" not in answer.text


async def test_what_cannot_be_read_changes_nothing(client: AsyncClient, mail: Mail) -> None:
    """A broken form is not taken for an empty one, which would withdraw everything."""
    headers = {"Content-Type": "multipart/form-data"}
    answer = await client.post(_link(mail), content=b"no boundary", headers=headers)

    assert (answer.status_code, "was not saved" in answer.text) == (400, True)
    assert await mail.events() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_links_token_opens_no_preferences(client: AsyncClient, mail: Mail, method: str) -> None:
    """An address forwarded with a click must not hand over the choice of mails."""
    bad = ["", "x", mail.token(Purpose.CLICK), mail.token(Purpose.UNSUBSCRIBE)]
    answers = [await client.request(method, "/preferences", params={"token": token}) for token in bad]

    assert [400] * len(bad) == [answer.status_code for answer in answers]
    assert await mail.events() == []
