"""`journeys audit`: what was done to a store, and by whom."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import audit as log
from adapters.postgres.audit import MAX_ENTRIES, Entry
from cli.operate import DataDir, StoreId, existing, on_database
from cli.stack.keys import DEMO_STORE

_DATA_DIR = Path(".journeys")


def audit(
    action: Annotated[str | None, typer.Option(help="Only those, such as key_created.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only those about it, such as journey:welcome.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_ENTRIES, help="So many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value instead of text.")] = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Show what operators did to a store, newest first."""

    async def read(engine: AsyncEngine) -> list[Entry]:
        await existing(engine, store_id)
        return await log.listed(engine, store_id, action=action, subject=subject, limit=limit)

    found = on_database(read, data_dir)
    if as_json:
        print(TypeAdapter(list[Entry]).dump_json(found, indent=2).decode())
        return
    for one in found:
        print(f"{one.at:%Y-%m-%d %H:%M:%S} UTC  {one.by}  {one.action}  {one.subject}  {json.dumps(one.detail)}")
    if not found:
        print("nothing was done", file=sys.stderr)
