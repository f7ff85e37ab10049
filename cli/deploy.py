"""`journeys deploy`: on which build of the worker new runs begin, and which builds are still needed."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from temporalio import workflow

from adapters.settings import Settings
from adapters.temporal.client import connect
from adapters.temporal.deployments import Build, Deployment, Deployments
from cli.operate import system_now
from cli.temporal import leave_with
from domain.errors import ConfigurationError, Unavailable
from workflows.registry import WORKFLOWS

deploy = typer.Typer(help="Builds of the worker: which takes new runs, which is still needed.", no_args_is_help=True)

BuildId = Annotated[str, typer.Argument(help="The JOURNEYS_BUILD_ID of its workers.", metavar="BUILD")]
NOT_DRAINED = 3
"""The exit code of `drain` while a build is needed; 1 is a failure."""
_LOOK_AGAIN_S = 2.0


@deploy.command("status")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """List the builds: which is current, how many workers each has, and which runs are on it."""

    async def act(deployments: Deployments) -> int:
        found = await deployments.status()
        if as_json:
            print(found.model_dump_json(indent=2))
        else:
            _show(found)
        return 0

    _on_temporal(act)


@deploy.command("promote")
def promote(
    build: BuildId,
    ramp: Annotated[
        float | None, typer.Option(min=0.1, max=99.9, help="Only this percentage, beside the current build.")
    ] = None,
) -> None:
    """Let new runs begin on a build, and runs that outlive deploys move to it. Promoting an older build rolls back."""

    async def act(deployments: Deployments) -> int:
        await deployments.promote(build, ramp)
        print(f"{build} is current" if ramp is None else f"{build} takes {ramp:g} % of new runs")
        return 0

    _on_temporal(act)


@deploy.command("drain")
def drain(
    build: BuildId,
    wait: Annotated[bool, typer.Option("--wait", help="Until nothing needs the build any more.")] = False,
) -> None:
    """Tell whether the workers of a build may be stopped: exit code 0 if so, 3 while runs will end on it."""

    async def act(deployments: Deployments) -> int:
        said = ""
        while True:
            seen = await deployments.build(build)
            if seen.state in {"current", "ramping"}:
                raise ConfigurationError(f"build {build!r} is {seen.state}: promote another one first")
            if (news := _news(seen)) != said:
                said = news
                print(news, flush=True)
            if seen.drained or not wait:
                return 0 if seen.drained else NOT_DRAINED
            await asyncio.sleep(_LOOK_AGAIN_S)

    _on_temporal(act)


def _news(build: Build) -> str:
    if build.drained:
        return f"{build.build_id} is drained: its workers can be stopped"
    if not build.pinned:
        return f"{build.build_id} has no runs left; Temporal confirms that within minutes"
    return f"{build.build_id} is {build.state}: {_by_journey(build.pinned)}{_stranded(build)}"


def _stranded(build: Build) -> str:
    return " - and no worker of it runs, so they stand still" if build.stranded else ""


def _by_journey(runs: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in runs.items()) or "-"


def _show(deployment: Deployment) -> None:
    table = Table("build", "state", "workers", "runs that will end on it", title=deployment.name)
    for build in deployment.builds:
        share = f" {deployment.ramp_percent:g} %" if build.build_id == deployment.ramping else ""
        table.add_row(build.build_id, build.state + share, str(build.workers), _by_journey(build.pinned))
    Console().print(table)
    print(f"on the current build with their next task: {_by_journey(deployment.moving)}")
    print(f"not begun, or on unversioned workers: {_by_journey(deployment.unassigned)}")
    if deployment.current is None:
        print("no build is current: new runs wait for unversioned workers")
    for build in deployment.builds:
        if build.stranded:
            print(f"{build.build_id}: {_by_journey(build.pinned)}{_stranded(build)}", file=sys.stderr)


def _on_temporal(act: Callable[[Deployments], Awaitable[int]]) -> NoReturn:
    """Do something with the deployment of the settings, and exit with the code that it returns."""
    settings = Settings()
    # The SDK has no public way to ask a workflow class for its name.
    workflows = [workflow._Definition.must_from_class(kind).name or "" for kind in WORKFLOWS]

    async def run() -> int:
        try:
            client = await connect()
        except RuntimeError as problem:
            raise Unavailable(f"Temporal does not answer: {problem}") from problem
        return await act(Deployments(client, settings.deployment, settings.task_queue, workflows, system_now))

    leave_with(lambda: asyncio.run(run()))
