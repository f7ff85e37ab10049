"""`journeys privacy`: tell a customer all that is known, forget a customer, prove it, and change the master key."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.master_keys import MasterKeys
from adapters.postgres import export, reports
from adapters.postgres.customer_keys import CustomerKeys
from adapters.postgres.dkim_keys import DkimKeys
from adapters.postgres.provider_secrets import ProviderSecrets
from adapters.postgres.tenancy import as_store, every_store
from adapters.settings import Settings
from adapters.temporal.erasure import Erasure
from cli.operate import DataDir, StoreId, by_whom, existing, note, on_database, system_now
from cli.stack import keys
from cli.stack.keys import DEMO_STORE
from cli.temporal import connector, leave_with
from domain.errors import ConfigurationError, InvalidInput, NotFound
from domain.receipts import Notary

privacy = typer.Typer(help="Customers' rights, and the keys of what is encrypted.", no_args_is_help=True)

Customer = Annotated[
    str, typer.Argument(help="Our id, the shop's, a browser's, or an address.", metavar="CUSTOMER", show_default=False)
]
_DATA_DIR = Path(".journeys")


@privacy.command("export")
def export_customer(
    customer: Customer,
    output: Annotated[Path | None, typer.Option(help="Where to; by default CUSTOMER_ID.zip.", dir_okay=False)] = None,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Write all that is known about a customer to a ZIP file of JSON and CSV that only you can read."""

    async def act(engine: AsyncEngine) -> tuple[str, bytes]:
        await existing(engine, store_id)
        customer_id, _ = await reports.journeys_of(engine, store_id, customer)
        found = await export.of_customer(engine, store_id, customer_id)
        async with as_store(engine, store_id) as connection:
            await note(connection, store_id, "export", f"customer:{customer_id}", {})
        return str(customer_id), export.bundle(found, system_now())

    customer_id, packed = on_database(act, data_dir)
    file = output or Path(f"{customer_id}.zip")
    try:
        file.touch(0o600)
        file.chmod(0o600)
        file.write_bytes(packed)
    except OSError as problem:
        raise InvalidInput("--output", f"{file} cannot be written: {problem.strerror}") from problem
    print(file)


@privacy.command("erase")
def erase(
    customer: Customer,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: there is no way back.")] = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Forget a customer for good, and print a signed receipt; keep it."""
    notary = _notary(data_dir)

    async def act(engine: AsyncEngine) -> str:
        await existing(engine, store_id)
        customer_id, passages = await reports.journeys_of(engine, store_id, customer)
        asked = f"Erase customer {customer_id} of store {store_id} ({len(passages)} runs)? There is no way back"
        if not yes and not typer.confirm(asked, err=True):
            raise NotFound("nothing was erased")
        erasure = Erasure(engine, connector(data_dir, engine), notary, system_now)
        receipt = await erasure.erase(store_id, str(customer_id), by_whom())
        return receipt.model_dump_json(indent=2)

    def tell() -> int:
        print(on_database(act, data_dir))
        return 0

    leave_with(tell)


@privacy.command("verify")
def verify(
    receipt: Annotated[Path, typer.Argument(help="The receipt of an erasure.", exists=True, dir_okay=False)],
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Tell whether a receipt was signed here and is as it was; exit code 2 if not."""
    told = _notary(data_dir).verified(receipt.read_bytes())
    when = f"{told.erased_at:%Y-%m-%d %H:%M:%S} UTC"
    print(f"genuine: customer {told.customer_id} of store {told.store_id} was erased at {when}")


@privacy.command("rewrap")
def rewrap(data_dir: DataDir = _DATA_DIR) -> None:
    """Wrap every key and secret that is kept with the first of JOURNEYS_MASTER_KEYS, so that the others can go."""
    secrets = Settings().master_secrets()
    if not secrets:
        raise ConfigurationError("JOURNEYS_MASTER_KEYS is not set, so nothing is encrypted")

    async def anew(engine: AsyncEngine) -> int:
        others = await ProviderSecrets(engine, secrets).rewrap() + await DkimKeys(engine, secrets).rewrap()
        count = others + await CustomerKeys(engine, MasterKeys(secrets), system_now).rewrap()
        for store_id in await every_store(engine) if count else ():  # a master key is the installation's
            async with as_store(engine, store_id) as connection:
                await note(connection, store_id, "keys_rewrapped", "master-key", {"count": count})
        return count

    count = on_database(anew, data_dir)
    print(f"{count} keys wrapped anew; the first of JOURNEYS_MASTER_KEYS opens everything")


def _notary(data_dir: Path) -> Notary:
    """Sign with the secrets of the environment, else with those of the stack beside."""
    settings = Settings()
    if not settings.database_url and not settings.secret_keys.get_secret_value():
        try:
            known = keys.Keys.model_validate_json((data_dir / "keys.json").read_bytes())
        except (OSError, ValueError) as problem:
            raise ConfigurationError("JOURNEYS_SECRET_KEYS is not set, and no stack runs beside") from problem
        settings = settings.model_copy(update={"secret_keys": SecretStr(known.link_secret)})
    return Notary(settings.signing_secrets())
