"""`journeys doctor` on the running stack, and on a Temporal that is not as it must be."""

import asyncio
import json
import os
import sys
from functools import partial

from temporalio.client import Client

from adapters.settings import Settings
from cli.doctor.finding import Level, examined
from cli.doctor.temporal import check_temporal
from cli.stack import ports
from tests.functional.conftest import House


async def test_the_doctor_finds_the_running_stack_well(house: House) -> None:
    """As a command, by the environment, as JSON: every part is looked at, and exit code 0 says that none is ill."""
    info = house.stack.info
    env = {
        **os.environ,
        "DATABASE_URL": info.database_url,
        "SMTP_URL": info.smtp,
        "TEMPORAL_ADDRESS": info.temporal_address,
        "JOURNEYS_SECRET_KEYS": "f1c9a80b7d6e5f43f1c9a80b7d6e5f43",
    }
    argv = (sys.executable, "-P", "-m", "cli.main", "doctor", "--json")
    process = await asyncio.create_subprocess_exec(*argv, env=env, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    findings = json.loads(said)
    well = {finding["check"] for finding in findings if finding["level"] == "ok"}

    assert [finding for finding in findings if finding["level"] == "problem"] == []
    assert process.returncode == 0
    assert well >= {
        "postgres", "clock", "migrations", "rights", "router", "temporal", "search attributes", "worker", "smtp",
    }  # fmt: skip


async def test_the_doctor_knows_what_ails_temporal(house: House) -> None:
    """Nobody there; no such namespace; nobody who works; a build that nobody promoted."""

    async def connected(namespace: str = "default", address: str = house.stack.info.temporal_address) -> Client:
        return await Client.connect(address, namespace=namespace, lazy=True)

    nowhere = f"127.0.0.1:{ports.free()}"
    checks = {
        "temporal": partial(check_temporal, partial(connected, address=nowhere), Settings()),
        "namespace": partial(check_temporal, partial(connected, "elsewhere"), Settings()),
        "worker": partial(check_temporal, connected, Settings(task_queue="nobody")),
        "deployment": partial(check_temporal, connected, Settings(build_id="b-1", deployment="nobody")),
    }
    findings = {name: await examined({name: check}, patience_s=20) for name, check in checks.items()}
    ill = {name: {f.check for f in found if f.level is Level.PROBLEM} for name, found in findings.items()}

    assert ill == {name: {name} for name in checks}
