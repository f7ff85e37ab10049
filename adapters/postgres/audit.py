"""The audit log: what operators did, append-only."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import runs
from adapters.postgres.tables import audit
from adapters.postgres.tenancy import as_store
from domain.errors import Unavailable
from domain.operations import Note
from domain.runs import Outcome

_NAMESPACE = uuid.UUID("0d9a7d0e-6f0f-5c43-9a5b-617564697400")


async def write(
    connection: AsyncConnection,
    store_id: str,
    key: str,
    *,
    by: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    at: datetime,
) -> None:
    """Add an entry; the same `key` adds it once."""
    row = {"store_id": store_id, "audit_id": uuid.uuid5(_NAMESPACE, key), "at": at, "by": by, "action": action}
    await connection.execute(upsert(audit).values(**row, subject=subject, detail=dict(detail)).on_conflict_do_nothing())


class PostgresOperations:
    """Implements `domain.ports.Operations`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def note(self, note: Note, key: str, now: datetime) -> None:
        try:
            async with as_store(self._engine, note.store_id) as connection:
                detail = {"detail": note.detail}
                await write(
                    connection, note.store_id, key, by=note.by, action=note.action, subject=f"run:{note.run_id}",
                    detail=detail, at=now,
                )  # fmt: skip
                if note.action == "leave":
                    await runs.end(connection, note.store_id, note.run_id, Outcome.LEFT, note.detail, now)
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the operation could not be written down now") from problem
