"""`journeys retention`: how long a store keeps what, and forgetting it now instead of tonight."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.retention import enforced, foreseen
from adapters.postgres import retention_policies
from adapters.postgres.identities import new_id
from adapters.postgres.retention import PostgresRetention
from adapters.postgres.tenancy import as_store
from cli.operate import DataDir, StoreId, by_whom, existing, on_database, system_now
from cli.stack.keys import DEMO_STORE
from domain.errors import InvalidInput
from domain.retention import Report, Terms, validated

retention = typer.Typer(help="How long what is kept.", no_args_is_help=True)

_DATA_DIR = Path(".journeys")


@retention.command("show")
def show_policy(store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR) -> None:
    """Print a store's policy as JSON, as `retention set` takes it, and what its plans need for longer."""

    async def read(engine: AsyncEngine) -> Terms:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            return await retention_policies.terms(connection, store_id)

    terms = on_database(read, data_dir)
    typer.echo(terms.policy.model_dump_json(indent=2))
    for kind, need in terms.needed.kinds.items():
        if terms.period(kind) != getattr(terms.policy, kind):
            days = "for good" if need.period is None else f"{need.period.days} days"
            typer.echo(f"{kind} are kept {days} as it is: {need.because} looks back so far", err=True)


@retention.command("set")
def set_policy(
    settings: Annotated[str, typer.Argument(help="JSON, @FILE, or - for standard input.", metavar="JSON|@FILE")] = "-",
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Replace a store's policy; what is left out is as by default."""
    wanted = _settings(settings)

    async def write(engine: AsyncEngine) -> None:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            policy = validated(wanted, await retention_policies.needed(connection, store_id))
            await retention_policies.put(connection, store_id, policy, by_whom(), system_now())

    on_database(write, data_dir)
    typer.echo(
        f"{store_id}: holds from the next run of retention on; `journeys retention run --dry-run` says what goes"
    )


@retention.command("run")
def run(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Enforce the policies of all stores now, as the schedule does every night. Temporal is not needed."""

    async def act(engine: AsyncEngine) -> Report:
        adapter, now = PostgresRetention(engine), system_now()
        if dry_run:
            return await foreseen(adapter, now)
        return await enforced(adapter, now, str(new_id()), by_whom(), Report(), lambda _: None)

    report = on_database(act, data_dir)
    print(report.model_dump_json(indent=2) if as_json else "\n".join(report.lines()))


def _settings(source: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source[1:]).read_text() if source[:1] == "@" else source
        return TypeAdapter(dict[str, Any]).validate_json(text)
    except OSError as problem:
        raise InvalidInput("policy", f"{problem.filename}: {problem.strerror}") from problem
    except ValidationError as problem:
        example = json.dumps({"events": "P90D", "messages": "P730D", "audit": None})
        raise InvalidInput("policy", f"must be a JSON object, such as {example}") from problem
