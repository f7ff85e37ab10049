"""What a marketer sees in the Temporal UI: on a real dev server, whose list the test server does not have."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from adapters.postgres.tables import stores
from adapters.temporal.plugin import journeys_plugin
from cli.stack import ports
from cli.stack.processes import Child
from cli.stack.temporal import LocalTemporal
from domain.plans import CartRecoveryPlan, Plan, PostPurchasePlan, WelcomePlan
from rehearsal.shop import TimeSkippingShop, opened
from testing.inspection import as_owner
from workflows import caption
from workflows.timeline import local

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "inspecting-journeys.md").read_text("utf-8")
VIEWS = dict(
    re.findall(r"^\| ([^|]+) \| `(.+)` \|$", PAGE[PAGE.index("| view |") : PAGE.index("## Reading")], re.MULTILINE)
)
BERLIN = "Europe/Berlin"
MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}
TIMER, LOCAL = EventType.EVENT_TYPE_TIMER_STARTED, EventType.EVENT_TYPE_MARKER_RECORDED


@pytest.fixture(scope="module")
async def dev_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkflowEnvironment]:
    """Temporal as on a developer's machine; time passes by itself here."""
    folder = tmp_path_factory.mktemp("temporal")
    temporal = LocalTemporal(folder, ports.reserve(0, "the server's port"), durable=False)
    child = Child(temporal.program)
    child.start()
    try:
        yield WorkflowEnvironment.from_client(await Client.connect(temporal.address, plugins=[journeys_plugin()]))
    finally:
        child.stop()


@pytest.fixture
async def berlin(dev_server: WorkflowEnvironment, engine: AsyncEngine) -> AsyncIterator[TimeSkippingShop]:
    """A shop whose clocks are those of Berlin, and whose carts are cold at once."""
    async with opened(dev_server, engine) as shop:
        async with as_owner(engine) as connection:
            await connection.execute(update(stores).where(stores.c.store_id == shop.store_id).values(timezone=BERLIN))
        steps = [step.model_dump(mode="json") for step in CartRecoveryPlan().steps]
        await shop.plan("cart-recovery", quiet="PT0S", steps=steps)
        yield shop


async def until(probe: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool] = bool) -> Any:
    """Ask until the answer is right; what is listed lags a little behind what has happened."""
    async with asyncio.timeout(90):
        while not holds(answer := await probe()):
            await asyncio.sleep(0.05)
    return answer


async def listed(shop: TimeSkippingShop, query: str) -> set[str]:
    """The workflow ids that the UI would list."""
    return {run.id async for run in shop.env.client.list_workflows(query)}


async def timeline(shop: TimeSkippingShop, journey: str) -> list[str]:
    """The current details of the newest run, by line, as the UI asks for them."""
    handle = await shop.handle(journey)
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return metadata.current_details.splitlines()


async def test_each_saved_view_of_the_documentation_finds_its_runs(berlin: TimeSkippingShop) -> None:
    """By journey, store, customer and outcome; a query that the server refuses, or that finds nothing, fails."""
    shop = berlin
    related = json.loads((ROOT / "docs" / "follow-ups" / "related-services.json").read_text("utf-8"))
    await shop.plan("follow-up/related-services", **related)
    for user in ("waits", "buys", "leaves", "is-ended"):
        await shop.subscriber(user)
        await shop.track("Product Added", user, **MUG)
    await shop.until_said(4)
    runs = dict(zip(("waits", "buys", "leaves", "is-ended"), await shop.runs("cart-recovery"), strict=True))
    handles = {name: shop.env.client.get_workflow_handle(run.workflow_id) for name, run in runs.items()}
    await shop.track("Order Completed", "buys", order_id=f"o-{uuid4().hex}", total=12.5, products=[MUG])
    await handles["leaves"].execute_update("leave", {"by": "marketing:jo", "because": "asked by phone"})
    await handles["is-ended"].terminate()
    await shop.subscriber("done")
    await shop.plan("welcome", steps=[{"name": "only", "template": "welcome", "topic": "newsletter"}])
    await shop.track("Signed Up", "done")
    await shop.track("service_completed", "done", service_id="s-1")
    done, follow_up = (await shop.runs("welcome"))[0], (await shop.runs("follow-up/related-services"))[0]
    finds = {
        "In a cart journey now": {runs["waits"].workflow_id, runs["is-ended"].workflow_id},
        "Bought while in a cart journey": {runs["buys"].workflow_id},
        "Went through it and bought nothing": {done.workflow_id},
        "Taken out by hand": {runs["leaves"].workflow_id},
        "One follow-up": {follow_up.workflow_id},
        "Ended abnormally": {runs["is-ended"].workflow_id},
    }

    for view, query in VIEWS.items():
        mine = query.replace("demo", shop.store_id).replace(
            "01980000-0000-7000-8000-000000000001", str(runs["buys"].customer_id)
        )
        mine = mine.replace("2026-11-01T00:00:00Z", f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}")
        if view in finds:
            assert await until(lambda q=mine: listed(shop, q), lambda ids, v=view: ids == finds[v]), view
        else:
            assert await until(lambda q=mine: listed(shop, q), lambda ids: runs["buys"].workflow_id in ids), view
    assert set(finds) < set(VIEWS)


async def test_a_timeline_is_told_in_the_stores_time(berlin: TimeSkippingShop) -> None:
    """Half a year on, the clocks of Berlin show another abbreviation; the line is about that day."""
    shop = berlin
    await shop.plan("win-back", silence="P180D")
    await shop.subscriber()
    ordered = datetime.now(UTC).replace(microsecond=0)
    await shop.track("Order Completed", order_id=f"o-{uuid4().hex}", total=12.5, products=[MUG], at=ordered)

    lines = await until(lambda: timeline(shop, "win-back"), lambda lines: "waiting" in "".join(lines))

    then = (ordered + timedelta(days=180)).astimezone(ZoneInfo(BERLIN))
    began = lines[0].removeprefix("- ").removesuffix(" **began** with plan 1")
    assert local(ordered, BERLIN) <= began <= local(datetime.now(UTC), BERLIN)
    assert re.match(rf"- waiting until {then:%Y-%m-%d %H:%M}:\d\d {then:%Z}: before win-back-1", lines[-1])


async def test_a_run_shows_what_it_is_and_what_happened(berlin: TimeSkippingShop) -> None:
    """Summary, details, a dated line for each step, a summary on all that it does, and an event group on its waits."""
    shop = berlin
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.until_said(1)
    lines = await until(lambda: timeline(shop, "cart-recovery"), lambda lines: len(lines) == 3)
    description = await (await shop.handle("cart-recovery")).describe()

    assert await description.static_summary() == "Cart recovery, 3 reminders, plan 1"
    assert "- **reminder-2** (`cart-reminder-2`), after 23 h" in (await description.static_details() or "")
    assert "**reminder-1** sent: consent" in lines[1]
    assert re.match(r"- waiting until .+ CES?T: before reminder-2", lines[2])

    skipped = await (await shop.handle("cart-recovery")).execute_update("skip_wait", {"by": "marketing:jo"})
    await shop.until_said(2)
    history = await shop.history("cart-recovery")
    timers = [groups(event) for event in history.events if event.event_type == TIMER]
    attempts = [json.loads(e.user_metadata.summary.data) for e in history.events if e.event_type == LOCAL]

    assert skipped == "before reminder-2"
    assert timers[:2] == [["reminder-2"], ["reminder-3"]]
    assert attempts == ["reminder-1: cart-reminder by e-mail", "reminder-2: cart-reminder-2 by e-mail"]


async def test_an_update_without_a_name_of_who_did_it_is_refused(berlin: TimeSkippingShop) -> None:
    """What is audited needs an author, and an address is none (G8)."""
    shop = berlin
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.until_said(1)
    handle = await shop.handle("cart-recovery")

    for wrong in ({}, {"by": "jo@example.com"}):
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("skip_wait", wrong)

    await until(lambda: timeline(shop, "cart-recovery"), lambda lines: "waiting" in lines[-1])


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests" / "workflows" / "histories").rglob("*.json")), ids=lambda f: f.stem
)
def test_every_timer_and_activity_says_what_it_is_for(file: Path) -> None:
    """In every recorded history of every journey: what has no summary is a riddle in the UI."""
    events = json.loads(file.read_text("utf-8"))["events"]
    kinds = {"timerStartedEventAttributes", "activityTaskScheduledEventAttributes", "markerRecordedEventAttributes"}
    asked = [e for e in events if kinds & set(e) and "patch-data" not in json.dumps(e)]

    assert asked
    assert [e["eventId"] for e in asked if "summary" not in e.get("userMetadata", {})] == []


@pytest.mark.parametrize(
    ("at", "zone", "shown"),
    [
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), BERLIN, "2026-03-29 01:59:00 CET"),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), BERLIN, "2026-03-29 03:00:00 CEST"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), BERLIN, "2026-10-25 02:30:00 CEST"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), BERLIN, "2026-10-25 02:30:00 CET"),
        (datetime(2026, 1, 1, tzinfo=UTC), "Asia/Kathmandu", "2026-01-01 05:45:00 +0545"),
        (datetime(2026, 1, 1, tzinfo=UTC), "No/Such_Zone", "2026-01-01 00:00:00 UTC"),
        (datetime(2026, 1, 1, tzinfo=UTC), "../etc/passwd", "2026-01-01 00:00:00 UTC"),
    ],
)
def test_a_local_time_carries_its_abbreviation(at: datetime, zone: str, shown: str) -> None:
    """The hour that a change of the clocks skips or repeats is plain; a zone unknown here is told in UTC."""
    assert local(at, zone) == shown


@pytest.mark.parametrize(
    ("journey", "plan", "version", "summary"),
    [
        ("cart-recovery", CartRecoveryPlan(), 4, "Cart recovery, 3 reminders, plan 4"),
        ("cart-recovery", CartRecoveryPlan(steps=CartRecoveryPlan().steps[:1]), 1, "Cart recovery, 1 reminder, plan 1"),
        ("welcome", WelcomePlan(), 0, "Welcome, 3 messages, default plan"),
        ("follow-up/after-service", PostPurchasePlan(), 2, "Follow up: after service, 4 messages, plan 2"),
    ],
)
def test_a_summary_says_journey_messages_and_plan(journey: str, plan: Plan, version: int, summary: str) -> None:
    """The line that stands for the run."""
    assert caption.summary(journey, plan, version) == summary


def test_every_picture_is_shown_and_small() -> None:
    """docs/screenshots/take.py makes the pictures that the page shows, and no other."""
    pictures = {picture.name: picture.stat().st_size for picture in (ROOT / "docs" / "images").glob("*.png")}
    script = (ROOT / "docs" / "screenshots" / "take.py").read_text("utf-8")

    assert set(re.findall(r"\]\(images/([\w.]+)\)", PAGE)) == set(pictures)
    assert {f"{name}.png" for name in re.findall(r'taken\(page, "(\w+)"', script)} == set(pictures)
    assert max(pictures.values()) < 200_000


def groups(event: HistoryEvent) -> list[str]:
    """The event groups that the workflow gave to an event; what an Update asks for has one of the SDK's own."""
    return [marker.label.id for marker in event.event_group_markers if marker.label.id]
