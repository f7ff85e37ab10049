"""The audit log: what operators did, append-only. Nothing here changes an entry, and the database refuses it too."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import runs
from adapters.postgres.tables import audit
from adapters.postgres.tenancy import as_store
from domain.errors import Unavailable
from domain.operations import Note
from domain.runs import Outcome
from domain.values import UtcTime, Value

MAX_ENTRIES = 500
"""Entries that are read at once."""
_NAMESPACE = uuid.UUID("0d9a7d0e-6f0f-5c43-9a5b-617564697400")


class Entry(Value):
    """One thing that was done.

    Attributes:
        by: `key:…` of an API key, `cli:…` of a user of a shell, `system:…` of a process.
        subject: What it was done to, such as `key:…`, `journey:…`, `run:…`, `store:…`.
    """

    audit_id: UUID
    at: UtcTime
    by: str
    action: str
    subject: str
    detail: dict[str, Any]


async def write(
    connection: AsyncConnection,
    store_id: str,
    key: str | None = None,
    *,
    by: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    at: datetime,
) -> None:
    """Add an entry; the same `key` adds it once, and without one it is always another."""
    audit_id = uuid.uuid4() if key is None else uuid.uuid5(_NAMESPACE, key)
    row = {"store_id": store_id, "audit_id": audit_id, "at": at, "by": by, "action": action}
    await connection.execute(upsert(audit).values(**row, subject=subject, detail=dict(detail)).on_conflict_do_nothing())


async def listed(
    engine: AsyncEngine,
    store_id: str,
    *,
    action: str | None = None,
    subject: str | None = None,
    before: UUID | None = None,
    limit: int = 100,
) -> list[Entry]:
    """Read a store's entries, newest first.

    Args:
        engine: The database.
        store_id: Whose they are.
        action: Only those.
        subject: Only those about it.
        before: Only those older than this one: where the last reading ended.
        limit: So many at most.

    Raises:
        Unavailable: They cannot be read now.
    """
    query = select(audit).where(audit.c.store_id == store_id)
    if action is not None:
        query = query.where(audit.c.action == action)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if before is not None:
        last = select(audit.c.at, audit.c.audit_id).where(audit.c.store_id == store_id, audit.c.audit_id == before)
        query = query.where(tuple_(audit.c.at, audit.c.audit_id) < last.scalar_subquery())
    query = query.order_by(audit.c.at.desc(), audit.c.audit_id.desc()).limit(min(limit, MAX_ENTRIES))
    try:
        async with as_store(engine, store_id) as connection:
            rows = (await connection.execute(query)).all()
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable("the audit log could not be read now") from problem
    return [Entry.model_validate(row, from_attributes=True) for row in rows]


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
