"""An export holds all that an erasure would take away, and nothing of anybody else."""

import csv
import io
import json
import zipfile
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import export, suppressions
from adapters.postgres.ingest import EventStore
from adapters.postgres.tables import metadata
from adapters.postgres.tenancy import as_store
from domain.errors import NotFound
from domain.events import Who
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import SteppedClock
from worker.router import Router

ADA = Who(user_id="ada-1815", anonymous_id="browser-1815", email="ada@example.com")


class Nobody:
    async def execute(self, store_id: str, command: object) -> bool:
        return True


@pytest.fixture
async def exported(mugs: Telling, engine: AsyncEngine) -> dict[str, export.Rows]:
    """The export of a customer who bought, beside one who did as well."""
    for who in (ADA, Who(user_id="bob", email="bob@example.com")):
        line = {"product_id": "cup", "price": 5}
        told = [
            mugs.event(None, START, who, "identify", email=who.email, firstName="=CMD(1)", marketing_consent=True),
            mugs.event("Order Completed", START, who, order_id=f"of-{who.user_id}", products=[line]),
            mugs.event("Product Added", START, who, **line),
        ]  # fmt: skip
        await EventStore(engine).accept(told)
    await Router(engine, Nobody(), SteppedClock(START + timedelta(hours=1))).route_everything()
    async with as_store(engine, mugs.store_id) as connection:
        await suppressions.suppress(connection, mugs.store_id, "ada@example.com", "manual", START)
    await mugs.sent_message(await mugs.customer("ada-1815"), START)
    return await export.of_customer(engine, mugs.store_id, await mugs.customer("ada-1815"))


async def test_an_export_holds_everything_about_the_customer_and_nothing_about_others(
    exported: dict[str, export.Rows],
) -> None:
    """Profile, identities, events, consents, orders, runs and messages."""
    text = json.dumps({name: list(rows) for name, rows in exported.items()}, default=str)
    filled = {name for name, rows in exported.items() if rows}

    assert filled >= {
        "profile",
        "identities",
        "events",
        "consents",
        "orders",
        "carts",
        "runs",
        "messages",
        "suppressions",
    }
    assert len(exported["events"]) == 3
    assert [row["email"] for row in exported["profile"]] == ["ada@example.com"]
    assert "bob" not in text


def test_every_table_with_a_customer_is_exported() -> None:
    """Whoever adds one adds it to the export."""
    with_customer = {table.name for table in metadata.tables.values() if "customer_id" in table.c}

    assert with_customer <= {table.name for table in export._tables()}


async def test_the_bundle_is_json_for_programs_and_csv_for_people(exported: dict[str, export.Rows]) -> None:
    """Both say the same; what a customer typed is not run as a formula by a spreadsheet."""
    with zipfile.ZipFile(io.BytesIO(export.bundle(exported, START))) as archive:
        whole = json.loads(archive.read("customer.json"))
        tables = {
            name: list(csv.DictReader(io.StringIO(archive.read(f"{name}.csv").decode())))
            for name in ("events", "profile")
        }

    assert whole["exported_at"] == START.isoformat()
    assert whole["profile"][0]["first_name"] == "=CMD(1)"
    assert tables["profile"][0]["first_name"] == "'=CMD(1)"
    assert [row["message_id"] for row in tables["events"]] == [row["message_id"] for row in whole["events"]]
    assert json.loads(tables["events"][0]["payload"]) == whole["events"][0]["payload"]


async def test_a_customer_who_does_not_exist_has_no_export(engine: AsyncEngine, mugs: Telling) -> None:
    """No empty file that looks like an answer."""
    with pytest.raises(NotFound):
        await export.of_customer(engine, mugs.store_id, UUID(int=1))
