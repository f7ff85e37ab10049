"""The command: which checks there are, and how their findings are shown."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import dns.asyncresolver
import typer
from dns.resolver import NoResolverConfiguration
from pydantic import SecretStr
from rich.console import Console
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.channels.smtp_url import SmtpServer
from adapters.postgres.dkim_keys import DkimKeys
from adapters.postgres.engine import create_engine
from adapters.postgres.tables import stores
from adapters.postgres.tenancy import across_stores
from adapters.settings import Settings
from adapters.temporal.client import connect
from cli.doctor.database import check_database
from cli.doctor.finding import Check, Finding, Level, examined, ok, problem, warning
from cli.doctor.mail import check_mail_server
from cli.doctor.sender import Sender, check_sender
from cli.doctor.settings import check_settings, read_settings
from cli.doctor.temporal import check_temporal
from cli.operate import DataDir, system_now
from cli.stack import local
from cli.stack.keys import Keys
from cli.temporal import leave_with
from domain.errors import ConfigurationError

_DATA_DIR = Path(".journeys")
_PATIENCE_S = 15.0
_DNS_PATIENCE_S = 4.0
_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array instead of lines.")] = False,
    store_id: Annotated[str | None, typer.Option("--store", help="Look at the sender of this store only.")] = None,
    selector: Annotated[list[str] | None, typer.Option(help="A DKIM selector of whoever signs for you.")] = None,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Check every part, setting and DNS record, and say what mends what is wrong; exit code 1 for a problem.

    It sends no mail and changes nothing. Without DATABASE_URL it looks at the stack that runs beside.
    """

    def run() -> int:
        found = asyncio.run(_diagnosis(data_dir, store_id, tuple(selector or ())))
        if as_json:
            print(json.dumps([finding.model_dump() for finding in found], indent=2))
        else:
            _show(found)
        return 1 if any(finding.level is Level.PROBLEM for finding in found) else 0

    leave_with(run)


async def _diagnosis(data_dir: Path, store_id: str | None, selectors: Sequence[str]) -> list[Finding]:
    settings, found = read_settings()
    if settings is None:
        return [*found, warning("the rest", "was not looked at", "mend the settings first")]
    address = "localhost:7233"
    if not settings.database_url:
        try:
            settings, address = _beside(settings, data_dir)
        except ConfigurationError as error:
            nothing = "set DATABASE_URL and the other settings (README.md), or start journeys dev"
            return [problem("DATABASE_URL", str(error), nothing)]
        found.append(ok("settings", f"those of the stack that runs on {data_dir}"))
    found += check_settings(settings)
    checks: dict[str, Check] = {"temporal": partial(check_temporal, partial(connect, address=address), settings)}
    try:
        url = settings.psycopg_url
    except ConfigurationError:
        return [*found, *await examined(checks, _PATIENCE_S)]
    checks = {"postgres": partial(check_database, url, system_now), **checks}
    with contextlib.suppress(ConfigurationError):  # the settings' check has said so
        checks["smtp"] = partial(check_mail_server, SmtpServer.from_url(settings.smtp_url))
    checks["dns"] = partial(_senders, settings, store_id, selectors)
    return [*found, *await examined(checks, _PATIENCE_S)]


def _beside(settings: Settings, data_dir: Path) -> tuple[Settings, str]:
    """Return the settings of the stack that runs beside, and where its Temporal is."""
    stack = local.running(data_dir)
    kept = Keys.model_validate_json((data_dir / "keys.json").read_bytes())
    its_own = {"database_url": stack.database_url, "smtp_url": stack.smtp, "public_url": stack.api}
    secret = settings.secret_keys if settings.secret_keys.get_secret_value() else SecretStr(kept.link_secret)
    return settings.model_copy(update={**its_own, "secret_keys": secret}), stack.temporal_address


async def _senders(settings: Settings, store_id: str | None, selectors: Sequence[str]) -> list[Finding]:
    """Check the sender of each store."""
    engine = create_engine(settings.sqlalchemy_url, pool_size=1)
    try:
        senders = await _all_senders(engine, settings, store_id, selectors)
    except (SQLAlchemyError, OSError):
        return [warning("dns", "the stores could not be read", "mend the database first")]
    finally:
        await engine.dispose()
    if not senders:
        return [warning("dns", "there is no such store", "journeys store create")]
    try:
        resolver = dns.asyncresolver.Resolver()
    except NoResolverConfiguration:
        return [warning("dns", "DNS could not be asked: this machine names no server", "see /etc/resolv.conf")]
    resolver.lifetime = _DNS_PATIENCE_S
    checks: dict[str, Check] = {f"dns {sender.store_id}": partial(check_sender, resolver, sender) for sender in senders}
    return await examined(checks, _PATIENCE_S)


async def _all_senders(
    engine: AsyncEngine, settings: Settings, store_id: str | None, selectors: Sequence[str]
) -> list[Sender]:
    query = select(stores.c.store_id, stores.c.sender_email).order_by(stores.c.store_id)
    if store_id is not None:
        query = query.where(stores.c.store_id == store_id)
    async with across_stores(engine) as connection:
        rows = (await connection.execute(query)).all()
    keys = DkimKeys(engine, ())
    bounces = settings.bounce_address and _host(settings.bounce_address)
    return [
        Sender(
            store_id=row.store_id,
            host=_host(row.sender_email),
            returns_to=bounces or _host(row.sender_email),
            keys=tuple(await keys.of(row.store_id)),
            selectors=tuple(selectors),
        )
        for row in rows
    ]


def _host(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _show(found: Sequence[Finding]) -> None:
    console = Console(highlight=False)
    for finding in found:
        mark = f"[{_COLOURS[finding.level]}]{finding.level:<8}[/]"
        console.print(f"{mark} [bold]{finding.check}[/]: ", end="", soft_wrap=True)
        console.print(finding.said, markup=False, soft_wrap=True)
        if finding.fix:
            console.print(f"         → {finding.fix}", markup=False, soft_wrap=True)
    counts = {level: sum(finding.level is level for finding in found) for level in Level}
    console.print(f"{counts[Level.PROBLEM]} problems, {counts[Level.WARNING]} warnings, {counts[Level.OK]} ok")
