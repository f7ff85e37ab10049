"""A customer is forgotten by everything: tables, Temporal's histories, logs; and what is left says so, signed."""

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.converter import WorkflowSerializationContext

from adapters.master_keys import MasterKeys
from adapters.postgres.customer_keys import CustomerKeys
from adapters.postgres.engine import create_engine
from adapters.postgres.tables import metadata
from adapters.settings import Settings
from adapters.temporal.codec import CustomerCodec
from cli.stack.local import Options, Stack
from domain.errors import NotFound
from domain.receipts import Notary
from testing.inspection import as_owner
from tests.functional.conftest import DEADLINE, House, eventually

MASTER = "a-master-key-of-more-than-32-letters"
SECRET = "a-secret-for-tests-only"
USER = "countess-1815"
SAYS_WHO = (USER, f"{USER}@example.com", "Ada")
"""What names the customer; nothing else in this stack does."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of the stack write what they log."""
    return tmp_path_factory.mktemp("sealed")


@pytest.fixture(scope="module")
def sealed(logs: Path) -> Iterator[Stack]:
    """A stack that encrypts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOURNEYS_MASTER_KEYS", MASTER)
        options = Options(logs, 0, 0, 0, 0, 0, 0)
        settings = Settings(database_url="", smtp_url="", secret_keys=SECRET)
        with Stack(options, settings) as stack:
            yield stack


@pytest.fixture(scope="module")
async def house(sealed: Stack) -> AsyncIterator[House]:
    """The stack, and a client of Temporal that sees what Temporal has: without a codec."""
    engine = create_engine(Settings(database_url=sealed.info.database_url).sqlalchemy_url)
    async with httpx.AsyncClient(timeout=DEADLINE) as http:
        house = House(sealed, http, engine, await Client.connect(sealed.info.temporal_address))
        await house.reminders("P1D")
        yield house
    await engine.dispose()


async def test_an_erased_customer_is_nowhere_any_more(house: House, logs: Path, tmp_path: Path) -> None:
    """A run has sent one message and waits for the next; then its customer asks to be forgotten."""
    await house.subscriber(USER)
    await house.track(USER, "Product Added", product_id="cup", name="Cup", price=5)
    await house.until_mails(USER, 1)
    [run] = [run for run in await house.journeys(USER) if run["journey"] == "cart-recovery"]
    workflow_id, api = run["workflow_id"], house.stack.info.api
    admin = {"Authorization": f"Bearer {house.stack.info.admin_key}"}
    payloads = await eventually(lambda: encrypted(house, workflow_id), lambda found: len(found) >= 4, "payloads")
    assert await readable(house, workflow_id) == []
    shown = (await house.http.post(f"{api}/codec/decode", json={"payloads": payloads}, headers=admin)).json()
    assert all(payload["metadata"]["encoding"] != payloads[0]["metadata"]["encoding"] for payload in shown["payloads"])

    answer = await house.http.delete(f"{api}/api/v1/customers/{USER}@example.com", headers=admin)

    assert answer.status_code == 200, answer.text
    receipt = Notary([SECRET]).verified(answer.text)
    assert (receipt.runs_ended >= 1, receipt.keys_destroyed) == (True, 1)
    assert not any(word in answer.text for word in SAYS_WHO)
    description = await house.temporal.get_workflow_handle(workflow_id).describe()
    assert description.status is WorkflowExecutionStatus.TERMINATED
    assert await decodable(house, workflow_id) == []
    assert await named_in_tables(house) == []
    assert named_in(logs) == []
    verified = await command(house, "privacy", "verify", str(written(tmp_path, answer.text)))
    assert (verified.returncode, verified.stdout[:7]) == (0, "genuine")


async def test_late_events_are_gone_from_every_table_as_soon_as_they_are_read(house: House, tmp_path: Path) -> None:
    """Exported and erased at a terminal; the stack's own router forgets what comes in afterwards."""
    late = {"userId": "late-1815", "traits": {"email": "late-1815@example.com", "firstName": "Lateness"}}
    api, auth, bundle = house.stack.info.api, (house.stack.info.write_key, ""), tmp_path / "late.zip"
    await house.http.post(f"{api}/v1/identify", json=late, auth=auth)
    await house.until_routed()
    exported = await command(house, "privacy", "export", "late-1815", "--output", str(bundle))
    assert (exported.returncode, bundle.stat().st_mode & 0o777) == (0, 0o600)
    assert "Lateness" in json.loads(zipfile.ZipFile(bundle).read("customer.json"))["profile"][0]["first_name"]
    erased = await command(house, "privacy", "erase", "late-1815@example.com", "--yes")
    assert erased.returncode == 0, erased.stderr
    assert Notary([SECRET]).verified(erased.stdout).by.startswith("cli:")

    yesterday = {**late, "timestamp": "2026-01-01T00:00:00Z"}
    assert (await house.http.post(f"{api}/v1/identify", json=yesterday, auth=auth)).status_code == 200
    await house.until_routed()

    assert await named_in_tables(house, ("late-1815", "Lateness")) == []


async def test_the_master_key_is_changed_from_a_terminal(house: House) -> None:
    """Every data key is wrapped anew, once."""
    new = "another-master-key-of-32-letters-or-more"

    there = await command(house, "privacy", "rewrap", JOURNEYS_MASTER_KEYS=f"{new},{MASTER}")
    nothing_left = await command(house, "privacy", "rewrap", JOURNEYS_MASTER_KEYS=f"{new},{MASTER}")
    back = await command(house, "privacy", "rewrap", JOURNEYS_MASTER_KEYS=f"{MASTER},{new}")

    assert [done.returncode for done in (there, nothing_left, back)] == [0, 0, 0], there.stderr
    assert nothing_left.stdout.startswith("0 ")


async def command(house: House, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator with the production settings would."""
    settings = {
        "DATABASE_URL": house.stack.info.database_url,
        "TEMPORAL_ADDRESS": house.stack.info.temporal_address,
        "JOURNEYS_SECRET_KEYS": SECRET,
        "JOURNEYS_MASTER_KEYS": MASTER,
    }
    argv, env = [sys.executable, "-m", "cli.main", *arguments], {**os.environ, **settings, **environment}
    return await asyncio.to_thread(subprocess.run, argv, env=env, capture_output=True, text=True, check=False)


def written(folder: Path, receipt: str) -> Path:
    file = folder / "receipt.json"
    file.write_text(receipt)
    return file


async def history(house: House, workflow_id: str) -> dict[str, Any]:
    """A history as Temporal keeps it."""
    found = await house.temporal.get_workflow_handle(workflow_id).fetch_history()
    return dict(json.loads(found.to_json()))


def payloads_in(value: Any) -> Iterator[dict[str, Any]]:
    """Find every payload, wherever in a history."""
    if isinstance(value, dict):
        if "metadata" in value and "encoding" in value["metadata"]:
            yield value
        else:
            for name, inner in value.items():
                if name != "searchAttributes":
                    yield from payloads_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from payloads_in(inner)


async def encrypted(house: House, workflow_id: str) -> list[dict[str, Any]]:
    found = list(payloads_in(await history(house, workflow_id)))
    return [payload for payload in found if "encryption-key-id" in payload["metadata"]]


async def readable(house: House, workflow_id: str) -> list[dict[str, Any]]:
    """The payloads that anybody with access to Temporal can read: inputs, signals, results, summaries, details."""
    found = list(payloads_in(await history(house, workflow_id)))
    return [p for p in found if "encryption-key-id" not in p["metadata"] and not of_the_sdk(p)]


def of_the_sdk(payload: dict[str, Any]) -> bool:
    """Whether it is what the SDK itself notes about a local attempt: a name of ours, numbers and times."""
    noted = json.loads(b64decode(payload["data"]))
    return (
        isinstance(noted, dict)
        and noted.keys()
        == {"seq", "attempt", "activity_id", "activity_type", "complete_time", "backoff", "original_schedule_time",
            "activation_index"}
        and (noted["activity_type"], noted["activity_id"].isdecimal()) == ("deliver", True)
    )  # fmt: skip


async def decodable(house: House, workflow_id: str) -> list[Any]:
    """The payloads that our own process, with the master key, can still read."""
    keys = CustomerKeys(house.engine, MasterKeys([MASTER]), lambda: pytest.fail("a key was made"))
    context = WorkflowSerializationContext(namespace="default", workflow_id=workflow_id)
    codec = CustomerCodec(keys).with_context(context)
    opened: list[Any] = []
    found = await house.temporal.get_workflow_handle(workflow_id).fetch_history()
    for payload in found.events[0].workflow_execution_started_event_attributes.input.payloads:
        try:
            opened += await codec.decode([payload])
        except NotFound:
            continue
    return opened


async def named_in_tables(house: House, words: tuple[str, ...] = SAYS_WHO) -> list[tuple[str, str]]:
    """Search every column of every table."""
    found: list[tuple[str, str]] = []
    async with as_owner(house.engine) as connection:
        for table in metadata.sorted_tables:
            rows = await connection.execute(text(f"select t::text from {table.name} t"))  # noqa: S608
            found += [(table.name, word) for row in rows.scalars() for word in words if word in row]
    return found


def named_in(logs: Path) -> list[tuple[str, str]]:
    """Search what our processes, Postgres and Temporal have logged."""
    told = {file.name: file.read_text(errors="replace") for file in logs.glob("*.log")}
    assert {"api.log", "worker.log", "router.log", "temporal.log"} <= set(told)
    ours = {name: text for name, text in told.items() if not name.startswith("inbox")}
    return [(name, word) for name, text in ours.items() for word in SAYS_WHO if word in text]
