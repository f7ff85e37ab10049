"""`journeys store`: the tenants, what each sets for all of its marketing, and what holds for all of its keys."""

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import sending_rules, stores
from adapters.postgres.keys import KeyStore
from adapters.postgres.tenancy import as_store
from cli.operate import DataDir, StoreId, by_whom, existing, on_database, system_now
from cli.stack.keys import DEMO_STORE
from domain.access import ADMIN_KEY, WRITE_KEY, origins
from domain.errors import InvalidInput
from domain.limits import Limit
from domain.message import StoreCard
from domain.quiet_hours import zone_of
from domain.sending_rules import RECOMMENDED, SendingRules, validated

store = typer.Typer(help="Stores: the tenants.", no_args_is_help=True)

PerSecond = Annotated[
    float | None, typer.Option(min=0.01, max=1_000_000, help="Events (or requests without any) in the long run.")
]
Burst = Annotated[int | None, typer.Option(min=1, max=10_000_000, help="So many at once.")]
_DATA_DIR = Path(".journeys")


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
    """Add a store with the recommended sending rules, and print a write key and an API key with all scopes for it."""
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
        keys, by = KeyStore(engine, system_now), by_whom()
        await stores.create(engine, card, system_now(), by=by, timezone=timezone)
        async with as_store(engine, store_id) as connection:
            await sending_rules.put(connection, store_id, RECOMMENDED, by, system_now())
        write_key, admin_key = [await keys.create(store_id, grant, by=by) for grant in (WRITE_KEY, ADMIN_KEY)]
        return write_key.secret, admin_key.secret

    write_key, admin_key = on_database(create, data_dir)
    typer.echo(json.dumps({"store": store_id, "write_key": write_key, "admin_key": admin_key}))
    typer.echo("The keys are not shown again.", err=True)


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


@store.command("origins")
def set_origins(
    allowed: Annotated[
        list[str] | None, typer.Argument(help="Such as https://shop.example; none shows them.", metavar="[ORIGIN]...")
    ] = None,
    anywhere: Annotated[bool, typer.Option("--any", help="Take the list away: any page may use the keys.")] = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Show or replace the list of pages on which browsers may use a store's write keys."""
    if allowed and anywhere:
        raise InvalidInput("origins", "are either listed or --any")
    wanted = list(origins(allowed)) if allowed else None

    async def act(engine: AsyncEngine) -> list[str] | None:
        if allowed or anywhere:
            await stores.set_origins(engine, store_id, wanted, system_now(), by=by_whom())
        return await stores.origins(engine, store_id)

    listed = on_database(act, data_dir)
    typer.echo("any page" if listed is None else "\n".join(listed))


@store.command("limit")
def set_limit(
    per_second: PerSecond = None,
    burst: Burst = None,
    default: Annotated[bool, typer.Option("--default", help="Take the store's own limit away.")] = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Set what each key of a store may take, unless the key has a limit of its own (`key limit`)."""
    limit = limit_of(per_second, burst, none=default)
    on_database(lambda engine: stores.set_limit(engine, store_id, limit, system_now(), by=by_whom()), data_dir)
    typer.echo(f"each key of {store_id}: {told(limit)}")


def limit_of(per_second: float | None, burst: int | None, *, none: bool) -> Limit | None:
    """Read the options of a limit.

    Raises:
        InvalidInput: They are neither a limit nor the wish for none.
    """
    if none and per_second is None and burst is None:
        return None
    if none or per_second is None or burst is None:
        raise InvalidInput("limit", "needs --per-second and --burst, or --default alone")
    return Limit(per_second=per_second, burst=burst)


def told(limit: Limit | None) -> str:
    """Say a limit in words."""
    return "the default" if limit is None else f"{limit.per_second:g} a second, {limit.burst} at once"


def _settings(source: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source[1:]).read_text() if source[:1] == "@" else source
        return TypeAdapter(dict[str, Any]).validate_json(text)
    except OSError as problem:
        raise InvalidInput("rules", f"{problem.filename}: {problem.strerror}") from problem
    except ValidationError as problem:
        example = json.dumps({"quiet_hours": {"email": {"start": "21:00", "end": "08:00"}}})
        raise InvalidInput("rules", f"must be a JSON object, such as {example}") from problem
