"""`journeys dkim`: the keys with which a store signs its mail."""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Literal

import dns.asyncresolver
import typer
from dns.resolver import NoResolverConfiguration
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.dkim_keys import DkimKeys, KeptKey
from adapters.settings import Settings
from cli.doctor.sender import amiss
from cli.operate import DataDir, StoreId, by_whom, existing, on_database, system_now
from cli.stack.keys import DEMO_STORE
from domain.errors import InvalidInput, NotFound, OperationRefused, Unavailable

dkim = typer.Typer(help="The keys with which a store signs its mail.", no_args_is_help=True)

Domain = Annotated[str, typer.Option(help="Of the store's sender, or one above it.")]
Selector = Annotated[str, typer.Option(help="Which of the domain's keys; a new one for each key.")]
_DATA_DIR = Path(".journeys")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"


@dkim.command("create")
def create_key(
    domain: Domain,
    selector: Selector,
    kind: Annotated[
        Literal["rsa", "ed25519"], typer.Option(help="Every server knows rsa; ed25519 is shorter.")
    ] = "rsa",
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Make a key and print the DNS record to publish; it signs once it is started."""
    for name, value, pattern in (
        ("domain", domain, rf"{_LABEL}(?:\.{_LABEL})+"),
        ("selector", selector, rf"{_LABEL}(?:\.{_LABEL})*"),
    ):
        if not re.fullmatch(pattern, value):
            raise InvalidInput(name, "must be a name in DNS, in lower case (an international domain as xn--…)")
    masters = Settings().master_secrets()
    algorithm: Literal["rsa-sha256", "ed25519-sha256"] = "rsa-sha256" if kind == "rsa" else "ed25519-sha256"
    made = on_database(
        lambda engine: DkimKeys(engine, masters).make(
            store_id, domain, selector, algorithm, system_now(), by=by_whom()
        ),
        data_dir,
    )
    _print_record(made)
    start = f"journeys dkim start --store {store_id} --domain {domain} --selector {selector}"
    typer.echo(f"Publish this TXT record, then: {start}", err=True)


@dkim.command("list")
def list_keys(store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR) -> None:
    """List a store's keys with the records that belong into DNS."""
    found = on_database(lambda engine: DkimKeys(engine, ()).of(store_id), data_dir)
    for key in found:
        since = f"signs since {key.signs_since:%Y-%m-%d %H:%M} UTC" if key.signs_since else "does not sign"
        typer.echo(f"{key.domain}  {key.selector}  {key.algorithm}  {since}")
        _print_record(key)
    if not found:
        typer.echo("no key; the mail server may sign instead (docs/operating.md)", err=True)


@dkim.command("start")
def start_key(
    domain: Domain,
    selector: Selector,
    store_id: StoreId = DEMO_STORE.store_id,
    unchecked: Annotated[bool, typer.Option(help="Even if its record cannot be found in DNS from here.")] = False,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Sign with a key from now on, instead of the one of its kind that did; its record must stand in DNS."""
    keys = on_database(lambda engine: DkimKeys(engine, ()).of(store_id), data_dir)
    key = next((key for key in keys if (key.domain, key.selector) == (domain, selector)), None)
    if key is None:
        raise NotFound(f"store {store_id!r} has no key {selector!r} for {domain}")
    if not unchecked:
        asyncio.run(_insist_on_record(key))
    now = system_now()
    on_database(lambda engine: DkimKeys(engine, ()).start(store_id, domain, selector, now, by=by_whom()), data_dir)
    typer.echo(f"mail of {store_id!r} from {domain} is signed with {selector!r}; workers notice within a minute")


@dkim.command("forget")
def forget_key(
    domain: Domain, selector: Selector, store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR
) -> None:
    """Destroy a key: nothing is signed with it any more. Leave its record in DNS for a week, for mails under way."""

    async def forget(engine: AsyncEngine) -> None:
        await existing(engine, store_id)
        await DkimKeys(engine, ()).forget(store_id, domain, selector, system_now(), by=by_whom())

    on_database(forget, data_dir)
    typer.echo(f"forgot {selector!r} for {domain}")


async def _insist_on_record(key: KeptKey) -> None:
    """Make sure that readers' servers find a key's record.

    Raises:
        OperationRefused: They do not.
        Unavailable: DNS cannot be asked from here.
    """
    try:
        resolver = dns.asyncresolver.Resolver()
        resolver.lifetime = 10.0
        why = await amiss(resolver, key)
    except (Unavailable, NoResolverConfiguration) as problem:
        raise Unavailable("DNS could not be asked; --unchecked starts the key nevertheless") from problem
    if why is not None:
        raise OperationRefused(f"{why}; publish as its one TXT record: {key.record}")


def _print_record(key: KeptKey) -> None:
    typer.echo(f"{key.name}. IN TXT {' '.join(_quoted(key.record))}")


def _quoted(record: str) -> list[str]:
    """Write a record as zone files want it: strings of at most 255 characters (RFC 1035 §3.3.14)."""
    return [f'"{record[n : n + 255]}"' for n in range(0, len(record), 255)]
