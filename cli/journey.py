"""`journeys journey`: pause a journey of a store, resume it, and see where each stands."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import pauses
from adapters.postgres.pauses import Standing
from cli.operate import DataDir, StoreId, by_whom, existing, on_database
from cli.plan import span
from cli.rollout import roll_out
from cli.stack.keys import DEMO_STORE
from domain.operations import OnResume
from domain.rollouts import Order, ResumeOrder, Tally

journey = typer.Typer(help="Pause and resume a store's journeys.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The journey; see `journey list`.", metavar="JOURNEY")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value instead of text.")]
_DATA_DIR = Path(".journeys")


@journey.command("list")
def list_journeys(
    as_json: AsJson = False, store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR
) -> None:
    """Show each journey of a store: its plan, its runs under way, and whether it is paused."""

    async def read(engine: AsyncEngine) -> list[Standing]:
        await existing(engine, store_id)
        return await pauses.standing(engine, store_id)

    found = on_database(read, data_dir)
    if as_json:
        print(TypeAdapter(list[Standing]).dump_json(found, indent=2).decode())
        return
    table = Table("journey", "enabled", "plan", "runs", "held up", "paused since")
    for one in found:
        since = "-" if one.paused_since is None else f"{one.paused_since:%Y-%m-%d %H:%M} UTC"
        enabled = "yes" if one.enabled else "no"
        table.add_row(one.journey, enabled, str(one.plan_version), str(one.runs), str(one.held_up), since)
    Console().print(table)


@journey.command("pause")
def pause(name: Name, store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR) -> None:
    """Send nothing of a journey from now on; runs go on to begin and to end. Temporal is not needed."""

    async def act(engine: AsyncEngine) -> None:
        await existing(engine, store_id)
        await pauses.must_exist(engine, store_id, name)
        await pauses.begin(engine, store_id, name, by_whom(), datetime.now(UTC))

    on_database(act, data_dir)
    print(f"{name} of {store_id} is paused")


@journey.command("resume")
def resume(
    name: Name,
    policy: Annotated[
        OnResume,
        typer.Option(
            help="What was held up: shift: comes later by the length of the pause. drop-overdue: is left out. "
            "spread: comes spread over --over."
        ),
    ],
    over: Annotated[str, typer.Option(help="How long a spread takes.")] = "PT4H",
    as_json: AsJson = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Go on with a journey that is paused."""
    hours = span(over, "over")

    async def prepare(engine: AsyncEngine) -> Order:
        await existing(engine, store_id)
        return await pauses.order_to_resume(engine, store_id, name, policy, hours, by_whom())

    def tell(_order: Order, tally: Tally) -> None:
        facts = {"journey": name, "store": store_id, "policy": policy.value}
        told = tally.model_dump(mode="json", include={"done", "ended"})
        print(
            json.dumps(facts | told)
            if as_json
            else f"{name} of {store_id} goes on; {tally.done} runs that it held up ask again ({policy})"
        )

    async def left(engine: AsyncEngine, order: Order) -> int:
        return await pauses.held_up_count(engine, order) if isinstance(order, ResumeOrder) else 0

    roll_out(prepare, left, tell, data_dir)
