"""`journeys discounts`: the pools of codes that messages give away one by one."""

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import audit
from adapters.postgres import discounts as pools
from adapters.postgres.code_sources import CodeSource, CodeSources
from adapters.postgres.provider_secrets import ProviderSecrets
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from adapters.shops.codes import ShopCodes
from adapters.shops.signature import new_secret
from cli.operate import DataDir, StoreId, by_whom, existing, on_database
from cli.stack.keys import DEMO_STORE
from domain.discounts import MOST_AT_ONCE, CodeOrder, checked_url, read_codes
from domain.errors import InvalidInput, JourneysError, NotFound, Unavailable
from worker.supply import Supply

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
    _pool(pool)
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


@discounts.command("supply")
def supply_pool(
    pool: Annotated[str, typer.Argument(help="The pool, as `discount_pool` of a step names it.")],
    url: Annotated[str, typer.Argument(help="Where the shop takes orders.")],
    low: Annotated[int, typer.Option(min=1, max=100_000, help="Order when fewer codes than this are free.")] = 200,
    batch: Annotated[int, typer.Option(min=1, max=MOST_AT_ONCE, help="Codes per order.")] = 500,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Have a shop fill a pool before it runs low (docs/sending-rules.md); prints the first time what signs orders."""
    source, now = CodeSource(pool=_pool(pool), url=checked_url(url), low=low, batch=batch), datetime.now(UTC)
    masters = Settings().master_secrets()

    async def put(engine: AsyncEngine) -> str | None:
        await existing(engine, store_id)
        secrets, made = ProviderSecrets(engine, masters), None
        if not await secrets.of(store_id, "shop"):
            made = new_secret()
            await secrets.add(store_id, "shop", made, lambda: now, by=by_whom())
        await CodeSources(engine).put(store_id, source, now, by=by_whom())
        return made

    if (made := on_database(put, data_dir)) is not None:
        typer.echo(json.dumps({"store": store_id, "secret": made}))
    typer.echo(f"{pool} of {store_id} is filled by {url} when fewer than {low} codes are free", err=True)


@discounts.command("unsupply")
def unsupply_pool(
    pool: Annotated[str, typer.Argument(help="The pool.")],
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Ask the shop no more; the codes that are there stay."""
    now = datetime.now(UTC)
    if not on_database(lambda engine: CodeSources(engine).forget(store_id, pool, now, by=by_whom()), data_dir):
        raise NotFound(f"no shop fills {pool} of {store_id}")
    typer.echo(f"{pool} of {store_id} is filled by nobody any more")


@discounts.command("top-up")
def top_up_pools(store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR) -> None:
    """Fill the pools that run low now, as the worker does by itself."""
    masters, problems = Settings().master_secrets(), []

    def told(order: CodeOrder, what: int | JourneysError) -> None:
        if isinstance(what, JourneysError):
            problems.append(f"{order.pool}: {what}")
        else:
            typer.echo(f"{order.pool}: {what} codes added")

    async def fill(engine: AsyncEngine) -> None:
        await existing(engine, store_id)
        issuer = ShopCodes(ProviderSecrets(engine, masters), _now)
        await Supply(CodeSources(engine), issuer, _now).top_up(store_id, at_once=True, told=told)

    on_database(fill, data_dir)
    if problems:
        raise Unavailable("; ".join(problems))


@discounts.command("show")
def show_pools(
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Say how much is left of each pool, and how many messages wait for a code."""

    async def read(engine: AsyncEngine) -> tuple[list[pools.Pool], dict[str, CodeSource]]:
        await existing(engine, store_id)
        sources = {source.pool: source for source in await CodeSources(engine).of(store_id)}
        async with as_store(engine, store_id) as connection:
            known = {pool.pool: pool for pool in await pools.pools(connection, store_id)}
        return [known.get(name, pools.Pool(pool=name, free=0, given=0)) for name in sorted(known | sources)], sources

    shown, sources = on_database(read, data_dir)
    table = Table("pool", "free", "given", "waiting", "filled by")
    for pool in shown:
        free = str(pool.free) if pool.free else "[bold red]0: empty[/]"
        source = sources.get(pool.pool)
        shop = "" if source is None else escape(f"{source.url} ({source.problem})" if source.problem else source.url)
        table.add_row(pool.pool, free, str(pool.given), str(pool.waiting), shop)
    Console().print(table)


def _pool(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise InvalidInput("pool", "must be up to 40 of a-z, 0-9 and hyphens, and not begin with a hyphen")
    return name


def _now() -> datetime:
    return datetime.now(UTC)


def _codes(file: Path) -> list[str]:
    try:
        with file.open(newline="", encoding="utf-8") as rows:
            codes = read_codes(csv.reader(rows))
    except (OSError, UnicodeError, csv.Error) as problem:
        raise InvalidInput(str(file), f"cannot be read: {problem}") from problem
    if not codes:
        raise InvalidInput(str(file), "holds no code")
    return codes
