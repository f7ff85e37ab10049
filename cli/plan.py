"""`journeys plan`: a store's settings of each journey, and what a change does to the runs under way."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

import templates
from adapters.postgres import forecast, plans, rollouts
from adapters.postgres.forecast import Forecast, Running, Side
from adapters.postgres.tenancy import as_store
from cli.operate import DataDir, StoreId, by_whom, existing, on_database, system_now
from cli.rollout import roll_out
from cli.stack.keys import DEMO_STORE
from domain.errors import InvalidInput, InvalidPlan, NotFound, OperationRefused
from domain.plans import PLANS, Plan, is_follow_up, validated
from domain.rollouts import Order, ReplanOrder, Tally
from domain.snapshot import PinnedPlan

plan = typer.Typer(help="A store's settings of each journey.", no_args_is_help=True)

_DATA_DIR = Path(".journeys")
_BURST = 20
"""So many more messages within a quarter of an hour are a burst, and nobody's intention."""


@plan.command("show")
def show_plan(
    journey: Annotated[str | None, typer.Argument(help="Prints this plan alone, as `plan set` takes it.")] = None,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Print a store's plans as JSON; version 0 is the default."""
    if journey is not None and not is_follow_up(journey):
        validated(journey, {})  # says which journeys there are

    async def read(engine: AsyncEngine) -> dict[str, Any]:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            known = await plans.current(connection, store_id)
        defaults = {name: PinnedPlan(journey=name, plan=validated(name, {})) for name in PLANS}
        pinned = defaults | dict(sorted(known.items()))
        return {name: {"version": p.version, "plan": p.plan.model_dump(mode="json")} for name, p in pinned.items()}

    every = on_database(read, data_dir)
    if journey is None:
        typer.echo(json.dumps(every, indent=2))
    elif journey not in every:
        raise NotFound(f"store {store_id!r} has no {journey}; `journeys plan set {journey}` makes it")
    else:
        typer.echo(json.dumps(every[journey]["plan"], indent=2))
        typer.echo(f"version {every[journey]['version']}", err=True)


@plan.command("set")
def set_plan(
    journey: Annotated[str, typer.Argument(help=", ".join([*PLANS, "follow-up/NAME"]))],
    settings: Annotated[str, typer.Argument(help="JSON, @FILE, or - for standard input.", metavar="JSON|@FILE")] = "-",
    running: Annotated[
        Running,
        typer.Option(help="Runs under way: pin: keep theirs. move: go on with it. retime: take its waits alone."),
    ] = "pin",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do to them, and do nothing.")] = False,
    spread: Annotated[
        str | None, typer.Option(help="Spread what comes due at once over this time (PT4H); PT0S sends it at once.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Give a store another plan; what it leaves out is as in the default."""
    wanted, over = validated(journey, _settings(settings)), None if spread is None else span(spread, "spread")
    _must_have_templates(wanted)

    async def look(engine: AsyncEngine) -> Forecast:
        await existing(engine, store_id)
        return await forecast.forecast(engine, store_id, journey, wanted, running, system_now(), over)

    if dry_run:
        _show(on_database(look, data_dir), as_json=as_json)
    elif running == "pin":
        version = on_database(lambda engine: _put(engine, store_id, journey, wanted, running), data_dir)
        typer.echo(
            json.dumps({"journey": journey, "store": store_id, "version": version, "running": running})
            if as_json
            else f"{journey} of {store_id}: version {version}"
        )
    else:

        async def prepare(engine: AsyncEngine) -> Order:
            _refuse_burst(await look(engine), over)
            if over:
                await rollouts.spread_what_is_due(engine, store_id, journey, over, system_now())
            version = await _put(engine, store_id, journey, wanted, running)
            return ReplanOrder(
                store_id=store_id, journey=journey, version=version, plan=wanted.model_dump(mode="json"), mode=running
            )

        roll_out(prepare, rollouts.left, lambda order, tally: _tell(order, tally, as_json=as_json), data_dir)


def _must_have_templates(plan: Plan) -> None:
    root = Path(templates.__path__[0])
    for number, step in enumerate(plan.steps):
        if not (root / step.template).is_dir():
            known = ", ".join(sorted(folder.name for folder in root.iterdir() if (folder / "sample.json").is_file()))
            raise InvalidPlan(f"steps.{number}.template", f"there is no template {step.template!r}; there are {known}")


def span(text: str, field: str) -> timedelta:
    """Read a duration such as `PT4H`."""
    try:
        found = TypeAdapter(timedelta).validate_python(text)
    except ValidationError:
        raise InvalidInput(field, "must be an ISO 8601 duration such as PT4H") from None
    if not timedelta(0) <= found <= timedelta(days=7):
        raise InvalidInput(field, "must be between PT0S and P7D")
    return found


async def _put(engine: AsyncEngine, store_id: str, journey: str, wanted: Plan, running: Running) -> int:
    await existing(engine, store_id)
    return await plans.put(engine, store_id, journey, wanted, system_now(), by=by_whom(), running=running)


def _refuse_burst(seen: Forecast, spread: timedelta | None) -> None:
    more = seen.after.at_once - seen.before.at_once
    if spread is None and more >= _BURST and seen.paused_since is None:
        raise OperationRefused(
            f"{seen.after.at_once} messages would come due at once ({more} more than now); "
            f"add --spread PT4H to spread them, or --spread PT0S to mean it"
        )


def _tell(order: Order, tally: Tally, *, as_json: bool) -> None:
    if not isinstance(order, ReplanOrder):
        return
    if as_json:
        facts = {"journey": order.journey, "store": order.store_id, "version": order.version, "running": order.mode}
        print(json.dumps(facts | tally.model_dump(mode="json", exclude={"last"})))
        return
    print(f"{order.journey} of {order.store_id}: version {order.version}")
    print(f"{tally.done} runs go on with it; {tally.ended} had ended")
    for because, count in tally.later.items():
        print(f"{count} could not be reached and keep their plan: {because}")


def _show(seen: Forecast, *, as_json: bool) -> None:
    if as_json:
        print(seen.model_dump_json(indent=2))
        return
    print(f"{seen.journey}: {seen.runs} runs under way, {seen.touched} would get the plan ({seen.running})")
    print(f"{seen.changed} would write at another time; {seen.waiting} wait for an event; {seen.ending} would end")
    table = Table("next message", "before", "after")
    for day in seen.days:
        table.add_row(day.day, str(day.before), str(day.after))
    for name, value in (("earliest", _earliest), ("latest", _latest)):
        table.add_row(name, value(seen.before), value(seen.after))
    table.add_row("at once", str(seen.before.at_once), str(seen.after.at_once))
    table.add_row("busiest hour", str(seen.before.busiest_hour), str(seen.after.busiest_hour))
    Console().print(table)
    if seen.paused_since is not None:
        print(f"paused since {_at(seen.paused_since)}: nothing is sent before it is resumed", file=sys.stderr)
    elif seen.after.at_once - seen.before.at_once >= _BURST:
        print(f"{seen.after.at_once} messages would come due at once: use --spread PT4H", file=sys.stderr)


def _earliest(side: Side) -> str:
    return _at(side.earliest)


def _latest(side: Side) -> str:
    return _at(side.latest)


def _at(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _settings(source: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source[1:]).read_text() if source[0] == "@" else source
        return TypeAdapter(dict[str, Any]).validate_json(text)
    except OSError as problem:
        raise InvalidPlan("plan", f"{problem.filename}: {problem.strerror}") from problem
    except (ValidationError, IndexError) as problem:
        raise InvalidPlan("plan", 'must be a JSON object, such as {"enabled": false}') from problem
