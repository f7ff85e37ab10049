"""Export: all that a store holds about one customer, for the customer (a bundle of JSON and CSV)."""

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import privacy, tombstones
from adapters.postgres.privacy import Person
from adapters.postgres.tables import decisions, events, runs, suppressions
from adapters.postgres.tables import metadata as schema
from adapters.postgres.tenancy import as_store
from domain.errors import Unavailable

Rows = Sequence[Mapping[str, Any]]

_NAMES = {"customers": "profile"}
_OURS = {"store_id", "shard", "commands", "attempts", "retry_at", "error", "state"}
"""Columns of how events are handled, which say nothing about the customer."""


async def of_customer(engine: AsyncEngine, store_id: str, customer_id: UUID) -> dict[str, Rows]:
    """Read everything about a customer at one moment, by table.

    Raises:
        NotFound: The store has no such customer.
        Unavailable: The database does not answer.
    """
    at_one_moment = engine.execution_options(isolation_level="REPEATABLE READ")
    try:
        async with as_store(at_one_moment, store_id) as connection:
            who = await privacy.person(connection, store_id, customer_id)
            found = {table.name: await _rows(connection, store_id, table, who) for table in _tables()}
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable("the customer could not be exported now") from problem
    return {_NAMES.get(name, name): rows for name, rows in found.items()}


def bundle(exported: Mapping[str, Rows], now: datetime) -> bytes:
    """Pack an export: `customer.json` with everything, and for spreadsheets one CSV file for each table."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        whole = {"exported_at": now.isoformat(), **{name: list(rows) for name, rows in exported.items()}}
        _add(archive, "customer.json", json.dumps(whole, indent=2, default=_written, ensure_ascii=False), now)
        for name, rows in exported.items():
            if rows:
                _add(archive, f"{name}.csv", _csv(rows), now)
    return packed.getvalue()


def _tables() -> list[Table]:
    """Every table with a customer, whatever is added, and those that name one in another way."""
    others = [decisions, suppressions]
    return [table for table in schema.sorted_tables if "customer_id" in table.c or table in others]


async def _rows(connection: AsyncConnection, store_id: str, table: Table, who: Person) -> Rows:
    columns = [column for column in table.c if table is not events or column.name not in _OURS]
    query: Select[Any] = select(*(column for column in columns if column.name != "store_id"))
    query = query.where(table.c.store_id == store_id, _about(store_id, table, who)).order_by(*table.primary_key.columns)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def _about(store_id: str, table: Table, who: Person) -> ColumnElement[bool]:
    if table is suppressions:
        known = [spelling for address in who.values("email") for spelling in tombstones.spellings(store_id, address)]
        return suppressions.c.address.in_(known)
    if table is decisions:
        mine = and_(runs.c.store_id == store_id, runs.c.customer_id.in_(who.family))
        return decisions.c.run_id.in_(select(runs.c.run_id).where(mine))
    if table is events:
        return privacy.told_by(who)
    return table.c.customer_id.in_(who.family)


def _csv(rows: Rows) -> str:
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return written.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=_written)
    text = _written(value) if value is not None else ""
    # A spreadsheet would take this for a formula, and what a customer typed must not run on somebody's desk.
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} and isinstance(value, str) else text


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _add(archive: zipfile.ZipFile, name: str, content: str, now: datetime) -> None:
    file = zipfile.ZipInfo(name, now.timetuple()[:6])
    file.compress_type = zipfile.ZIP_DEFLATED
    file.external_attr = 0o600 << 16
    archive.writestr(file, content.encode("utf-8", "surrogatepass"))
