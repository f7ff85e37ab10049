"""`journeys bounces` and `journeys provider`: what became of messages, from mail files, an LMTP intake and webhooks."""

import asyncio
import mailbox
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.bounces import read
from adapters.bounces.intake import Intake
from adapters.postgres import feedback
from adapters.postgres.ingest import EventStore
from adapters.postgres.provider_secrets import ProviderSecrets
from adapters.providers import sendgrid
from adapters.settings import Settings
from cli.operate import DataDir, StoreId, by_whom, existing, on_database, system_now
from cli.stack.keys import DEMO_STORE
from domain.errors import InvalidInput, NotFound

bounces = typer.Typer(help="Returned mail and complaints.", no_args_is_help=True)
provider = typer.Typer(help="What proves the webhooks of mail providers.", no_args_is_help=True)

ProviderName = Annotated[Literal["ses", "sendgrid", "mailgun", "postmark"], typer.Argument()]
_DATA_DIR = Path(".journeys")
_MAIL_SUFFIXES = {".eml", ".msg", ".mail", ""}


@bounces.command("import")
def import_bounces(
    path: Annotated[Path, typer.Argument(exists=True, help="A mail, an mbox, a Maildir, or a directory of mails.")],
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
    dry_run: Annotated[bool, typer.Option(help="Only say what the mails mean.")] = False,
) -> None:
    """Read returned mail and complaints; what was read before changes nothing."""
    kinds: Counter[str] = Counter()
    mails = unread = new = 0

    async def take(engine: AsyncEngine) -> None:
        nonlocal mails, unread, new
        await existing(engine, store_id)
        door = EventStore(engine)
        for raw in mails_of(path):
            told = read(raw)
            mails, unread = mails + 1, unread + (not told)
            kinds.update(one.kind for one in told)
            if not dry_run:
                new += await door.accept(await feedback.events(engine, store_id, told, system_now()))
        await door.close()

    on_database(take, data_dir)
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    typer.echo(f"{mails} mails: {said or 'nothing'}; {unread} not understood; {new} new for store {store_id!r}")


@bounces.command("serve")
def serve_bounces(
    host: Annotated[str, typer.Option(help="Where the mail server reaches us.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="LMTP (RFC 2033).")] = 8024,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Take returned mail by LMTP for `anything+STORE@anywhere`, until stopped."""

    async def serve(engine: AsyncEngine) -> None:
        async with Intake(engine, system_now, host, port) as intake:
            typer.echo(f"listening for LMTP on {host}:{intake.port}", err=True)
            await asyncio.Event().wait()

    on_database(serve, data_dir)


@provider.command("set")
def set_secret(
    name: ProviderName,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Add what proves a provider's webhooks, read from the standard input; see docs/bounces.md for what that is."""
    secret = typer.get_text_stream("stdin").readline().strip()
    if not secret:
        raise InvalidInput("secret", "must stand on the standard input")
    if name == "sendgrid":
        sendgrid.public_key(secret)
    if name == "postmark" and ":" not in secret:
        raise InvalidInput("secret", "must be user:password")
    masters = Settings().master_secrets()

    async def add(engine: AsyncEngine) -> None:
        await ProviderSecrets(engine, masters).add(store_id, name, secret, system_now, by=by_whom())

    on_database(add, data_dir)
    typer.echo(f"webhooks of {name} are taken at /webhooks/{name}/{store_id}")


@provider.command("forget")
def forget_secrets(name: ProviderName, store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR) -> None:
    """Forget what proves a provider's webhooks: they are refused from now on."""

    async def forget(engine: AsyncEngine) -> int:
        return await ProviderSecrets(engine, ()).forget(store_id, name, system_now, by=by_whom())

    count = on_database(forget, data_dir)
    if not count:
        raise NotFound(f"store {store_id!r} has no secret of {name}")
    typer.echo(f"{count} forgotten")


def mails_of(path: Path) -> Iterator[bytes]:
    """Read the mails of a file, an mbox, a Maildir or a directory, one after the other."""
    if path.is_dir():
        if (path / "cur").is_dir() and (path / "new").is_dir():
            for folder in ("new", "cur"):
                yield from (file.read_bytes() for file in sorted((path / folder).iterdir()) if file.is_file())
            return
        for file in sorted(path.rglob("*")):
            if file.is_file() and file.suffix.lower() in _MAIL_SUFFIXES and not file.name.startswith("."):
                yield file.read_bytes()
    elif path.suffix.lower() == ".mbox":
        box = mailbox.mbox(path, create=False)
        try:
            yield from (box.get_bytes(key) for key in box.iterkeys())
        finally:
            box.close()
    else:
        yield path.read_bytes()
