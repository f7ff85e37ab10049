"""`journeys history`: keep what a journey's code leaves in Temporal, so that later code is held against it (G6)."""

import asyncio
from typing import Annotated

import typer
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal.client import connect
from cli.checkout import checkout, histories
from cli.scratch import scratch_shops
from cli.temporal import leave_with
from domain.errors import InvalidInput, NotFound, Unavailable
from rehearsal.costs import walked
from rehearsal.histories import Histories
from rehearsal.passages import PASSAGES, passage_of

history = typer.Typer(help="Recorded histories: what running journeys must be able to replay.", no_args_is_help=True)

Journey = Annotated[str, typer.Argument(help="The journey.", metavar="JOURNEY")]


@history.command("record")
def record(
    journey: Journey,
    workflow_id: Annotated[
        str | None,
        typer.Option("--from", help="Of this run on the Temporal of TEMPORAL_*, scrubbed.", metavar="WORKFLOW_ID"),
    ] = None,
    unreleased: Annotated[
        bool, typer.Option("--unreleased", help="No run of it exists anywhere: replace what was recorded.")
    ] = False,
) -> None:
    """Add the history of a passage on a time-skipping server, or of a real run, to those that are replayed by CI."""
    kept = Histories(histories(checkout()))
    passage = passage_of(journey)
    if unreleased and workflow_id is not None:
        raise InvalidInput("--unreleased", "a run exists: the one of --from")

    async def act() -> int:
        if workflow_id is not None:
            found = await _of_run(journey, workflow_id)
        else:
            async with scratch_shops() as open_shop, open_shop() as shop:
                found = await walked(shop, passage)
            if not unreleased and kept.of(journey) and kept.compared(journey, found) is None:
                print(f"{journey} does what its recorded passage says: there is nothing to add")
                return 0
        print(await kept.add(journey, found, passage=workflow_id is None, unreleased=unreleased))
        return 0

    leave_with(lambda: asyncio.run(act()))


@history.command("check")
def check(
    journeys: Annotated[list[str] | None, typer.Argument(help="Only these.", metavar="[JOURNEY]...")] = None,
) -> None:
    """Replay the recorded histories with the code of this checkout; exit code 1 if a running journey would break."""
    kept = Histories(histories(checkout()))
    names = [passage_of(name).journey for name in journeys or PASSAGES]

    async def act() -> int:
        problems = [told for name in names for file in kept.of(name) if (told := await kept.replayed(file))]
        print("\n".join(problems) or f"{sum(len(kept.of(name)) for name in names)} histories replay")
        return int(bool(problems))

    leave_with(lambda: asyncio.run(act()))


async def _of_run(journey: str, workflow_id: str) -> WorkflowHistory:
    try:
        client = await connect()
        found = await client.get_workflow_handle(workflow_id).fetch_history()
    except RPCError as problem:
        if problem.status in {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT}:
            raise NotFound(f"Temporal knows no run {workflow_id!r}") from problem
        raise Unavailable(f"Temporal does not answer: {problem.status.name}") from problem
    except RuntimeError as problem:
        raise Unavailable(f"Temporal does not answer: {problem}") from problem
    name = found.events[0].workflow_execution_started_event_attributes.workflow_type.name
    if name != journey:
        raise InvalidInput("--from", f"{workflow_id} is a run of {name}, not of {journey}")
    return found
