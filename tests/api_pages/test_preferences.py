"""The preferences page: what the customer gets is what is ticked, and what is ticked is what was chosen."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import sending_rules
from adapters.postgres.tables import consents, customers, suppressions
from adapters.postgres.tenancy import as_store
from api.html import TOPICS
from api.services import Services
from domain.facts import Topic
from domain.sending_rules import SendingRules
from domain.tokens import Purpose
from testing.inspection import as_owner
from tests.api_pages.conftest import Browser
from tests.api_pages.markup import Markup
from tests.api_pages.sent_mail import ADDRESS, NOON, Mail
from tests.conftest import SteppedClock


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


async def _follow(client: AsyncClient, answer: Response) -> Response:
    """Go where a redirect leads, as a browser does."""
    assert answer.status_code == 303
    return await client.get(str(answer.url.join(answer.headers["location"])))


def _wording(answer: Response) -> str:
    return next(one["value"] for one in Markup(answer.text).all("input") if one["name"] == "wording")


async def _ticked(client: AsyncClient, mail: Mail) -> set[str]:
    return Markup((await client.get(_link(mail))).text).ticked


async def test_every_topic_has_a_box(client: AsyncClient, mail: Mail) -> None:
    """Every topic can be chosen, under a name that a person understands; the main switch comes first."""
    shown = Markup((await client.get(_link(mail))).text)
    boxes = [box["name"] for box in shown.all("input") if box["type"] == "checkbox"]

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
    """What is ticked is granted and what is not is withdrawn, with the evidence: where, on which words, by what."""
    chosen = {Topic.MARKETING, Topic.BACK_IN_STOCK}
    wording = _wording(await client.get(_link(mail)))
    answer = await client.post(
        _link(mail), data={**dict.fromkeys(chosen, "yes"), "wording": wording}, headers={"User-Agent": "Reader/1.0"}
    )
    [event] = await mail.events()
    shown = Markup((await _follow(client, answer)).text)

    assert chosen == shown.ticked
    assert [p for p in shown.all("p") if "role" in p] == [{"class": "note", "role": "status"}]
    assert ("Email Preferences Saved", mail.customer_id) == (event.name, event.who.customer_id)
    assert event.ip == "127.0.0.0"
    expected = {
        "message_id": str(mail.message_id),
        "source": "preference_page",
        "topics": {topic.value: topic in chosen for topic in Topic},
        "wording": wording,
    }
    assert expected == event.payload["properties"]
    assert event.payload["context"] == {"ip": "127.0.0.0", "userAgent": "Reader/1.0"}


async def test_a_saved_page_can_be_loaded_again(client: AsyncClient, mail: Mail) -> None:
    """Post/Redirect/Get: what the browser shows after a POST is the answer to a GET, which stores nothing."""
    answer = await client.post(_link(mail), data={"marketing_emails": "yes"})
    assert answer.status_code == 303
    first, again = [(await _follow(client, answer)).text for _ in range(2)]

    assert first == again
    assert len(await mail.events()) == 1


@pytest.mark.parametrize("wording", ["", "x", "preferences/en/../../etc", "a" * 900, "preferences/en/0123456789ab\n"])
async def test_a_wording_that_is_none_is_left_out(client: AsyncClient, mail: Mail, wording: str) -> None:
    """The ledger does not keep what a page of ours could not have sent."""
    await client.post(_link(mail), data={"marketing_emails": "yes", "wording": wording})

    assert "wording" not in (await mail.properties())[0]


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
    answer = await _follow(client, await client.post(_link(mail), data=dict.fromkeys(chosen, "yes")))

    assert said in Markup(answer.text).texts["p"]


async def test_unsubscribe_from_everything_wins_over_the_boxes(client: AsyncClient, mail: Mail) -> None:
    """The second button is an unsubscribe like every other, whatever is ticked."""
    answer = await client.post(_link(mail), data={"marketing_emails": "yes", "unsubscribe": "yes"})
    [event] = await mail.events()

    assert "You are unsubscribed" in (await _follow(client, answer)).text
    assert (event.name, event.payload["properties"]["source"]) == ("Unsubscribed", "preference_page")


async def test_enter_saves(client: AsyncClient, mail: Mail) -> None:
    """Enter presses the first button of a form: it must not be the one that ends everything."""
    await client.post(_link(mail), data={"marketing_emails": "yes"})
    buttons = Markup((await client.get(_link(mail))).text).all("button")

    assert [button.get("name") for button in buttons] == [None, "unsubscribe", "pause"]


async def test_nothing_is_claimed_to_be_saved_without_a_database(
    browser: Browser, mail: Mail, outage: Services
) -> None:
    """503, and not the word that everybody looks for."""
    answer = await browser(outage).post(_link(mail), data={"newsletter": "yes"})

    assert answer.status_code == 503
    assert "Saved" not in answer.text


async def test_the_page_never_says_what_is_not_so(client: AsyncClient, mail: Mail) -> None:
    """The word of the address is old when it is opened later: what is shown is read each time."""
    await client.post(_link(mail), data={"marketing_emails": "yes"})
    for done in ("unsubscribed", "paused", "anything"):
        shown = (await client.get(f"{_link(mail)}&done={done}")).text
        assert ("You are unsubscribed" in shown, "Paused" in shown) == (False, False)


async def test_marketing_is_paused_for_thirty_days_and_the_pause_can_be_ended(
    client: AsyncClient, mail: Mail, clock: SteppedClock
) -> None:
    """One button each; the ticks stay as they are, the day is that of the customer's own calendar."""
    await client.post(_link(mail), data={"marketing_emails": "yes", "timezone": "Pacific/Kiritimati"})
    clock.advance(timedelta(hours=1))
    paused = await _follow(client, await client.post(_link(mail), data={"pause": "yes"}))
    assert "Paused: we send you no marketing emails until February 15, 2026." in Markup(paused.text).texts["p"]
    assert Markup(paused.text).ticked == {Topic.MARKETING}
    assert "resume" in {button.get("name") for button in Markup(paused.text).all("button")}

    clock.advance(timedelta(hours=1))
    resumed = await _follow(client, await client.post(_link(mail), data={"resume": "yes"}))
    assert "The pause is over." in Markup(resumed.text).texts["p"]
    _, pause, resume = await mail.events()
    assert (pause.name, pause.payload["properties"]["until"]) == (
        "Marketing Paused",
        (NOON + timedelta(days=30, hours=1)).isoformat(),
    )
    assert (resume.name, resume.payload["properties"]["source"]) == ("Marketing Resumed", "preference_page")


async def test_a_pause_that_is_over_is_not_shown(client: AsyncClient, mail: Mail, clock: SteppedClock) -> None:
    """After thirty days nobody has to do anything."""
    await client.post(_link(mail), data={"marketing_emails": "yes"})
    await client.post(_link(mail), data={"pause": "yes"})
    clock.advance(timedelta(days=30))

    assert "Paused" not in (await client.get(_link(mail))).text


async def test_language_and_time_zone_are_chosen(client: AsyncClient, mail: Mail, clock: SteppedClock) -> None:
    """Each is told only if it is another than before, and the page speaks the language from then on."""
    shown = Markup((await client.get(_link(mail))).text)
    assert (shown.chosen("locale"), shown.chosen("timezone")) == ("", "")

    form = {"marketing_emails": "yes", "locale": "de", "timezone": "Europe/Berlin"}
    answer = await _follow(client, await client.post(_link(mail), data=form))
    shown = Markup(answer.text)
    assert (shown.chosen("locale"), shown.chosen("timezone")) == ("de", "Europe/Berlin")
    assert shown.all("html") == [{"lang": "de"}]
    assert "Gespeichert." in shown.texts["p"]

    clock.advance(timedelta(minutes=1))
    await client.post(_link(mail), data=form | {"timezone": "Asia/Kolkata"})
    first, second = await mail.properties()
    assert (first["locale"], first["timezone"]) == ("de", "Europe/Berlin")
    assert ("locale" in second, second["timezone"]) == (False, "Asia/Kolkata")


@pytest.mark.parametrize(
    "wrong", [{"timezone": "Mars/Olympus"}, {"timezone": "../etc/passwd"}, {"locale": "xx-YY"}, {"locale": "<b>"}]
)
async def test_there_is_no_such_language_or_zone(client: AsyncClient, mail: Mail, wrong: dict[str, str]) -> None:
    """Nothing of the form is saved, and the page says so."""
    answer = await client.post(_link(mail), data={"marketing_emails": "yes"} | wrong)

    assert (answer.status_code, "was not saved" in answer.text) == (400, True)
    assert await mail.events() == []


@pytest.mark.parametrize(("zone", "shown"), [("Asia/Calcutta", "Asia/Calcutta"), ("Mars/Olympus", ""), ("UTC", "UTC")])
async def test_a_zone_that_is_in_no_list_stays_chosen_if_it_exists(
    client: AsyncClient, mail: Mail, engine: AsyncEngine, zone: str, shown: str
) -> None:
    """The names of the past are not offered, but saving the page does not change one."""
    mine = customers.c.customer_id == mail.customer_id
    async with as_store(engine, mail.store_id) as connection:
        await connection.execute(update(customers).where(mine).values(timezone=zone, locale="de_AT"))
    page = Markup((await client.get(_link(mail))).text)
    await client.post(_link(mail), data={"locale": page.chosen("locale"), "timezone": page.chosen("timezone")})

    assert (page.chosen("timezone"), page.chosen("locale")) == (shown, "de_AT")
    assert {"locale", "timezone"} & set((await mail.properties())[0]) == set()


async def test_the_languages_are_those_in_which_the_shop_writes(client: AsyncClient, mail: Mail) -> None:
    """As its rules say; each is called by its own name."""
    rules = SendingRules(languages=("en-GB", "fr-CA"))
    async with as_store(mail.engine, mail.store_id) as connection:
        await sending_rules.put(connection, mail.store_id, rules, "cli:ops", NOON)
    page = (await client.get(_link(mail))).text

    assert '<option value="fr-CA">Français (Canada)</option>' in page
    assert '<option value="en-GB">English (United Kingdom)</option>' in page
    assert 'value="de"' not in page


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
