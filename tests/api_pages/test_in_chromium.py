"""The pages in a real browser, with and without JavaScript: they pass axe-core, and everything can be done on them.

Needs a Chromium (CHROMIUM, or one on the PATH) and the `browser` group of pyproject.toml, which `make test` installs
where there is a Chromium.
"""

import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest
import uvicorn

from adapters.postgres.links import MessageLink
from adapters.settings import Settings
from api import html
from api.app import create_app, system_clock
from domain.facts import Topic
from domain.tokens import Purpose, Signer
from tests.api_pages.sent_mail import Mail

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
]
_PATIENCE_MS = 60_000
"""A deadline, not a wait: the machine may have other things to do."""
_PHONE, _DESK, _NARROW = ({"width": width, "height": 800} for width in (390, 1280, 320))


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator["Browser"]:
    """One browser for all tests; skips where there is none."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium: install one, or say in CHROMIUM where it is")
    playwright = pytest.importorskip("playwright.async_api", reason="Playwright is missing: uv sync --group browser")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=_FLAGS, timeout=_PATIENCE_MS)
        yield browser
        await browser.close()


@pytest.fixture
def at(settings: Settings, mail: Mail) -> Iterator[Callable[[Purpose], str]]:
    """Start the API on a port of its own, and give the addresses behind the links of the mail."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings, system_clock), port=0, log_level="error", lifespan="on", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ready = threading.Event()
    while not server.started and thread.is_alive():
        ready.wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    signer = Signer(settings.signing_secrets())
    yield lambda purpose: f"http://127.0.0.1:{port}/{_PATHS[purpose]}?token={signer.token(mail.message_id, purpose)}"
    server.should_exit = True
    thread.join(30)


_PATHS = {Purpose.UNSUBSCRIBE: "unsubscribe", Purpose.PREFERENCES: "preferences"}


@pytest.fixture(params=[True, False], ids=["with-javascript", "without-javascript"])
def javascript(request: pytest.FixtureRequest) -> bool:
    """Whether the browser runs scripts."""
    return bool(request.param)


def _complains(said: "ConsoleMessage") -> bool:
    """Tell whether Chromium objects to a page; that its status is 400 is no objection."""
    return said.type in {"error", "warning"} and not said.text.startswith("Failed to load resource")


@asynccontextmanager
async def opened(browser: "Browser", **settings: Any) -> AsyncIterator["Page"]:
    """Open a page in a context of its own; fails if the page complains, or asks anybody else for anything."""
    context = await browser.new_context(**{"locale": "en-GB", "viewport": _DESK, **settings})
    context.set_default_timeout(_PATIENCE_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if _complains(said) else None)
    page.on("pageerror", lambda problem: complaints.append(str(problem)))
    page.on("request", lambda asked: None if asked.is_navigation_request() else complaints.append(asked.url))
    yield page
    await context.close()
    assert complaints == []


async def press(page: "Page", name: str, role: Literal["button", "link"] = "button") -> None:
    """Press what is called so, and wait for the page that answers: until then the old one is still there to be read."""
    async with page.expect_navigation(timeout=_PATIENCE_MS):
        await page.get_by_role(role, name=name).click()


async def violations(page: "Page", judge: "Page") -> list[str]:
    """Return what axe-core has to say of a page as it stands there, with the elements that it is about.

    It is a script, so it cannot judge a page that runs none; the page is copied to one that does.
    """
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="axe-core is missing: see above")
    await judge.set_content(await page.content())
    found = (await axe.Axe().run(judge)).response
    assert "color-contrast" in {one["id"] for one in found["passes"]}, "axe-core did not see the page"
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]


@pytest.mark.parametrize(
    ("javascript", "look"),
    [(True, {"viewport": _PHONE, "color_scheme": "dark"}), (False, {"viewport": _DESK, "color_scheme": "light"})],
    ids=["with-javascript-on-a-phone-in-the-dark", "without-javascript-on-a-desk"],
)
async def test_every_page_passes_axe(
    chromium: "Browser", at: Callable[[Purpose], str], javascript: bool, look: dict[str, Any]
) -> None:
    """All rules of axe-core, on every page and in every state of it, also the one that nobody wants to see."""
    seen: dict[str, list[str]] = {}
    reading = opened(chromium, java_script_enabled=javascript, **look)
    async with reading as page, opened(chromium, **look) as judge:

        async def judged(state: str) -> None:
            seen[state] = await violations(page, judge)

        await page.goto(at(Purpose.UNSUBSCRIBE))
        await judged("unsubscribe")
        await page.goto(at(Purpose.PREFERENCES))
        await judged("nothing is chosen")
        await page.get_by_label("Newsletter").check()
        await press(page, "Save")
        await judged("the main switch is off")
        await page.get_by_label("Marketing emails").check()
        await page.get_by_label("Language").select_option("de")
        await press(page, "Save")
        await judged("saved, in German")
        await press(page, "30 Tage pausieren")
        await judged("paused")
        await press(page, "Von allem abmelden")
        await judged("unsubscribed")
        await page.goto(at(Purpose.PREFERENCES)[:-5])
        await judged("a link that does not work")

    assert seen == {state: [] for state in seen}
    assert len(seen) == 7


async def test_the_confirmation_passes_axe(chromium: "Browser", mail: Mail) -> None:
    """As it is answered; its links and states are tried in test_confirmation.py."""
    card = MessageLink(
        message_id=mail.message_id, store_id="s", store_name="Mugs", store_url="", customer_id=mail.customer_id
    )
    asking = html.page("confirm.html", language="de", mail=card, token="t", asked=set(Topic))
    thanks = html.page("confirmed.html", language="de", mail=card, preferences="t")
    async with opened(chromium) as page, opened(chromium) as judge:
        for answer in (asking, thanks):
            await page.set_content(bytes(answer.body).decode())
            assert await violations(page, judge) == []


async def test_a_customer_chooses_pauses_and_leaves(
    chromium: "Browser", at: Callable[[Purpose], str], mail: Mail, javascript: bool
) -> None:
    """Everything that the preference centre offers, by pressing what a person would press."""
    async with opened(chromium, java_script_enabled=javascript) as page:
        await page.goto(at(Purpose.UNSUBSCRIBE))
        await press(page, "Choose which ones you get", "link")
        for topic in ("Marketing emails", "Price drops"):
            await page.get_by_label(topic, exact=True).check()
        await page.get_by_label("Time zone").select_option(label="Kolkata")
        await press(page, "Save")
        assert await page.get_by_role("status").inner_text() == (
            "Saved. You get the emails that are ticked below, and no others."
        )
        await page.reload()
        assert await page.get_by_label("Price drops", exact=True).is_checked()
        assert not await page.get_by_label("Offers", exact=True).is_checked()
        assert await page.get_by_label("Time zone").input_value() == "Asia/Kolkata"

        await press(page, "Pause for 30 days")
        assert (await page.get_by_role("status").inner_text()).startswith("Paused")
        await press(page, "End the pause now")
        assert (await page.get_by_role("status").inner_text()).startswith("The pause is over.")
        await press(page, "Unsubscribe from everything")
        assert await page.get_by_role("heading", level=1).inner_text() == "You are unsubscribed"

    told = await mail.events()
    assert [event.name for event in told] == [
        "Email Preferences Saved", "Marketing Paused", "Marketing Resumed", "Unsubscribed",
    ]  # fmt: skip
    assert {event.payload["properties"]["wording"].rpartition("/")[0] for event in told} == {"preferences/en"}
    assert all("Chrome" in event.payload["context"]["userAgent"] for event in told)


async def test_the_keyboard_is_enough(
    chromium: "Browser", at: Callable[[Purpose], str], mail: Mail, javascript: bool
) -> None:
    """The first stop is the main switch; space ticks it, and Enter in the form saves."""
    async with opened(chromium, java_script_enabled=javascript) as page:
        await page.goto(at(Purpose.PREFERENCES))
        await page.keyboard.press("Tab")
        await page.keyboard.press("Space")
        async with page.expect_navigation(timeout=_PATIENCE_MS):
            await page.keyboard.press("Enter")
        assert (await page.get_by_role("status").inner_text()).startswith("Saved.")

    [saved] = await mail.properties()
    assert [topic for topic, granted in saved["topics"].items() if granted] == ["marketing_emails"]


async def test_nothing_is_cut_off_on_the_smallest_screen(chromium: "Browser", at: Callable[[Purpose], str]) -> None:
    """WCAG 2.2, 1.4.10: at 320 pixels nobody scrolls sideways; and every target is at least 24 pixels high (2.5.8)."""
    async with opened(chromium, viewport=_NARROW) as page:
        for purpose in _PATHS:
            await page.goto(at(purpose))
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320
            for target in await page.locator("button, select, input:not([type=hidden])").all():
                box = await target.bounding_box()
                assert box is not None
                assert box["height"] >= 24
