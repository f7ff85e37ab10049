"""The commands that act on a database: the one of DATABASE_URL, else that of the stack running beside them."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from uuid import UUID

import typer
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import queue, sending_rules
from adapters.postgres.engine import create_engine
from adapters.postgres.stores import KeyStore
from adapters.postgres.tables import stores
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from cli.stack import local
from cli.stack.keys import DEMO_STORE
from domain.errors import ConfigurationError, InvalidInput, NotFound, Unavailable
from domain.message import StoreCard
from domain.quiet_hours import zone_of
from domain.sending_rules import RECOMMENDED

T = TypeVar("T")

store = typer.Typer(help="Stores: the tenants.", no_args_is_help=True)
key = typer.Typer(help="Keys that open one store.", no_args_is_help=True)
events = typer.Typer(help="Events that were given up.", no_args_is_help=True)

StoreId = Annotated[str, typer.Option("--store", envvar="JOURNEYS_STORE", help="The store.")]
DataDir = Annotated[Path, typer.Option(help="Of the stack that runs beside, unless DATABASE_URL is set.")]
_DATA_DIR = Path(".journeys")


def migrate() -> None:
    """Bring the database of DATABASE_URL to the newest tables; safe to repeat, and from several places at once."""
    settings = Settings()
    _ = settings.sqlalchemy_url  # says what is wrong with the setting, if anything is
    local.migrated(settings.database_url)


@store.command("create")
def create_store(
    store_id: Annotated[str, typer.Argument(help="Short, of a-z 0-9 and hyphens; it stands in every id.")],
    name: Annotated[str, typer.Option(help="As customers read it.")],
    url: Annotated[str, typer.Option(help="The shop's address.")],
    sender_email: Annotated[str, typer.Option(help="From whom mail comes.")],
    address: Annotated[str, typer.Option(help="The postal address that the law wants in every mail.")],
    sender_name: Annotated[str | None, typer.Option(help="Defaults to the name.")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217, for events that name none.")] = "USD",
    timezone: Annotated[str, typer.Option(help="IANA name.")] = "UTC",
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Add a store with the recommended sending rules, and print a write and an admin key for it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", store_id):
        raise InvalidInput("store_id", "must be up to 40 of a-z, 0-9 and hyphens, and not begin with a hyphen")
    if zone_of(timezone) != timezone:
        raise InvalidInput("timezone", f"{timezone!r} is no time zone; give an IANA name such as Europe/Berlin")
    card = StoreCard(
        store_id=store_id,
        name=name,
        url=url,
        currency=currency,
        sender_email=sender_email,
        sender_name=sender_name or name,
        address=address,
    )

    async def create(engine: AsyncEngine) -> tuple[str, str]:
        keys = KeyStore(engine, system_now)
        await keys.create_store(card, timezone)
        async with as_store(engine, store_id) as connection:
            await sending_rules.put(connection, store_id, RECOMMENDED, "cli:store-create", system_now())
        return (await keys.create_key(store_id, "write")).secret, (await keys.create_key(store_id, "admin")).secret

    write_key, admin_key = on_database(create, data_dir)
    typer.echo(json.dumps({"store": store_id, "write_key": write_key, "admin_key": admin_key}))
    typer.echo("The keys are not shown again.", err=True)


@key.command("create")
def create_key(
    kind: Annotated[Literal["write", "admin"], typer.Argument(help="write: sends events. admin: reads and changes.")],
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Make a key and print it, this once."""
    new = on_database(lambda engine: KeyStore(engine, system_now).create_key(store_id, kind), data_dir)
    typer.echo(json.dumps({"store": store_id, "kind": kind, "id": str(new.key_id), "key": new.secret}))
    typer.echo("The key is not shown again; its id revokes it.", err=True)


@key.command("revoke")
def revoke_key(
    key_id: Annotated[UUID, typer.Argument(help="As printed when the key was made.")],
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Make a key worthless; running servers notice within seconds."""
    on_database(lambda engine: KeyStore(engine, system_now).revoke(store_id, key_id), data_dir)
    typer.echo(f"revoked {key_id}")


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
        count = await queue.retry(engine, store_id, event_id)
        if event_id is not None and not count:
            raise NotFound(f"no event {event_id} is parked in store {store_id!r}")
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
        engine = create_engine(Settings(database_url=url).sqlalchemy_url, pool_size=1)
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


def system_now() -> datetime:
    """Tell the time of this machine."""
    return datetime.now(UTC)
