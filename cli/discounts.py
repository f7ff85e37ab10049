"""`journeys discounts`: the pools of codes that messages give away one by one."""

import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import audit
from adapters.postgres import discounts as pools
from adapters.postgres.tenancy import as_store
from cli.operate import DataDir, StoreId, by_whom, existing, on_database
from cli.stack.keys import DEMO_STORE
from domain.discounts import read_codes
from domain.errors import InvalidInput

discounts = typer.Typer(help="Pools of discount codes, one for each message.", no_args_is_help=True)

_DATA_DIR = Path(".journeys")


@discounts.command("import")
def import_codes(
    file: Annotated[Path, typer.Argument(help="CSV: the column `code`, or the first one.")],
    pool: Annotated[str, typer.Option(help="The pool, as `discount_pool` of a step names it.")],
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Add the codes of a file to a pool; safe to repeat."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", pool):
        raise InvalidInput("pool", "must be up to 40 of a-z, 0-9 and hyphens, and not begin with a hyphen")
    codes = _codes(file)
    now = datetime.now(UTC)

    async def add(engine: AsyncEngine) -> int:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            added = await pools.add(connection, store_id, pool, codes, now)
            await audit.write(
                connection, store_id, f"discounts:{store_id}:{pool}:{now.isoformat()}", by=by_whom(),
                action="discounts_imported", subject=f"pool:{pool}", detail={"added": added}, at=now,
            )  # fmt: skip
        return added

    added = on_database(add, data_dir)
    typer.echo(f"{pool} of {store_id}: {added} codes added, {len(codes) - added} were there already")


@discounts.command("show")
def show_pools(
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Say how much is left of each pool, and how many messages wait for a code."""

    async def read(engine: AsyncEngine) -> list[pools.Pool]:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            return await pools.pools(connection, store_id)

    table = Table("pool", "free", "given", "waiting")
    for pool in on_database(read, data_dir):
        free = str(pool.free) if pool.free else "[bold red]0: empty[/]"
        table.add_row(pool.pool, free, str(pool.given), str(pool.waiting))
    Console().print(table)


def _codes(file: Path) -> list[str]:
    try:
        with file.open(newline="", encoding="utf-8") as rows:
            codes = read_codes(csv.reader(rows))
    except (OSError, UnicodeError, csv.Error) as problem:
        raise InvalidInput(str(file), f"cannot be read: {problem}") from problem
    if not codes:
        raise InvalidInput(str(file), "holds no code")
    return codes
