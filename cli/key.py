"""`journeys key`: make, list, rotate, limit and revoke what opens a store."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.keys import Key, KeyStore, NewKey
from cli.operate import DataDir, StoreId, by_whom, existing, on_database, system_now
from cli.stack.keys import DEMO_STORE
from cli.store import Burst, PerSecond, limit_of, told
from domain.access import Grant, Scope
from domain.errors import InvalidInput

key = typer.Typer(help="Keys that open one store.", no_args_is_help=True)

KeyId = Annotated[UUID, typer.Argument(help="As printed when the key was made, or by `key list`.")]
_DATA_DIR = Path(".journeys")


@key.command("create")
def create_key(
    kind: Annotated[
        Literal["write", "api"], typer.Argument(help="write: public, sends events. api: a secret, with scopes.")
    ],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What an API key may do; several times for several scopes.")
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for, in a line without an address.")] = "",
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Make a key and print it, this once."""
    try:
        grant = Grant(kind=kind, scopes=tuple(scope or ()), name=name)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise InvalidInput(".".join(map(str, first["loc"])) or "scope", first["msg"]) from problem
    new = on_database(lambda engine: KeyStore(engine, system_now).create(store_id, grant, by=by_whom()), data_dir)
    _show(store_id, new, kind=kind, scopes=[one.value for one in grant.scopes])


@key.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value instead of text.")] = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Show every key that a store ever had: what it may do, whether it works, and when it was last used."""

    async def read(engine: AsyncEngine) -> list[Key]:
        await existing(engine, store_id)
        return await KeyStore(engine, system_now).listed(store_id)

    found = on_database(read, data_dir)
    if as_json:
        print(TypeAdapter(list[Key]).dump_json(found, indent=2).decode())
        return
    for one in found:
        state = f"{one.state} until {_at(one.expires_at)}" if one.expires_at and one.state == "ending" else one.state
        may = ", ".join(one.scopes) or "sends events"
        limit = "" if one.limit is None else f"  {told(one.limit)}"
        print(f"{one.key_id}  {state}  {may}  last used {_at(one.last_used_at)}{limit}  {one.name}".rstrip())


@key.command("rotate")
def rotate_key(
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(help="For so long the old key still works; up to P90D.")] = "P1D",
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Make a key that opens the same, and let the old one end by itself after the overlap."""
    try:
        both = TypeAdapter(timedelta).validate_python(overlap)
    except ValidationError:
        raise InvalidInput("overlap", "must be an ISO 8601 duration such as P1D or PT2H") from None

    async def rotate(engine: AsyncEngine) -> NewKey:
        return await KeyStore(engine, system_now).rotate(store_id, key_id, both, by=by_whom())

    _show(store_id, on_database(rotate, data_dir), replaces=str(key_id))


@key.command("revoke")
def revoke_key(key_id: KeyId, store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR) -> None:
    """Make a key worthless; running servers notice within seconds."""
    on_database(lambda engine: KeyStore(engine, system_now).revoke(store_id, key_id, by=by_whom()), data_dir)
    typer.echo(f"revoked {key_id}")


@key.command("limit")
def limit_key(
    key_id: KeyId,
    per_second: PerSecond = None,
    burst: Burst = None,
    default: Annotated[bool, typer.Option("--default", help="Give it its store's limit again.")] = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Set what one key may take; running servers notice within seconds."""
    limit = limit_of(per_second, burst, none=default)
    on_database(lambda engine: KeyStore(engine, system_now).limit(store_id, key_id, limit, by=by_whom()), data_dir)
    typer.echo(f"{key_id}: {'the limit of its store' if limit is None else told(limit)}")


def _at(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _show(store_id: str, new: NewKey, **more: object) -> None:
    typer.echo(json.dumps({"store": store_id, **more, "id": str(new.key_id), "key": new.secret}))
    typer.echo("The key is not shown again; its id rotates and revokes it.", err=True)
