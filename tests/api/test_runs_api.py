"""Why a run wrote or did not, and an operator's hand on it, asked of the real API about real runs."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from temporalio.client import Client

from adapters.postgres.keys import KeyStore
from adapters.settings import Settings
from api import runs
from api.app import create_app
from domain.access import ADMIN_KEY, WRITE_KEY
from domain.errors import Unavailable
from domain.operations import SkipWait
from testing import TimeSkippingShop

PAGE = (Path(__file__).parents[2] / "docs" / "operating-runs.md").read_text(encoding="utf-8")
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
"""What the page shows: why, a skipped wait, a run that was left, and an argument for the Temporal UI."""
MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


class Admin:
    """A store's own people: they have the admin key."""

    def __init__(self, app: FastAPI, key: str, by: str) -> None:
        self.by = by
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://api.test", auth=(key, ""))

    async def why(self, run: object) -> dict[str, Any]:
        """Ask why."""
        answer = await self.client.get(f"/api/v1/runs/{run}/why")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def post(self, run: object, what: str, body: object = None) -> tuple[int, Any]:
        """Do something to a run."""
        answer = await self.client.post(f"/api/v1/runs/{run}/{what}", json=body)
        return answer.status_code, answer.json()


@pytest.fixture
async def admin(shop: TimeSkippingShop, settings: Settings) -> AsyncIterator[Admin]:
    """The API on the shop's database and its Temporal."""

    async def temporal() -> Client:
        return shop.env.client

    new = await KeyStore(shop.engine, lambda: shop.now).create(shop.store_id, ADMIN_KEY, by="test")
    app = create_app(settings, lambda: shop.now, temporal=temporal)
    async with app.router.lifespan_context(app):
        admin = Admin(app, new.secret, f"key:{new.key_id}")
        async with admin.client:
            yield admin


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def run_of(shop: TimeSkippingShop, journey: str = "cart-recovery") -> Any:
    return (await shop.runs(journey))[-1]


async def test_why_she_got_it(shop: TimeSkippingShop, admin: Admin) -> None:
    """What began the run, what was decided on what grounds, and what comes next and when."""
    await shop.subscriber()
    event = await shop.track("Product Added", **MUG)
    run = await run_of(shop)
    before = await admin.why(run.run_id)
    await shop.skip(minutes=61)
    await shop.until_said(1)
    after = await admin.why(run.run_id)

    assert (after["began"]["event"], after["began"]["event_name"]) == (str(event), "Product Added")
    assert (after["began"]["fact"], moment(after["began"]["since"])) == (run.began_by, run.since)
    assert (before["decisions"], before["next"]["step"]) == ([], "reminder-1")
    assert moment(before["next"]["due"]) == run.begun_at + timedelta(hours=1)
    (decision,) = after["decisions"]
    assert (decision["result"], decision["rule"], decision["plan_version"]) == ("sent", "consent", 0)
    assert decision["due"] == before["next"]["due"]
    assert (decision["inputs"]["consented"], decision["inputs"]["cart_lines"]) == (True, 1)
    assert [message["state"] for message in after["messages"]] == ["sent"]
    assert after["next"]["step"] == "reminder-2"
    assert moment(after["next"]["due"]) == moment(decision["decided_at"]) + timedelta(hours=23)
    assert (after["ended"], after["paused_since"]) == (None, None)


def shape(value: Any) -> Any:
    """The names in a JSON value, however deep, and where they stand."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


async def test_the_examples_are_what_is_really_answered(shop: TimeSkippingShop, admin: Admin) -> None:
    """Those of the page and those of the API's description: the same names, down to the inputs of a decision."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=61)
    await shop.until_said(1)
    run = (await run_of(shop)).run_id
    explained = shape(await admin.why(run))
    skipped = await admin.post(run, "skip-wait")
    await shop.until_said(2)
    left = await admin.post(run, "leave", {"because": "asked"})

    assert [shape(example) for example in EXAMPLES[:3]] == [explained, shape(skipped[1]), shape(left[1])]
    described: list[Any] = [model.model_config["json_schema_extra"] for model in (runs.Why, runs.Skipped, runs.Left)]
    assert [shape(extra["example"]) for extra in described] == [explained, shape(skipped[1]), shape(left[1])]
    assert TypeAdapter(SkipWait).validate_python(EXAMPLES[3]).by
    assert runs.Leaving.model_validate({"because": "asked the shop"})


async def test_what_is_foretold_is_what_happens(shop: TimeSkippingShop, admin: Admin) -> None:
    """The next step asks at the moment that was told, to the microsecond: it is one rule."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    run = await run_of(shop)
    for count, hours in enumerate((1, 23, 25), 1):
        told = (await admin.why(run.run_id))["next"]
        await shop.skip(hours=hours, minutes=1)
        await shop.until_said(count)
        decision = (await admin.why(run.run_id))["decisions"][-1]
        assert (decision["step"], decision["due"]) == (told["step"], told["due"])
    over = await admin.why(run.run_id)
    assert (over["ended"]["outcome"], over["next"]) == ("completed", None)


async def test_why_she_did_not(shop: TimeSkippingShop, admin: Admin) -> None:
    """No consent; put off for a cart in use, and until when; bought: each has its own answer."""
    await shop.identify("bob", email="bob@example.com")
    await shop.track("Product Added", "bob", **MUG)
    await shop.skip(minutes=61)
    await shop.until_said(1)
    without_consent = await admin.why((await run_of(shop)).run_id)
    assert [(d["result"], d["rule"]) for d in without_consent["decisions"]] == [("no_consent", "no_consent")]
    assert without_consent["decisions"][0]["inputs"]["consented"] is False

    await shop.subscriber("eve")
    await shop.track("Product Added", "eve", **MUG)
    await shop.skip(minutes=30)
    changed = await shop.track("Product Added", "eve", **MUG | {"product_id": "cup"})
    await shop.skip(minutes=31)
    await shop.until_said(2)
    run = await run_of(shop)
    put_off = await admin.why(run.run_id)
    assert changed
    assert [(d["result"], d["because"]) for d in put_off["decisions"]] == [("deferred", "the cart was changed")]
    assert put_off["next"]["due"] == put_off["decisions"][0]["until"]
    assert put_off["next"]["waits_for"] == "the cart was changed"

    await shop.track("Order Completed", "eve", order_id="o-1", total=25, products=[MUG])
    bought = await admin.why(run.run_id)
    assert (bought["ended"]["outcome"], bought["ended"]["because"]) == ("converted", "order o-1")
    assert bought["next"] is None


async def test_a_run_that_waits_for_an_event_says_so(shop: TimeSkippingShop, admin: Admin) -> None:
    """No date can be given for a restock."""
    await shop.subscriber()
    await shop.track("Back In Stock Requested", product_id="mug")
    coming = (await admin.why((await run_of(shop, "back-in-stock")).run_id))["next"]

    assert (coming["due"], coming["waits_for"]) == (None, "an event, not a time")


async def test_a_run_is_found_by_what_the_temporal_ui_shows(shop: TimeSkippingShop, admin: Admin) -> None:
    """By workflow id, also percent-encoded: its newest run."""
    await shop.subscriber()
    for order in ("o-1", "o-2"):
        await shop.track("Order Completed", order_id=order, total=12.5, products=[MUG])
    run = await run_of(shop, "win-back")
    for name in (run.workflow_id, run.workflow_id.replace("/", "%2F")):
        assert (await admin.why(name))["run_id"] == str(run.run_id)
    for name in ("no-such-run", "a%00b", f"{run.workflow_id}/x", "00000000-0000-0000-0000-000000000000"):
        answer = await admin.client.get(f"/api/v1/runs/{name}/why")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_operator_hurries_a_run_and_ends_it_and_both_are_on_record(
    shop: TimeSkippingShop, admin: Admin
) -> None:
    """By whom: the id of the key, which can be revoked."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=61)
    await shop.until_said(1)
    run = str((await run_of(shop)).run_id)

    assert await admin.post(run, "skip-wait?step=reminder-2") == (200, {"run_id": run, "skipped": "before reminder-2"})
    await shop.until_said(2)
    status, refusal = await admin.post(run, "skip-wait?step=reminder-2")
    assert (status, refusal["code"]) == (409, "refused")
    assert "does not wait for reminder-2" in refusal["errors"][0]["message"]
    assert (await admin.post(run, "skip-wait?step=Reminder 2"))[0] == 400
    left = await admin.post(run, "leave", {"because": "asked the shop"})
    assert left == (200, {"run_id": run, "outcome": "left"})
    told = await admin.why(run)
    assert [(done["action"], done["by"]) for done in told["operations"]] == [
        ("skip_wait", admin.by), ("leave", admin.by),
    ]  # fmt: skip
    assert (told["ended"]["outcome"], told["ended"]["because"]) == ("left", "asked the shop")
    for what, body in (("skip-wait", None), ("leave", {"because": "again"})):
        status, refusal = await admin.post(run, what, body)
        assert (status, refusal["code"], refusal["errors"][0]["message"]) == (409, "refused", "the run is over: left")


@pytest.mark.parametrize("body", [None, {}, {"because": "ada@example.com"}, {"because": "x" * 201}, {"because": 7}])
async def test_a_reason_must_be_one_short_line_without_an_address(
    shop: TimeSkippingShop, admin: Admin, body: object
) -> None:
    """It stands in the audit log and in Temporal (G8)."""
    status, refusal = await admin.post("any", "leave", body)

    assert (status, refusal["success"]) == (400, False)


async def test_only_the_own_admin_key_reaches_a_run(shop: TimeSkippingShop, admin: Admin) -> None:
    """A write key stands in public pages; another store's key finds nothing (G7)."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    run = (await run_of(shop)).run_id
    keys = KeyStore(shop.engine, lambda: shop.now)
    write = (await keys.create(shop.store_id, WRITE_KEY, by="test")).secret
    calls = (("GET", "why", None), ("POST", "skip-wait", None), ("POST", "leave", {"because": "mine"}))
    for method, what, body in calls:
        path = f"/api/v1/runs/{run}/{what}"
        assert (await admin.client.request(method, path, json=body, auth=(write, ""))).status_code == 403
        assert (await admin.client.request(method, path, json=body, auth=("", ""))).status_code == 401
    assert (await run_of(shop)).outcome == "running"


async def test_without_temporal_why_is_answered_and_operations_may_be_repeated(
    shop: TimeSkippingShop, settings: Settings
) -> None:
    """Only what needs Temporal answers 503; the run is as it was."""

    async def down() -> Client:
        raise Unavailable("Temporal does not answer")

    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    run = (await run_of(shop)).run_id
    key = (await KeyStore(shop.engine, lambda: shop.now).create(shop.store_id, ADMIN_KEY, by="test")).secret
    app = create_app(settings, lambda: shop.now, temporal=down)
    async with app.router.lifespan_context(app):
        cut_off = Admin(app, key, "")
        async with cut_off.client:
            assert (await cut_off.why(run))["next"]["step"] == "reminder-1"
            assert (await cut_off.post(run, "skip-wait"))[0] == 503
            assert (await cut_off.post(run, "leave", {"because": "asked"}))[0] == 503
    assert (await run_of(shop)).outcome == "running"


async def test_a_temporal_that_is_not_there_is_503_within_the_patience(
    shop: TimeSkippingShop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client that the API makes by itself, on a port where nobody listens."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    key = (await KeyStore(shop.engine, lambda: shop.now).create(shop.store_id, ADMIN_KEY, by="test")).secret
    app = create_app(settings, lambda: shop.now)
    async with app.router.lifespan_context(app):
        cut_off = Admin(app, key, "")
        async with cut_off.client:
            status, refusal = await cut_off.post((await run_of(shop)).run_id, "skip-wait")

    assert (status, refusal["code"]) == (503, "unavailable")
