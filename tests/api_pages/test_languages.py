"""The pages in the reader's language: nothing is left in English, and the words on which one decided have a name."""

import re

import pytest
from babel.messages.extract import extract_from_dir
from httpx import AsyncClient
from sqlalchemy import update

import api
from adapters.postgres.tables import customers
from adapters.postgres.tenancy import as_store
from api import html
from api.html.languages import TRANSLATIONS, choices, spoken
from api.html.zones import by_region
from domain.quiet_hours import zone_of
from domain.tokens import Purpose
from tests.api_pages.markup import Markup
from tests.api_pages.sent_mail import Mail

_TEXTS = {
    text
    for _, _, text, _, _ in extract_from_dir(
        api.__path__[0],
        [("**.py", "python"), ("**.html", "jinja2")],
        options_map={"**.html": {"newstyle_gettext": "true"}},
        keywords={"noted": None, "_": None, "gettext": None},
    )
}
_HOLES = re.compile(r"%\(\w+\)s")


@pytest.mark.parametrize("language", sorted(TRANSLATIONS.keys() - {"en"}))
def test_a_language_has_every_text_and_none_that_is_gone(language: str) -> None:
    """A new text needs its translation, with the same holes; one that nobody shows any more goes."""
    catalog = TRANSLATIONS[language]._catalog  # type: ignore[attr-defined]
    translated = {text: said for text, said in catalog.items() if text}

    assert translated.keys() == _TEXTS
    assert [t for t, said in translated.items() if sorted(_HOLES.findall(t)) != sorted(_HOLES.findall(said))] == []


@pytest.mark.parametrize(
    ("known", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr, en;q=0.5, de;q=0.7", "de"),
        (None, "de;q=0, en", "en"),
        (None, "de;q=much, " + "x" * 5_000, "en"),
        ("de_CH", "en", "de"),
        ("en-GB", "de", "en"),
        ("fr", "de", "de"),
        ("not a locale", "*", "en"),
    ],
)
def test_the_language_is_the_readers_else_the_browsers_else_english(
    known: str | None, accepted: str, language: str
) -> None:
    """RFC 9110 section 12.5.4, after what we know of the customer."""
    assert spoken(known, accepted) == language


async def test_a_page_speaks_the_language_of_its_reader(client: AsyncClient, mail: Mail) -> None:
    """The customer's own before the browser's; a page without a customer has only the browser's."""
    link, german = f"/unsubscribe?token={mail.token(Purpose.UNSUBSCRIBE)}", {"Accept-Language": "de"}
    titles = []
    for locale in (None, "en-US"):
        async with as_store(mail.engine, mail.store_id) as connection:
            mine = customers.c.customer_id == mail.customer_id
            await connection.execute(update(customers).where(mine).values(locale=locale))
        answer = await client.get(link, headers=german)
        titles.append(Markup(answer.text).texts["h1"])
    broken = await client.get("/preferences?token=x", headers=german)

    assert titles == ["Von unseren E-Mails abmelden?", "Unsubscribe from our emails?"]
    assert Markup(broken.text).texts["h1"] == "Dieser Link funktioniert nicht"


def test_other_words_have_another_name() -> None:
    """By page and by language; the same words have the same name in every process."""
    names = [
        html.wording(f"{page}.html", language) for page in ("preferences", "unsubscribe") for language in ("en", "de")
    ]

    assert len(set(names)) == 4
    assert [name.rpartition("/")[0] for name in names] == [
        "preferences/en", "preferences/de", "unsubscribe/en", "unsubscribe/de",
    ]  # fmt: skip
    assert html.wording.__wrapped__("preferences.html", "de") == names[1]


def test_a_changed_translation_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to think of it when a text is edited."""
    before = html.wording.__wrapped__("preferences.html", "de")
    catalog = TRANSLATIONS["de"]._catalog  # type: ignore[attr-defined]
    monkeypatch.setitem(catalog, "Offers", "Schnäppchen")

    assert html.wording.__wrapped__("preferences.html", "de") != before


@pytest.mark.parametrize("language", sorted(TRANSLATIONS))
def test_every_place_of_the_zone_list_can_be_chosen_once(language: str) -> None:
    """All are zones that exist, each under one name in its region."""
    regions = by_region(language, TRANSLATIONS[language].gettext)
    zones = [zone for _, places in regions for zone, _ in places]

    assert len(zones) == len(set(zones)) > 400
    assert all(zone_of(zone) == zone for zone in zones)
    assert all(len({name for _, name in places}) == len(places) for _, places in regions)
    assert ("Europe/Rome", {"en": "Rome", "de": "Rom"}[language]) in dict(regions)[
        {"en": "Europe", "de": "Europa"}[language]
    ]


def test_a_customers_own_language_stays_a_choice() -> None:
    """With its country, in place of the one without; a tag that means nothing is not offered."""
    assert choices([], "de-AT") == [("de-AT", "Deutsch (Österreich)"), ("en", "English")]
    assert choices(["en", "zz"], None) == [("en", "English")]
    assert choices(["en-GB", "en-US"], "en_US") == [
        ("en-GB", "English (United Kingdom)"), ("en_US", "English (United States)"),
    ]  # fmt: skip
    assert choices(["de"], "nl") == [("de", "Deutsch"), ("nl", "Nederlands")]
