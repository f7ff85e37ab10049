"""Two builds of a worker on a real Temporal server (G6): who stays on the old code, who moves, what one is told."""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from adapters.temporal.deployments import Build, Deployments
from adapters.temporal.plugin import journeys_plugin
from adapters.temporal.versioning import versioning
from cli.stack import ports
from cli.stack.processes import Child
from cli.stack.temporal import LocalTemporal
from domain.commands import NewRun, RestartRun
from domain.errors import ConfigurationError, NotFound
from domain.plans import CartRecoveryPlan, PostPurchasePlan, WinBackPlan
from domain.runs import Entry, Outcome
from tests.functional import new_build, old_build
from tests.functional.conftest import DEADLINE, eventually
from workflows import registry

ROOT = Path(__file__).parents[2]
RUNNING = "ExecutionStatus = 'Running'"
PINNED, MOVES = 1, 2
"""Temporal's VersioningBehavior, as it stands in a run's description."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dev server that notices within a second, not within minutes, that a build is drained."""
    data_dir = tmp_path_factory.mktemp("temporal")
    server = LocalTemporal(data_dir, ports.reserve(0, "temporal"), durable=False)
    hasty = [
        part
        for name in ("VersionDrainageStatusVisibilityGracePeriod", "VersionDrainageStatusRefreshInterval")
        for part in ("--dynamic-config-value", f'matching.wv.{name}="1s"')
    ]
    child = Child(dataclasses.replace(server.program, argv=[*server.program.argv, *hasty]))
    child.start()
    yield server.address
    child.stop()


@pytest.fixture(scope="module")
async def temporal(address: str) -> Client:
    """A client of it."""
    return await Client.connect(address, plugins=[journeys_plugin()])


@activity.defn
async def nothing() -> None:
    """A worker of ours polls for activities as well."""


class House:
    """A deployment of its own: workers of several builds, and the runs that they share."""

    def __init__(self, temporal: Client) -> None:
        self.temporal = temporal
        self.name = f"shop-{uuid4().hex[:8]}"
        self.deployments = self.seen_at(timedelta(0))
        self._known: set[str] = set()

    def seen_at(self, later: timedelta) -> Deployments:
        """What one sees of it after a while."""
        names = ("short-journey", "long-journey")
        return Deployments(self.temporal, self.name, self.name, names, lambda: datetime.now(UTC) + later)

    def worker(self, code: ModuleType, build_id: str | None, task_queue: str | None = None) -> Worker:
        """A worker as `journeys worker` builds it."""
        return Worker(
            self.temporal,
            task_queue=task_queue or self.name,
            workflows=list(code.WORKFLOWS),
            activities=[nothing],
            **versioning(self.name, build_id),
        )

    async def promote(self, build_id: str, ramp: float | None = None) -> None:
        """Promote a build as soon as its worker is known."""
        if build_id not in self._known:
            await self.until(build_id, lambda build: build.workers > 0)
            self._known.add(build_id)
        await self.deployments.promote(build_id, ramp)

    async def until(self, build_id: str, wanted: Callable[[Build], bool]) -> Build:
        """Wait until a build is as one wants it."""

        async def probe() -> Build | None:
            with contextlib.suppress(NotFound):
                return await self.deployments.build(build_id)
            return None

        found = await eventually(probe, lambda build: build is not None and wanted(build), f"build {build_id} changes")
        assert found is not None
        return found

    async def begin(self, workflow: str, *args: Any, task_queue: str | None = None) -> WorkflowHandle[Any, Any]:
        """Start a run and wait until a worker has had it in its hands."""
        handle = await self.temporal.start_workflow(
            workflow, args=args, id=f"{self.name}/{uuid4()}", task_queue=task_queue or self.name
        )
        await eventually(lambda: self.on(handle), lambda on: on is not None, f"a worker has {handle.id}")
        return handle

    async def close(self) -> None:
        """End what is open."""
        async for run in self.temporal.list_workflows(f"TaskQueue starts_with '{self.name}' and {RUNNING}"):
            await self.temporal.get_workflow_handle(run.id).terminate()

    async def on(self, handle: WorkflowHandle[Any, Any]) -> tuple[int, str] | None:
        """A run's behaviour and build, None before its first task is done."""
        info = (await handle.describe()).raw_description.workflow_execution_info
        versions = info.versioning_info
        build_id = versions.deployment_version.build_id
        return (versions.behavior, build_id) if build_id or info.history_length > 3 else None

    async def end(self, handle: WorkflowHandle[Any, Any]) -> str:
        """Let a run go on, and return what it says."""
        await handle.signal("go_on")
        async with asyncio.timeout(DEADLINE):
            return str(await handle.result())


@pytest.fixture
async def house(temporal: Client) -> AsyncIterator[House]:
    """A deployment nobody else has; whatever a test leaves open is ended."""
    house = House(temporal)
    yield house
    await house.close()


@pytest.fixture(scope="module")
async def settled(temporal: Client) -> AsyncIterator[House]:
    """Two builds side by side, of which the first is current; a test leaves it so."""
    house = House(temporal)
    async with house.worker(old_build, "1"), house.worker(new_build, "2"):
        await house.promote("1")
        await house.until("2", lambda build: build.workers > 0)
        yield house
        await house.close()


async def test_a_short_run_ends_under_the_old_code_and_a_long_one_moves_to_the_new(house: House) -> None:
    """A deploy disturbs nobody: pinned runs stay, long ones move behind `patched`, new ones begin on the new build."""
    async with house.worker(old_build, "1"):
        await house.promote("1")
        short, long = await house.begin("short-journey"), await house.begin("long-journey")
        assert (await house.on(short), await house.on(long)) == ((PINNED, "1"), (MOVES, "1"))

        async with house.worker(new_build, "2"):
            await house.promote("2")
            late_short, late_long = await house.begin("short-journey"), await house.begin("long-journey")

            assert await house.end(short) == "old code"
            assert await house.end(long) == "new code, without the new wait"
            assert await house.end(late_short) == "new code"
            assert await house.end(late_long) == "new code, with the new wait"


async def test_an_old_build_is_needed_until_its_last_pinned_run_has_ended(house: House) -> None:
    """Runs are counted by journey where they will end; what moves on holds no build back."""
    async with house.worker(old_build, "1"), house.worker(new_build, "2"):
        await house.promote("1")
        await house.begin("short-journey")
        await house.begin("long-journey")
        # Else Temporal may look for runs that hold build 1 before its list has this one.
        await house.until("1", lambda build: bool(build.pinned))
        await house.promote("2")
        counted = await eventually(
            house.deployments.status,
            lambda d: bool(d.moving and any(build.pinned for build in d.builds)),
            "the runs are counted",
        )
        builds = {build.build_id: build for build in counted.builds}

        assert (counted.current, counted.moving) == ("2", {"long-journey": 1})
        assert builds["1"] == Build(build_id="1", state="draining", workers=1, pinned={"short-journey": 1})
        assert builds["2"] == Build(build_id="2", state="current", workers=1, pinned={})
        assert (builds["1"].drained, builds["1"].stranded) == (False, 0)
        # A worker that has not asked for work for so long is gone, and its runs stand still.
        assert (await house.seen_at(timedelta(minutes=5)).build("1")).stranded == 1


async def test_a_build_that_nobody_runs_is_not_promoted(settled: House) -> None:
    """Temporal would do it, and every new run would wait for ever."""
    with pytest.raises(NotFound, match="no deployment"):
        await House(settled.temporal).deployments.promote("1")
    with pytest.raises(NotFound, match="no build '7'"):
        await settled.deployments.promote("7")
    with pytest.raises(ConfigurationError, match="no worker of build '2' polls the task queue"):
        await settled.seen_at(timedelta(minutes=5)).promote("2")

    assert (await settled.deployments.status()).current == "1"


async def test_a_build_that_would_leave_a_task_queue_behind_is_not_promoted(house: House) -> None:
    """The runs on the other queue would find no worker."""
    other = f"{house.name}-other"
    async with house.worker(old_build, "1"), house.worker(old_build, "1", other), house.worker(new_build, "2"):
        await house.promote("1")
        await house.begin("short-journey", task_queue=other)
        await house.until("1", lambda build: bool(build.pinned))
        with pytest.raises(ConfigurationError, match=f"polls the task queue '{other}'"):
            await house.promote("2")


async def test_a_ramp_gives_a_share_to_the_new_build_until_the_old_one_is_promoted_again(settled: House) -> None:
    """A part of the runs tries the new build; the way back is the same command."""
    await settled.deployments.promote("2", 25)
    ramping = await settled.deployments.status()
    assert (ramping.current, ramping.ramping, ramping.ramp_percent) == ("1", "2", 25)
    assert {build.build_id: build.state for build in ramping.builds} == {"1": "current", "2": "ramping"}
    with pytest.raises(ConfigurationError, match="Temporal refuses"):
        await settled.deployments.promote("1", 50)

    await settled.promote("1")
    after = await settled.deployments.status()
    assert (after.current, after.ramping) == ("1", None)


async def test_the_runs_of_an_unversioned_worker_go_on_with_the_first_build(house: House) -> None:
    """Who begins to version loses nobody; until the first promotion nothing changes."""
    async with house.worker(old_build, None):
        run = await house.begin("short-journey")
        async with house.worker(new_build, "1"):
            await house.until("1", lambda build: build.workers > 0)
            found = await eventually(house.deployments.status, lambda d: bool(d.unassigned), "the run is counted")
            assert (found.current, found.unassigned) == (None, {"short-journey": 1})
            await house.promote("1")

            assert await house.end(run) == "new code"
            assert await house.on(run) == (PINNED, "1")


async def test_win_back_outlives_deploys_and_cart_recovery_does_not(house: House) -> None:
    """The real journeys under the real worker options: what a journey says about itself reaches Temporal."""
    now = datetime.now(UTC)
    common: dict[str, Any] = {"store_id": "s", "customer_id": uuid4(), "run_id": uuid4(), "plan_version": 0}
    common |= {"since": now, "begun_at": now}
    cart = Entry(journey="cart-recovery", plan=CartRecoveryPlan(), **common)
    silent = Entry(journey="win-back", plan=WinBackPlan(), **common)
    async with house.worker(registry, "1"):
        await house.promote("1")

        assert await house.on(await house.begin("cart-recovery", cart)) == (PINNED, "1")
        assert await house.on(await house.begin("win-back", silent)) == (MOVES, "1")


async def test_a_customer_who_begins_again_begins_on_the_new_build(house: House) -> None:
    """A pinned journey that continues as new, order after order, does not keep an old build alive for ever."""
    now, name = datetime.now(UTC), "post-purchase"
    later = PostPurchasePlan().steps[0].model_copy(update={"delay": timedelta(days=1)})
    entry = Entry(
        store_id="s", journey=name, customer_id=uuid4(), run_id=uuid4(), plan_version=1, since=now, begun_at=now,
        plan=PostPurchasePlan(steps=(later,)),
    )  # fmt: skip
    again = entry.model_copy(update={"run_id": uuid4()})
    async with house.worker(registry, "1"):
        await house.promote("1")
        run = await house.begin(name, entry)
        assert await house.on(run) == (PINNED, "1")
        async with house.worker(registry, "2"):
            await house.promote("2")
            new = NewRun(
                run_id=again.run_id, workflow_id=run.id, journey=name, workflow=name, customer_id=entry.customer_id,
                since=now, plan_version=1, trigger_event=uuid4(), began_by="order", delay=timedelta(0), summary="",
                details="", expires_at=now, entry=again.model_dump(mode="json"),
            )  # fmt: skip
            await run.signal("restarted", RestartRun(run_id=entry.run_id, ends=Outcome.RESTARTED, run=new))
            successor = house.temporal.get_workflow_handle(run.id)

            await eventually(lambda: house.on(successor), lambda on: on == (PINNED, "2"), "the successor is on build 2")


async def test_a_build_that_temporal_has_only_just_listed_is_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment a deployment has a build that Temporal, asked for it, does not know."""
    service = house.temporal.workflow_service
    describe, unknown = service.describe_worker_deployment_version, 2

    async def late(*args: Any, **how: Any) -> Any:
        nonlocal unknown
        if unknown:
            unknown -= 1
            raise RPCError("Worker Deployment Version not found", RPCStatusCode.NOT_FOUND, b"")
        return await describe(*args, **how)

    monkeypatch.setattr(service, "describe_worker_deployment_version", late)
    async with house.worker(old_build, "1"):
        await house.promote("1")
        assert unknown == 0
        assert await house.on(await house.begin("short-journey")) == (PINNED, "1")


async def test_the_commands_lead_an_operator_through_a_deploy(house: House, address: str) -> None:
    """Promote, be refused, look, and wait until the old build is drained: each in words and by its exit code."""
    async with house.worker(old_build, "1"):
        await house.promote("1")
        short = await house.begin("short-journey")
        await house.until("1", lambda build: bool(build.pinned))
        async with house.worker(new_build, "2"):
            await house.until("2", lambda build: build.workers > 0)
            assert await _deploy(house, address, "promote", "2") == (0, "2 is current\n", "")
            unknown, early, held, status = await asyncio.gather(
                _deploy(house, address, "promote", "9"),
                _deploy(house, address, "drain", "2"),
                _deploy(house, address, "drain", "1"),
                _deploy(house, address, "status", "--json"),
            )
            assert unknown[:2] == (1, "")
            assert unknown[2].startswith(f"journeys: deployment '{house.name}' has no build '9'")
            assert early == (1, "", "journeys: build '2' is current: promote another one first\n")
            assert held == (3, "1 is draining: 1 other\n", "")
            assert (status[0], status[2]) == (0, "")
            told = json.loads(status[1])
            found = {build["build_id"]: (build["pinned"], build["workers"]) for build in told["builds"]}
            assert (told["current"], found) == ("2", {"1": ({"other": 1}, 1), "2": ({}, 1)})

            await house.end(short)
            code, out, _ = await _deploy(house, address, "drain", "1", "--wait")
            assert (code, out.splitlines()[-1]) == (0, "1 is drained: its workers can be stopped")


def test_the_page_about_deploys_says_of_every_journey_what_the_code_says() -> None:
    """Who plans a deploy reads the table, not the classes."""
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([\w-]+)`[^|]* \| (.+?) \|", page, re.MULTILINE))
    is_true = {
        journey.name: "moves to the current build" if journey.outlives_deploys else "ends on its build"
        for journey in registry.JOURNEYS
    }

    assert {name: told.get(name) for name in is_true} == is_true


async def test_temporal_that_is_away_is_told_in_a_line(house: House) -> None:
    """An operator reads what is wrong, not a stack trace."""
    code, out, err = await _deploy(house, "127.0.0.1:1", "status")

    assert (code, out) == (1, "")
    assert err.startswith("journeys: Temporal does not answer")


async def _deploy(house: House, address: str, *words: str) -> tuple[int, str, str]:
    """Run a command as an operator does; it leaves its process, so it gets one of its own."""
    told = {"TEMPORAL_ADDRESS": address, "JOURNEYS_DEPLOYMENT": house.name, "JOURNEYS_TASK_QUEUE": house.name}
    return await asyncio.to_thread(_run, words, {**os.environ, **told})


def _run(words: Sequence[str], env: Mapping[str, str]) -> tuple[int, str, str]:
    argv = [sys.executable, "-m", "cli.main", "deploy", *words]
    done = subprocess.run(argv, env=dict(env), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr
