"""The commands that act on a database: the one of DATABASE_URL, else that of the stack running beside them."""

import asyncio
import getpass
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import audit, queue
from adapters.postgres.engine import create_engine
from adapters.postgres.tables import stores
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from cli.stack import local
from cli.stack.keys import DEMO_STORE
from domain.errors import ConfigurationError, NotFound, Unavailable
from domain.operations import Operator

T = TypeVar("T")

events = typer.Typer(help="Events that were given up.", no_args_is_help=True)

StoreId = Annotated[str, typer.Option("--store", envvar="JOURNEYS_STORE", help="The store.")]
DataDir = Annotated[Path, typer.Option(help="Of the stack that runs beside, unless DATABASE_URL is set.")]
_DATA_DIR = Path(".journeys")


def migrate() -> None:
    """Bring the database of DATABASE_URL to the newest tables; safe to repeat, and from several places at once."""
    settings = Settings()
    _ = settings.sqlalchemy_url  # says what is wrong with the setting, if anything is
    local.migrated(settings.database_url)


@events.command("parked")
def parked_events(store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR) -> None:
    """List the events that were given up after their retries, and why."""

    async def read(engine: AsyncEngine) -> list[queue.Parked]:
        await existing(engine, store_id)
        return await queue.parked(engine, store_id)

    found = on_database(read, data_dir)
    if not found:
        typer.echo("no event is parked", err=True)
        return
    for event in found:
        typer.echo(f"{event.id}  {event.received_at:%Y-%m-%d %H:%M:%S}  {event.attempts} attempts  {event.name or '-'}")
        typer.echo(f"    {event.error}")


@events.command("retry")
def retry_events(
    event_id: Annotated[UUID | None, typer.Option("--id", help="Only this one.")] = None,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Put parked events back into the queue."""

    async def retry(engine: AsyncEngine) -> int:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            count = await queue.put_back(connection, store_id, event_id)
            if event_id is not None and not count:
                raise NotFound(f"no event {event_id} is parked in store {store_id!r}")
            if count:
                await note(connection, store_id, "events_retried", "events", {"count": count})
        return count

    count = on_database(retry, data_dir)
    typer.echo(f"{count} event{'' if count == 1 else 's'} back in the queue")


def on_database(act: Callable[[AsyncEngine], Awaitable[T]], data_dir: Path) -> T:
    """Do something with the database.

    Raises:
        ConfigurationError: There is no database to be found, or it lacks our tables.
        Unavailable: It does not answer.
    """
    url = Settings().database_url or local.running(data_dir).database_url

    async def run() -> T:
        engine = create_engine(Settings(database_url=url).sqlalchemy_url, pool_size=2)
        try:
            return await act(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except ProgrammingError as problem:
        raise ConfigurationError(f"the database lacks our tables; run `journeys migrate` ({problem.orig})") from problem
    except (OperationalError, InterfaceError) as problem:
        raise Unavailable(f"the database does not answer: {problem.orig}") from problem


async def existing(engine: AsyncEngine, store_id: str) -> None:
    """Make sure that there is such a store.

    Raises:
        NotFound: There is not.
    """
    async with as_store(engine, store_id) as connection:
        if not await connection.scalar(select(stores.c.store_id).where(stores.c.store_id == store_id)):
            raise NotFound(f"there is no store {store_id!r}")


async def note(
    connection: AsyncConnection, store_id: str, action: str, subject: str, detail: Mapping[str, Any]
) -> None:
    """Write down what whoever sits at this terminal does, where the change itself does not."""
    await audit.write(
        connection, store_id, by=by_whom(), action=action, subject=subject, detail=detail,
        at=system_now(),
    )  # fmt: skip


def by_whom() -> Operator:
    """Name who sits at this terminal, as far as an audit log may know it."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number that has no name
        user = str(os.getuid())
    return "cli:" + re.sub(r"[^A-Za-z0-9._-]", "_", user)[:50]


def system_now() -> datetime:
    """Tell the time of this machine."""
    return datetime.now(UTC)
