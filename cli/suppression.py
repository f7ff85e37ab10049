"""`journeys suppression`: the addresses that get nothing, and why."""

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import typer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import audit, suppressions
from adapters.postgres.suppressions import Reason, Suppression
from adapters.postgres.tenancy import as_store
from cli.operate import DataDir, StoreId, by_whom, existing, on_database, system_now
from cli.stack.keys import DEMO_STORE
from domain.errors import InvalidInput, NotFound

suppression = typer.Typer(help="Addresses that get nothing, and why.", no_args_is_help=True)

ReasonName = Literal["unsubscribed", "bounced", "complained", "manual", "imported"]
Address = Annotated[str, typer.Argument(help="The e-mail address.")]
_DATA_DIR = Path(".journeys")
_OURS: tuple[Reason, ...] = ("bounced", "manual", "imported")


@suppression.command("list")
def list_suppressions(
    store_id: StoreId = DEMO_STORE.store_id,
    reason: Annotated[ReasonName | None, typer.Option(help="Only those.")] = None,
    address: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """List the suppressions in force, newest first."""

    async def read(engine: AsyncEngine) -> list[Suppression]:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            return list(await suppressions.listed(connection, store_id, system_now(), reason, address))

    found = on_database(read, data_dir)
    for one in found:
        until = f"until {one.expires_at:%Y-%m-%d}" if one.expires_at else "for good"
        typer.echo(f"{one.address}  {one.reason}  since {one.at:%Y-%m-%d}  {until}  {one.detail}".rstrip())
    if not found:
        typer.echo("no address is suppressed", err=True)


@suppression.command("add")
def add_suppression(
    address: Address,
    store_id: StoreId = DEMO_STORE.store_id,
    days: Annotated[int | None, typer.Option(min=1, help="For so long; for good if not given.")] = None,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Send nothing more to an address, from this moment on."""
    count = on_database(lambda engine: _suppress(engine, store_id, [_checked(address)], "manual", days), data_dir)
    typer.echo(f"{count} suppressed")


@suppression.command("import")
def import_suppressions(
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="One address a line, or a CSV.")],
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Suppress the addresses of a file: an earlier provider's list."""
    addresses = sorted(set(addresses_of(path)))
    if not addresses:
        raise InvalidInput("path", "no e-mail address stands in that file")
    count = on_database(lambda engine: _suppress(engine, store_id, addresses, "imported", None), data_dir)
    typer.echo(f"{count} suppressed")


@suppression.command("remove")
def remove_suppression(
    address: Address,
    store_id: StoreId = DEMO_STORE.store_id,
    complaint: Annotated[bool, typer.Option(help="Take back a complaint too; only if the customer asks.")] = False,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Let mail go to an address again. An unsubscribe stays: only the customer takes that back."""
    reasons: tuple[Reason, ...] = (*_OURS, "complained") if complaint else _OURS

    async def remove(engine: AsyncEngine) -> list[str]:
        await existing(engine, store_id)
        async with as_store(engine, store_id) as connection:
            lifted = await suppressions.lift(connection, store_id, _checked(address), reasons)
            if lifted:
                await _note(connection, store_id, "unsuppress", {"reasons": lifted}, system_now())
            return lifted

    lifted = on_database(remove, data_dir)
    if not lifted:
        raise NotFound("no such suppression; an unsubscribe or a complaint is the customer's")
    typer.echo(f"lifted: {', '.join(lifted)}")


def addresses_of(path: Path) -> Iterator[str]:
    """Read the addresses of a file: in each line the first cell that is one."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for row in csv.reader(file):
            found = next((cell.strip().lower() for cell in row if _plausible(cell.strip())), None)
            if found is not None:
                yield found


def _plausible(text: str) -> bool:
    local, _, host = text.rpartition("@")
    return bool(local) and "." in host and not any(c.isspace() or c in "<>\"'," for c in text)


def _checked(address: str) -> str:
    if not _plausible(address):
        raise InvalidInput("address", "must be an e-mail address")
    return address.lower()


async def _suppress(engine: AsyncEngine, store_id: str, addresses: list[str], reason: Reason, days: int | None) -> int:
    await existing(engine, store_id)
    now = system_now()
    until = None if days is None else now + timedelta(days=days)
    async with as_store(engine, store_id) as connection:
        for address in addresses:
            await suppressions.suppress(connection, store_id, address, reason, now, expires_at=until)
        await _note(connection, store_id, "suppress", {"count": len(addresses), "reason": reason, "days": days}, now)
    return len(addresses)


async def _note(
    connection: AsyncConnection, store_id: str, action: str, detail: dict[str, object], now: datetime
) -> None:
    """Write down that it was done, but not to whom (G8)."""
    await audit.write(
        connection, store_id, str(uuid4()), by=by_whom(), action=action, subject="suppressions", detail=detail, at=now
    )
