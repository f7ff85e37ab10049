"""Unsubscribing: one press, at once, never by accident, and never claimed without being so (RFC 8058)."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.tables import customers
from api.services import Services
from domain.tokens import Purpose, Signer
from testing.inspection import as_owner
from tests.api_pages.conftest import Browser
from tests.api_pages.markup import Markup
from tests.api_pages.sent_mail import ADDRESS, NOON, Mail
from tests.conftest import SteppedClock

_DONE = "You are unsubscribed"
_MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
    "multipart/form-data; boundary=b",
)
_FORM = (b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded")


def _link(mail: Mail) -> str:
    return f"/unsubscribe?token={mail.token(Purpose.UNSUBSCRIBE)}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_looking_does_not_unsubscribe(client: AsyncClient, mail: Mail, method: str) -> None:
    """Scanners follow every link of a mail; only a POST says that a person wants it."""
    answer = await client.request(method, _link(mail))

    assert answer.status_code == 200
    assert await mail.events() == []


async def test_the_page_has_one_button_and_it_works(client: AsyncClient, mail: Mail) -> None:
    """The page's only form posts to itself and carries the token; pressing its button unsubscribes."""
    shown = Markup((await client.get(_link(mail))).text)
    [form], [_button] = shown.all("form"), shown.all("button")
    answer = await client.post(f"/unsubscribe{form['action']}", data={})
    [event] = await mail.events()

    assert form["method"] == "post"
    assert (answer.status_code, _DONE in answer.text) == (200, True)
    assert ("Unsubscribed", NOON, mail.customer_id) == (event.name, event.at, event.who.customer_id)
    expected = {"message_id": str(mail.message_id), "channel": "email", "source": "unsubscribe_page"}
    assert expected == event.payload["properties"]
    assert event.ip == "127.0.0.0"


@pytest.mark.parametrize(("body", "content_type"), [_FORM, _MULTIPART], ids=["urlencoded", "multipart"])
async def test_one_click_unsubscribes(client: AsyncClient, mail: Mail, body: bytes, content_type: str) -> None:
    """RFC 8058: a POST in either encoding, without cookies, answered directly and not by a redirect."""
    answer = await client.post(_link(mail), content=body, headers={"Content-Type": content_type})

    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert [properties["source"] for properties in await mail.properties()] == ["one_click"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", ""),
        (b"{", "application/json"),
        (b"no boundary", "multipart/form-data"),
        (b"--b\r\nContent-Disposition: nonsense\r\n\r\n", "multipart/form-data; boundary=b"),
        (b"a=1&" * 100, "application/x-www-form-urlencoded"),
        (b"a=" + b"x" * 100_000, "application/x-www-form-urlencoded"),
    ],
)
async def test_a_broken_body_still_unsubscribes(
    client: AsyncClient, mail: Mail, body: bytes, content_type: str
) -> None:
    """The token says who, and the POST says that they want it; the body only says where from."""
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await client.post(_link(mail), content=body, headers=headers)

    assert (answer.status_code, _DONE in answer.text) == (200, True)
    assert len(await mail.events()) == 1


async def test_unsubscribing_again_is_a_success(client: AsyncClient, mail: Mail) -> None:
    """A repeat in the same instant changes nothing, and so does an old link found again later."""
    first, again = [await client.post(_link(mail), content=_FORM[0], headers={"Content-Type": _FORM[1]}) for _ in "ab"]

    assert (200, first.text) == (again.status_code, again.text)
    assert len(await mail.events()) == 1


async def test_an_unsubscribe_after_a_change_of_mind_counts(
    client: AsyncClient, mail: Mail, clock: SteppedClock
) -> None:
    """Out, in again, out again through the same mail within a minute: the last word is stored as well."""
    preferences = f"/preferences?token={mail.token(Purpose.PREFERENCES)}"
    for path, form in ((_link(mail), {}), (preferences, {"marketing_emails": "yes"}), (_link(mail), {})):
        await client.post(path, data=form)
        clock.advance(timedelta(seconds=5))

    names = [event.name for event in await mail.events()]
    assert names == ["Unsubscribed", "Email Preferences Saved", "Unsubscribed"]


async def test_it_is_never_claimed_before_the_commit(client: AsyncClient, mail: Mail, engine: AsyncEngine) -> None:
    """While the event cannot be committed there is no answer; afterwards there is one."""
    async with as_owner(engine) as connection:
        await connection.execute(text("lock table events in exclusive mode"))
        asked = asyncio.create_task(client.post(_link(mail)))
        _, waiting = await asyncio.wait({asked}, timeout=0.3)

        assert {asked} == waiting
    answer = await asyncio.wait_for(asked, 60)

    assert (answer.status_code, _DONE in answer.text) == (200, True)
    assert len(await mail.events()) == 1


async def test_it_is_never_claimed_without_a_database(browser: Browser, mail: Mail, outage: Services) -> None:
    """503 makes mail programs and people try again; a promise would be a lie."""
    answer = await browser(outage).post(_link(mail), content=_FORM[0], headers={"Content-Type": _FORM[1]})

    assert answer.status_code == 503
    assert answer.headers["retry-after"].isdigit()
    assert "follow the link in the email again" in answer.text
    assert _DONE not in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_only_a_token_for_unsubscribing_unsubscribes(client: AsyncClient, mail: Mail, method: str) -> None:
    """A forged or altered token, one for a click, and one for a message nobody knows do nothing."""
    good = mail.token(Purpose.UNSUBSCRIBE)
    altered = good[:10] + ("A" if good[10] != "A" else "B") + good[11:]
    bad = [altered, good[:46], "", mail.token(Purpose.CLICK), mail.token(Purpose.PREFERENCES)]
    bad.append(Signer(["another secret of 16"]).token(mail.message_id, Purpose.UNSUBSCRIBE))
    answers = [await client.request(method, "/unsubscribe", params={"token": token}) for token in bad]
    unknown = mail.signer.token(uuid4(), Purpose.UNSUBSCRIBE)
    missing = await client.request(method, "/unsubscribe", params={"token": unknown})

    assert [400] * len(bad) == [answer.status_code for answer in answers]
    assert missing.status_code == 404
    assert await mail.events() == []


async def test_the_customer_of_today_is_unsubscribed(client: AsyncClient, mail: Mail, engine: AsyncEngine) -> None:
    """A customer who was joined with another since the mail was sent is unsubscribed as the one who remains."""
    survivor = uuid4()
    async with as_owner(engine) as connection:
        row = {"store_id": mail.store_id, "customer_id": survivor, "email": ADDRESS, "created_at": NOON}
        await connection.execute(insert(customers).values(row))
        here = customers.c.store_id == mail.store_id
        merge = update(customers).where(here, customers.c.customer_id == mail.customer_id)
        await connection.execute(merge.values(merged_into=survivor, email=None))
    await client.post(_link(mail))

    assert [survivor] == [event.who.customer_id for event in await mail.events()]


async def test_the_next_step_is_offered(client: AsyncClient, mail: Mail) -> None:
    """Both pages link to the preferences with a token that works there."""
    for shown in (await client.get(_link(mail)), await client.post(_link(mail))):
        [link] = Markup(shown.text).all("a")

        assert (await client.get(f"/{link['href']}")).status_code == 200
