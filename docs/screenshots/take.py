"""Take the pictures of docs/inspecting-journeys.md: start a stack, make a few runs, and look at them in Chromium.

    uv run --group browser python docs/screenshots/take.py

Needs a Chromium: `apt-get install chromium`, or its path in CHROMIUM. The pictures go to docs/images/.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from playwright.async_api import Browser, Page, ViewportSize, async_playwright
from playwright.async_api import Error as PlaywrightError
from sqlalchemy import select, update
from temporalio.client import Client

from adapters.postgres import plans
from adapters.postgres.engine import create_engine
from adapters.postgres.tables import runs, stores
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from adapters.temporal.plugin import journeys_plugin
from cli.stack.keys import DEMO_STORE
from cli.stack.local import Options, Stack
from domain.plans import CartRecoveryPlan, validated

IMAGES = Path(__file__).parents[1] / "images"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZE: ViewportSize = {"width": 1440, "height": 840}
STORE = DEMO_STORE.store_id
RUNNING = f'WorkflowType = "cart-recovery" AND StoreId = "{STORE}" AND JourneyOutcome = "running"'
CART = [
    {"product_id": "kettle", "name": "Stovetop kettle", "price": 49.9, "quantity": 1, "currency": "USD"},
    {"product_id": "cups", "name": "Set of two cups", "price": 24, "quantity": 2, "currency": "USD"},
]


async def main() -> None:
    """Start, make runs, take pictures, stop."""
    IMAGES.mkdir(exist_ok=True)
    with Stack(Options.throwaway(), Settings(database_url="", smtp_url="")) as stack:
        shop = Shop(stack)
        await shop.open()
        run = await shop.lives()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            await pictures(browser, shop, run)
            await browser.close()
        await shop.close()


class Shop:
    """A shop in Berlin with a handful of customers."""

    def __init__(self, stack: Stack) -> None:
        self.info = stack.info
        self.engine = create_engine(Settings(database_url=stack.info.database_url).sqlalchemy_url, pool_size=2)
        self.http = httpx.AsyncClient(timeout=20)

    async def open(self) -> None:
        """Settle the time zone, and a plan whose carts are cold after two seconds."""
        self.temporal = await Client.connect(self.info.temporal_address, plugins=[journeys_plugin()])
        now = datetime.now(UTC)  # noqa: TID251 - this is a composition root
        async with as_store(self.engine, STORE) as connection:
            await connection.execute(update(stores).where(stores.c.store_id == STORE).values(timezone="Europe/Berlin"))
        steps = [step.model_dump(mode="json") for step in CartRecoveryPlan().steps]
        for quiet in ("PT45M", "PT30M", "PT2S"):
            plan = validated("cart-recovery", {"quiet": quiet, "steps": steps})
            await plans.put(self.engine, STORE, "cart-recovery", plan, now)

    async def lives(self) -> str:
        """Let customers do different things; return the workflow id of one who is in the middle of it."""
        for user in ("ada", "ben", "cleo", "dan", "eva"):
            traits = {"email": f"{user}@example.com", "firstName": user.title(), "marketing_consent": True}
            await self.post("identify", userId=user, traits=traits)
            for line in CART:
                await self.track(user, "Product Added", **line)
        async with asyncio.timeout(60):
            while len(await self.mails("cart")) < 5:  # noqa: ASYNC110 - an inbox has no events
                await asyncio.sleep(0.1)
        await self.track("ben", "Order Completed", order_id="1001", total=97.9, products=CART)
        await self.track("cleo", "Cart Cleared")
        query = select(runs.c.workflow_id).where(runs.c.journey == "cart-recovery").order_by(runs.c.since)
        async with as_store(self.engine, STORE) as connection:
            ada, _, _, dan, _ = (await connection.execute(query)).scalars()
        jo = {"by": "marketing:jo"}
        await self.temporal.get_workflow_handle(dan).execute_update("leave", jo | {"because": "asked by phone"})
        await self.temporal.get_workflow_handle(ada).execute_update("skip_wait", jo)
        await until(lambda: self.mails("Still thinking"))
        return str(ada)

    async def track(self, user: str, event: str, **properties: Any) -> None:
        """Send an event."""
        await self.post("track", userId=user, event=event, properties=properties)

    async def post(self, call: str, **body: Any) -> None:
        """Send a call of the tracking API."""
        answer = await self.http.post(f"{self.info.api}/v1/{call}", json=body, auth=(self.info.write_key, ""))
        answer.raise_for_status()

    async def mails(self, about: str) -> list[dict[str, Any]]:
        """Return the mails in the inbox whose subject says something."""
        listing = await self.http.get(f"{self.info.inbox}/api/messages/", params={"page_size": 100})
        return [mail for mail in listing.json()["data"] if about in mail["subject"]]

    async def close(self) -> None:
        """Let go of everything."""
        await self.http.aclose()
        await self.engine.dispose()


async def until(probe: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until there is an answer."""
    async with asyncio.timeout(60):
        while not (answer := await probe()):  # noqa: ASYNC110 - an inbox has no events
            await asyncio.sleep(0.1)
    return answer


async def pictures(browser: Browser, shop: Shop, workflow_id: str) -> None:
    """Take them all."""
    ui = f"{shop.info.temporal_ui}/namespaces/default/workflows"
    page = await browser.new_page(viewport=SIZE, timezone_id="Europe/Berlin", locale="en-GB")

    await page.goto(f"{ui}?query={quote(RUNNING)}")
    await seen(page, "cart-recovery")
    await taken(page, "runs", clip={"x": 0, "y": 0, "width": SIZE["width"], "height": 380})

    described = await shop.temporal.get_workflow_handle(workflow_id).describe()
    run = f"{ui}/{quote(workflow_id, safe='')}/{described.run_id}"
    await page.goto(f"{run}/user-metadata")
    await seen(page, "waiting until")
    await taken(page, "run")

    await page.set_viewport_size({**SIZE, "height": 1600})
    await page.goto(f"{run}/timeline")
    await seen(page, "deliver • reminder-1")
    heading = await page.get_by_role("heading", name="Timeline").first.bounding_box()
    if heading is None:
        raise SystemExit("the page has no timeline")
    await taken(page, "timeline", clip={"x": 256, "y": heading["y"] - 24, "width": SIZE["width"] - 256, "height": 330})

    await page.set_viewport_size(SIZE)
    await hurried(page)
    await letters(await browser.new_page(viewport={"width": 720, "height": 800}), shop)


async def hurried(page: Page) -> None:
    """Skip the run's wait as a marketer would, and see that it helped."""
    await page.get_by_role("button", name="More Actions").first.click()
    await page.get_by_test_id("update-button").last.click()
    dialog = page.get_by_role("dialog").filter(has_text="Send an Update").last
    await dialog.get_by_test_id("update-select-button").click()
    await page.get_by_role("option", name="skip_wait").last.click()
    await dialog.get_by_role("textbox").last.fill('{"by": "marketing:jo"}')
    if (box := await dialog.bounding_box()) is None:
        raise SystemExit("the dialog is not there")
    await taken(page, "update", clip=box)
    await dialog.get_by_role("button", name="Submit").click()
    await seen(page, "deliver • reminder-3")


async def letters(page: Page, shop: Shop) -> None:
    """Look at the last reminder and at the page behind its link."""
    mail = (await until(lambda: shop.mails("discount")))[0]
    await page.goto(f"{shop.info.inbox}/api/messages/{mail['id']}.html")
    await taken(page, "mail", full_page=True)
    text = (await shop.http.get(f"{shop.info.inbox}/api/messages/{mail['id']}.plain")).text
    link = re.search(r"https?://\S+/preferences\?token=[\w.-]+", text)
    if link is None:
        raise SystemExit("the mail has no link to the preferences")
    await page.goto(link[0])
    await taken(page, "preferences", full_page=True)


async def seen(page: Page, text: str) -> None:
    """Wait for a text; the UI keeps hidden copies of some, and shows Markdown in frames."""

    async def shown() -> bool:
        try:
            counts = [await frame.get_by_text(text).locator("visible=true").count() for frame in page.frames]
        except PlaywrightError:  # a frame is gone
            return False
        return sum(counts) > 0

    await until(shown)


async def taken(page: Page, name: str, **how: Any) -> None:
    """Take a picture when everything has come to rest; the UI asks the server without end, so its calls do not tell."""
    await asyncio.sleep(1.5)
    await page.screenshot(path=IMAGES / f"{name}.png", animations="disabled", **how)


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # a process that ends right after a call to Temporal may abort in its threads
