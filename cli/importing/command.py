"""`journeys import`: take a shop's customers in from a file, as quickly as Postgres takes them."""

import asyncio
import csv
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters import garbage
from adapters.postgres import imports
from adapters.postgres.import_lines import Block
from adapters.postgres.imports import CustomerImport
from adapters.postgres.ingest import EventStore
from adapters.postgres.retention_policies import KeptAddresses
from api.envelope import Arrival, moment
from cli.importing.preparing import BadRow, block_of, events_of, understood_rows
from cli.importing.reading import CustomerFile, Row
from cli.operate import DataDir, StoreId, by_whom, existing, on_database, system_now
from cli.stack.keys import DEMO_STORE

_DATA_DIR = Path(".journeys")
_AT_ONCE = 2_000
_SHOWN = 10

Share = tuple[list[Row], int]
"""Rows that are taken in together, and how many bytes of the file have been read by then."""
Preparation = tuple[Block, list[BadRow]]
Prepared = Future[Preparation]
Bar = Callable[[int, imports.Progress], None]
"""Shows how far an import is."""


def import_customers(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV with a header, or JSON lines; plain or gzipped.")
    ],
    as_of: Annotated[
        str | None, typer.Option(help="When the file was true, for rows without `timestamp`. [default: now]")
    ] = None,
    bad_rows: Annotated[Path | None, typer.Option("--bad", help="Write line, field and rule of each bad row.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that read rows.")] = os.cpu_count() or 1,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Import customers and what they allow; an interrupted import of the same file goes on where it was.

    Each row means what an `identify` event with its fields means. Exit code 1 if a row was bad; the others are in.
    """
    source = CustomerFile(file)
    begun_at = system_now()
    since = moment("as-of", as_of) or begun_at
    found: list[BadRow] = []

    async def act(engine: AsyncEngine) -> imports.Progress:
        await existing(engine, store_id)
        with _shown(source) as bar:
            return await _import(engine, store_id, source, min(since, begun_at), jobs, found, bar)

    try:
        done = on_database(act, data_dir)
    finally:
        _report(found, bad_rows)
    typer.echo(
        f"{done.rows:,} rows: {done.new:,} new customers, {done.known:,} known already, {done.told:,} told as events, "
        f"{done.bad:,} bad"
    )
    if done.bad:
        raise typer.Exit(1)


async def _import(
    engine: AsyncEngine, store_id: str, source: CustomerFile, as_of: datetime, jobs: int, found: list[BadRow], bar: Bar
) -> imports.Progress:
    importing = CustomerImport(engine, store_id, await asyncio.to_thread(source.fingerprint))
    progress = await importing.begin(as_of, system_now())
    if progress.line:
        typer.echo(f"going on behind line {progress.line:,}", err=True)
    arrival = Arrival(store_id=store_id, received_at=progress.as_of)
    door = EventStore(engine)
    whole = await KeptAddresses(engine).whole(store_id)
    prepare = partial(block_of, header=source.header, arrival=arrival, whole_addresses=whole)

    # Not by fork: this process has threads by now. Thousands of rows are read at a time, and the collector would go
    # through what is known of them again and again.
    spawned = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawned, initializer=garbage.never_look) as pool:
        for (rows, read), prepared in _ahead(pool, _shares(source, progress.line), prepare, jobs):
            block, bad = await asyncio.wrap_future(prepared)
            by_line = {row.line: row for row in rows}

            async def tell(lines: Sequence[int], by_line: dict[int, Row] = by_line) -> None:
                again = [by_line[line] for line in lines]
                told, _ = understood_rows(again, source.header, arrival, whole_addresses=whole)
                now = Arrival(store_id=store_id, received_at=system_now())
                await door.accept([event for row in told for event in events_of(row, now)])

            progress = await importing.take(block, progress, tell, system_now())
            found += bad
            bar(read, progress)
    await importing.finish(progress, system_now(), by=by_whom())
    return progress


def _shares(source: CustomerFile, after: int) -> Iterator[Share]:
    rows = source.rows(after)
    while share := list(islice(rows, _AT_ONCE)):
        yield [row for row, _ in share], share[-1][1]


def _ahead(
    pool: ProcessPoolExecutor, shares: Iterator[Share], prepare: Callable[[list[Row]], Preparation], jobs: int
) -> Iterator[tuple[Share, Prepared]]:
    """Have shares prepared while others are taken in, in their order and never many at once."""
    under_way: deque[tuple[Share, Prepared]] = deque()
    for share in shares:
        under_way.append((share, pool.submit(prepare, share[0])))
        if len(under_way) > 2 * jobs:
            yield under_way.popleft()
    yield from under_way


@contextmanager
def _shown(source: CustomerFile) -> Iterator[Bar]:
    """Show how much of the file is in, on standard error, to whoever watches."""
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=source.size)

        def show(read: int, so_far: imports.Progress) -> None:
            progress.update(task, completed=read, description=f"{so_far.rows:,} rows, {so_far.bad:,} bad")

        yield show


def _report(found: Sequence[BadRow], path: Path | None) -> None:
    for bad in found[:_SHOWN]:
        typer.echo(f"line {bad.line}: {bad.field}: {bad.rule}", err=True)
    if len(found) > _SHOWN:
        typer.echo(f"and {len(found) - _SHOWN:,} more" + ("; see --bad FILE" if path is None else ""), err=True)
    if path is not None:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([BadRow._fields, *found])
