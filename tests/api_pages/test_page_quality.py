"""Every page: readable by everyone, without scripts, and telling nobody whose it is."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest
from httpx import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from api.html.languages import TRANSLATIONS
from api.services import Services
from domain.tokens import Purpose
from tests.api_pages.conftest import Browser
from tests.api_pages.markup import Markup
from tests.api_pages.sent_mail import ADDRESS, Mail, seed

_FORMS = [
    {"newsletter": "yes"},
    {"marketing_emails": "yes"},
    {"pause": "yes"},
    {"resume": "yes"},
    {"marketing_emails": "yes", "locale": "de", "timezone": "Europe/Berlin"},
    {"unsubscribe": "yes"},
]
_HOSTILE = "<script>alert(1)</script>\"' onload=x {{ 7 * 7 }} & Söhne"


async def _pages(client: AsyncClient, mail: Mail) -> list[Response]:
    """Every page that there is, and each thing that the preferences can say; the last two are problems."""
    unsubscribe = f"/unsubscribe?token={mail.token(Purpose.UNSUBSCRIBE)}"
    preferences = f"/preferences?token={mail.token(Purpose.PREFERENCES)}"
    return [
        await client.get(unsubscribe),
        await client.post(unsubscribe),
        await client.get(preferences),
        *[await _saved(client, preferences, form) for form in _FORMS],
        await client.get("/unsubscribe?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"),
        await client.get(f"/track/email-click?token={mail.token(Purpose.CLICK, 99)}"),
    ]


async def _saved(client: AsyncClient, link: str, form: dict[str, str]) -> Response:
    answer = await client.post(link, data=form)
    return await client.get(str(answer.url.join(answer.headers["location"])))


async def test_a_page_is_locked_down(client: AsyncClient, mail: Mail) -> None:
    """No script, no frame, no referrer (the address holds the token), no copy in a cache, no search engine."""
    for answer in await _pages(client, mail):
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
        allowed = f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"

        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert {
            "default-src": "'none'",
            "style-src": allowed,
            "form-action": "'self'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        } == policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "noindex" in answer.headers["x-robots-tag"]
        assert "set-cookie" not in answer.headers


async def test_a_page_is_accessible(client: AsyncClient, mail: Mail) -> None:
    """Language, title, one heading, a label for each box, a legend for each group; every reference leads somewhere."""
    for answer in await _pages(client, mail):
        shown = Markup(answer.text)
        ids = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
        labels = {label["for"] for label in shown.all("label")}

        assert answer.text.startswith("<!doctype html>")
        assert shown.all("html")[0]["lang"] in TRANSLATIONS
        assert shown.texts["title"].strip()
        assert 1 == len(shown.all("h1")) == len(shown.all("main"))
        assert len(ids) == len(set(ids))
        assert len(shown.all("fieldset")) == len(shown.all("legend"))
        assert labels == {field["id"] for field in shown.fields}
        assert {field["aria-describedby"] for field in shown.fields} <= set(ids)
        assert any("width=device-width" in meta.get("content", "") for meta in shown.all("meta"))


async def test_a_page_needs_nothing_else(client: AsyncClient, mail: Mail) -> None:
    """No script, no image, no font, no inline style or handler: the page is one answer."""
    for answer in await _pages(client, mail):
        shown = Markup(answer.text)

        assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in shown.tags}
        assert not [
            a for _, attributes in shown.tags for a in attributes if a.startswith("on") or a in ("src", "style")
        ]
        assert "url(" not in answer.text
        assert "@import" not in answer.text
        assert all("//" not in link["href"] for link in shown.all("a"))


async def test_what_a_shop_calls_itself_is_only_text(engine: AsyncEngine, services: Services, browser: Browser) -> None:
    """A shop's name is shown as it is, and never becomes markup or a template."""
    mail = await seed(engine, store_name=_HOSTILE)
    for answer in (await _pages(browser(services), mail))[:-2]:
        shown = Markup(answer.text)

        assert _HOSTILE in shown.texts["title"]
        assert shown.all("script") == []


async def test_a_page_names_the_shop_and_nobody_else(client: AsyncClient, mail: Mail) -> None:
    """G8: whoever a mail was forwarded to does not learn whose it was."""
    for answer in (await _pages(client, mail))[:-2]:
        assert "Blue Teapot" in answer.text
        assert ADDRESS not in answer.text
        assert "jane" not in answer.text.lower()
        assert "example.com" not in answer.text
        assert str(mail.customer_id) not in answer.text


_PAIRS = [("text", "card", 7), ("soft", "card", 4.5), ("accent", "card", 4.5), ("on-accent", "accent", 4.5)]
_NOTES = [("text", "good", 7), ("text", "warn", 7), ("edge", "card", 3)]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), _PAIRS + _NOTES)
async def test_colours_can_be_told_apart(client: AsyncClient, scheme: int, front: str, back: str, least: float) -> None:
    """WCAG 2.2: text reaches AA in light and in dark, body text AAA, and edges 3:1."""
    page = (await client.get("/unsubscribe")).text
    first, second = [re.findall(rf"--{name}: #(\w{{6}})", page)[scheme] for name in (front, back)]
    bright, dim = sorted((_luminance(first), _luminance(second)), reverse=True)

    assert (bright + 0.05) / (dim + 0.05) >= least


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
