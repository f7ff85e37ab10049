"""`journeys store show` and `journeys store set`: what a store sets for all of its marketing."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import sending_rules
from adapters.postgres.tenancy import as_store
from cli.operate import DataDir, StoreId, existing, on_database, store
from cli.run import by_whom
from cli.stack.keys import DEMO_STORE
from domain.errors import InvalidInput
from domain.sending_rules import SendingRules, validated

__all__ = ["store"]

_DATA_DIR = Path(".journeys")


@store.command("show")
def show_rules(store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR) -> None:
    """Print a store's sending rules as JSON, as `store set` takes them."""

    async def read(engine: AsyncEngine) -> SendingRules:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            return await sending_rules.of_store(connection, store_id)

    typer.echo(on_database(read, data_dir).model_dump_json(indent=2))


@store.command("set")
def set_rules(
    settings: Annotated[str, typer.Argument(help="JSON, @FILE, or - for standard input.", metavar="JSON|@FILE")] = "-",
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Replace a store's sending rules; what is left out is off."""
    rules = validated(_settings(settings))

    async def write(engine: AsyncEngine) -> None:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            await sending_rules.put(connection, store_id, rules, by_whom(), datetime.now(UTC))

    on_database(write, data_dir)
    typer.echo(f"{store_id}: every message decided from now on keeps these rules")


def _settings(source: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source[1:]).read_text() if source[:1] == "@" else source
        return TypeAdapter(dict[str, Any]).validate_json(text)
    except OSError as problem:
        raise InvalidInput("rules", f"{problem.filename}: {problem.strerror}") from problem
    except ValidationError as problem:
        example = json.dumps({"quiet_hours": {"email": {"start": "21:00", "end": "08:00"}}})
        raise InvalidInput("rules", f"must be a JSON object, such as {example}") from problem
