"""What the pages store is understood by the router, and shows on the pages once it is applied."""

from datetime import timedelta

import pytest
from httpx import AsyncClient

from adapters.postgres.batch import Batch
from adapters.postgres.routing import route
from adapters.postgres.tenancy import as_store
from api.html import wording
from domain.decoding import facts
from domain.facts import ConsentChanged, LinkClicked, MessageOpened, Topic, Unsubscribed
from domain.tokens import Purpose
from tests.api_pages.markup import Markup
from tests.api_pages.sent_mail import NOON, URLS, Mail
from tests.conftest import SteppedClock

_HERE = "127.0.0.0"
_AGENT = "Reader/1.0"


async def test_an_open_and_a_click_are_understood(client: AsyncClient, mail: Mail) -> None:
    """Each is one fact about the message."""
    await client.get("/track/email-open", params={"token": mail.token(Purpose.OPEN)})
    await client.get("/track/email-click", params={"token": mail.token(Purpose.CLICK, 1)})
    opened, clicked = await mail.events()

    assert facts(opened) == [MessageOpened(at=NOON, message_id=mail.message_id)]
    assert facts(clicked) == [LinkClicked(at=NOON, message_id=mail.message_id, url=URLS[1])]


@pytest.mark.parametrize(
    ("body", "source"), [({"List-Unsubscribe": "One-Click"}, "one_click"), ({}, "unsubscribe_page")]
)
async def test_an_unsubscribe_is_understood(client: AsyncClient, mail: Mail, body: dict[str, str], source: str) -> None:
    """One fact, with the evidence: where it was said, from which network, with what, and on which words, if on any."""
    shown = {} if "List-Unsubscribe" in body else {"wording": wording("unsubscribe.html", "en")}
    link = f"/unsubscribe?token={mail.token(Purpose.UNSUBSCRIBE)}"
    await client.post(link, data=body | shown, headers={"User-Agent": _AGENT})
    [event] = await mail.events()

    assert facts(event) == [Unsubscribed(at=NOON, source=source, ip=_HERE, user_agent=_AGENT, **shown)]


async def test_saved_preferences_are_understood(client: AsyncClient, mail: Mail) -> None:
    """One word on every topic, and nothing else."""
    chosen = {Topic.MARKETING, Topic.PRICE_DROP}
    shown, link = wording("preferences.html", "de"), f"/preferences?token={mail.token(Purpose.PREFERENCES)}"
    form = dict.fromkeys(chosen, "yes") | {"wording": shown}
    await client.post(link, data=form, headers={"User-Agent": _AGENT})
    [event] = await mail.events()

    said = [
        ConsentChanged(
            at=NOON,
            topic=topic,
            granted=topic in chosen,
            source="preference_page",
            ip=_HERE,
            user_agent=_AGENT,
            wording=shown,
            message_id=mail.message_id,
        )
        for topic in Topic
    ]
    assert facts(event) == said


async def test_what_is_chosen_holds_until_something_else_is(
    client: AsyncClient, mail: Mail, clock: SteppedClock
) -> None:
    """Through the whole house: choose, unsubscribe, choose again; the page shows the last word each time."""
    preferences = f"/preferences?token={mail.token(Purpose.PREFERENCES)}"
    unsubscribe = f"/unsubscribe?token={mail.token(Purpose.UNSUBSCRIBE)}"
    first, second = {Topic.MARKETING, Topic.NEWSLETTER}, {Topic.MARKETING, Topic.BACK_IN_STOCK}
    shown = []
    for path, chosen in ((preferences, first), (unsubscribe, set()), (preferences, second), (unsubscribe, set())):
        clock.advance(timedelta(seconds=1))
        await client.post(path, data=dict.fromkeys(chosen, "yes"))
        async with as_store(mail.engine, mail.store_id) as connection:
            await route(connection, (await mail.events())[-1], clock(), Batch())
        shown.append(Markup((await client.get(preferences)).text).ticked)

    assert shown == [first, set(), second, set()]
