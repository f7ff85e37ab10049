"""The open pixel and the click redirect: never in the reader's way, never a door to somewhere else."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from api import pages
from api.services import Services
from domain.tokens import Purpose, Signer
from testing.inspection import as_owner
from tests.api_pages.conftest import Browser
from tests.api_pages.sent_mail import ADDRESS, NOON, URLS, Mail, seed
from tests.conftest import SteppedClock


def _is_one_transparent_pixel(body: bytes) -> bool:
    size, transparent = body[6:10], bytes([0x21, 0xF9, 0x04, 0x01])
    return body[:6] == b"GIF89a" and size == b"\1\0\1\0" and transparent in body and body.endswith(b"\x3b")


async def test_an_open_is_recorded_and_answered_with_a_pixel(client: AsyncClient, mail: Mail) -> None:
    """An open becomes an event of the customer about the message."""
    answer = await client.get("/track/email-open", params={"token": mail.token(Purpose.OPEN)})
    [event] = await mail.events()

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert _is_one_transparent_pixel(answer.content)
    assert "no-store" in answer.headers["cache-control"]
    assert (event.type, event.name, event.at) == ("track", "Email Opened", NOON)
    assert mail.customer_id == event.who.customer_id
    assert {"event": "Email Opened", "properties": {"message_id": str(mail.message_id)}} == event.payload


async def test_opens_count_once_a_minute(client: AsyncClient, mail: Mail, clock: SteppedClock) -> None:
    """Programs load a pixel several times in one look; a look some time later is another open."""
    for _ in range(3):
        await client.get("/track/email-open", params={"token": mail.token(Purpose.OPEN)})
    clock.advance(timedelta(minutes=1))
    await client.get("/track/email-open", params={"token": mail.token(Purpose.OPEN)})

    assert len(await mail.events()) == 2


async def test_a_pixel_is_shown_whatever_is_wrong(
    client: AsyncClient, browser: Browser, deaf: Services, down: Services, mail: Mail
) -> None:
    """A mail program shows a broken image for anything else."""
    good = {"token": mail.token(Purpose.OPEN)}
    asked = [
        (client, {}),
        (client, {"token": "no-token"}),
        (client, {"token": "é\0" * 5000}),
        (client, {"token": mail.token(Purpose.CLICK)}),
        (client, {"token": mail.signer.token(uuid4(), Purpose.OPEN)}),
        (browser(deaf), good),
        (browser(down), good),
    ]
    for program, params in asked:
        answer = await program.get("/track/email-open", params=params)

        assert answer.status_code == 200
        assert _is_one_transparent_pixel(answer.content)
    assert await mail.events() == []


@pytest.mark.parametrize("link", [0, 1])
async def test_a_click_leads_to_the_shop_and_is_recorded(client: AsyncClient, mail: Mail, link: int) -> None:
    """A click leads to exactly the URL of the message, and becomes an event with it."""
    answer = await client.get("/track/email-click", params={"token": mail.token(Purpose.CLICK, link)})
    [event] = await mail.events()

    assert (302, URLS[link]) == (answer.status_code, answer.headers["location"])
    assert "no-store" in answer.headers["cache-control"]
    assert event.name == "Email Link Clicked"
    assert {"message_id": str(mail.message_id), "url": URLS[link]} == event.payload["properties"]


async def test_a_click_cannot_lead_anywhere_else(client: AsyncClient, mail: Mail) -> None:
    """No open redirect: what the request asks for is ignored, the message decides."""
    evil = {"redirect": "https://evil.example/", "url": "//evil.example", "next": "https://evil.example"}
    answer = await client.get("/track/email-click", params={"token": mail.token(Purpose.CLICK), **evil})
    beyond = await client.get("/track/email-click", params={"token": mail.token(Purpose.CLICK, 2), **evil})

    assert URLS[0] == answer.headers["location"]
    assert beyond.status_code == 404
    assert "location" not in beyond.headers


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "/relative", ""])
async def test_only_the_web_is_redirected_to(
    engine: AsyncEngine, services: Services, browser: Browser, url: str
) -> None:
    """Whatever came into a message, a redirect never runs script or leaves the web."""
    mail = await seed(engine, urls=(url,))
    answer = await browser(services).get("/track/email-click", params={"token": mail.token(Purpose.CLICK)})

    assert answer.status_code == 404
    assert "location" not in answer.headers


async def test_a_url_cannot_write_headers(engine: AsyncEngine, services: Services, browser: Browser) -> None:
    """A line break in a URL stays inside the URL."""
    mail = await seed(engine, urls=("https://shop.example/\r\nSet-Cookie: a=b",))
    answer = await browser(services).get("/track/email-click", params={"token": mail.token(Purpose.CLICK)})

    assert answer.headers["location"] == "https://shop.example/%0D%0ASet-Cookie:%20a=b"
    assert "set-cookie" not in answer.headers


async def test_a_click_is_redirected_though_it_cannot_be_recorded(browser: Browser, deaf: Services, mail: Mail) -> None:
    """The customer wants the shop; our bookkeeping comes second."""
    answer = await browser(deaf).get("/track/email-click", params={"token": mail.token(Purpose.CLICK)})

    assert (302, URLS[0]) == (answer.status_code, answer.headers["location"])


async def test_a_slow_event_store_does_not_hold_a_click_up(
    client: AsyncClient, mail: Mail, engine: AsyncEngine, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader waits a moment for the recording, not for as long as a locked table takes; the click is kept."""
    monkeypatch.setattr(pages, "_PATIENCE", 0.1)
    async with asyncio.timeout(60), as_owner(engine) as connection:
        await connection.execute(text("lock table events in exclusive mode"))
        answer = await client.get("/track/email-click", params={"token": mail.token(Purpose.CLICK)})

    assert (302, URLS[0]) == (answer.status_code, answer.headers["location"])
    await asyncio.wait_for(services.events.close(), 60)
    assert len(await mail.events()) == 1


async def test_looking_with_head_records_nothing(client: AsyncClient, mail: Mail) -> None:
    """Link checkers ask with HEAD; nobody opened or clicked."""
    opened = await client.head("/track/email-open", params={"token": mail.token(Purpose.OPEN)})
    clicked = await client.head("/track/email-click", params={"token": mail.token(Purpose.CLICK)})

    assert (opened.status_code, clicked.status_code) == (200, 302)
    assert URLS[0] == clicked.headers["location"]
    assert await mail.events() == []


async def test_a_click_with_a_bad_token_says_what_to_do(client: AsyncClient, mail: Mail) -> None:
    """A forged, altered, foreign or missing token is answered with a page for a person."""
    good = mail.token(Purpose.CLICK)
    altered = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
    forged = Signer(["another secret of 16"]).token(mail.message_id, Purpose.CLICK)
    for token in ("", "x", good[:-1], good + "A", altered, forged, mail.token(Purpose.OPEN), "=" * 47, "ü" * 47):
        answer = await client.get("/track/email-click", params={"token": token})

        assert answer.status_code == 400
        assert "This link does not work" in answer.text
        assert "location" not in answer.headers
    assert await mail.events() == []


async def test_no_answer_and_no_log_names_the_customer(browser: Browser, down: Services, mail: Mail) -> None:
    """G8: neither a token nor an address reaches the logs."""
    token = mail.token(Purpose.CLICK)
    with capture_logs() as logged:
        answer = await browser(down).get("/track/email-click", params={"token": token})
    said = answer.text + str(logged)

    assert answer.status_code == 503
    assert "link not followed" in said
    assert token not in said
    assert ADDRESS not in said
