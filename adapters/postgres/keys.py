"""The keys of stores. Only a hash of a key is kept: 256 random bits need no slow hash."""

import hashlib
import hmac
import secrets
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from uuid_utils.compat import uuid7

from adapters.postgres import audit
from adapters.postgres.tables import keys, stores
from adapters.postgres.tenancy import across_stores, as_store
from adapters.postgres.together import Together
from domain.access import Grant, Kind, Scope
from domain.errors import InvalidInput, NotAuthorised, NotFound, OperationRefused, Unavailable
from domain.limits import DEFAULT, Limit
from domain.operations import Operator
from domain.ports import Clock
from domain.values import UtcTime, Value

MAX_OVERLAP = timedelta(days=90)
"""For so long at most an old key works beside the new one."""
_MAX_REMEMBERED = 10_000


class NewKey(Value):
    """A key just made; the secret is shown this once."""

    key_id: UUID
    secret: str


class Access(Value):
    """What a valid key opens: one store, and the currency that its amounts are in; and which key it is.

    Attributes:
        origins: From whose pages browsers may use it; None is any.
        expires_at: When it ends by itself.
    """

    key_id: UUID
    store_id: str
    kind: Kind
    scopes: frozenset[Scope]
    currency: str
    limit: Limit
    origins: tuple[str, ...] | None
    expires_at: UtcTime | None


class Key(Value):
    """A key as its store sees it: never its secret.

    Attributes:
        state: `ending`: rotated, and works until `expires_at`.
        replaced_by: The key that took its place.
        last_used_at: Known to the second.
        limit: Of its own; None has that of the store.
    """

    key_id: UUID
    kind: Kind
    scopes: tuple[Scope, ...]
    name: str
    state: str
    created_at: UtcTime
    expires_at: UtcTime | None
    replaced_by: UUID | None
    revoked_at: UtcTime | None
    last_used_at: UtcTime | None
    limit: Limit | None


class KeyStore:
    """Make, check, rotate and revoke the keys of stores; whatever changes one stands in the audit log.

    Args:
        engine: Where stores and keys are kept.
        clock: Tells when a key was made, rotated or revoked.
        remember: Seconds that a valid key is trusted without asking again; other processes notice a change so late.
    """

    def __init__(self, engine: AsyncEngine, clock: Clock, *, remember: float = 10.0) -> None:
        self._engine = engine
        self._clock = clock
        self._remember = remember
        self._known: dict[str, tuple[Access, float]] = {}
        self._reading = Together(self._read)

    async def verify(self, secret: str) -> Access:
        """Tell what a key opens.

        Raises:
            NotAuthorised: The key is unknown, revoked or at its end.
            Unavailable: The keys cannot be read now.
        """
        digest = _hash(secret)
        access, until = self._known.get(digest, (None, 0.0))
        if access is None or until <= time.monotonic():
            access = await self._reading(digest)
        if access is None or (access.expires_at is not None and access.expires_at <= self._clock()):
            self._known.pop(digest, None)
            raise NotAuthorised
        return access

    async def create(self, store_id: str, grant: Grant, *, by: Operator) -> NewKey:
        """Make a key for a store.

        Raises:
            NotFound: There is no such store.
        """
        async with as_store(self._engine, store_id) as connection:
            if not await connection.scalar(select(stores.c.store_id).where(stores.c.store_id == store_id)):
                raise NotFound(f"there is no store {store_id!r}")
            return await self._make(connection, store_id, grant, None, by=by, action="key_created", detail={})

    async def rotate(self, store_id: str, key_id: UUID, overlap: timedelta, *, by: Operator) -> NewKey:
        """Make a key that opens the same, and let the old one end by itself.

        Args:
            store_id: Whose key it is.
            key_id: The old one.
            overlap: For so long the old one still works.
            by: Who does it.

        Raises:
            InvalidInput: The overlap is negative or too long.
            NotFound: The store has no such key.
            OperationRefused: The key is revoked, or was rotated before.
        """
        if not timedelta(0) <= overlap <= MAX_OVERLAP:
            raise InvalidInput("overlap", f"must be between 0 and {MAX_OVERLAP.days} days")
        until = self._clock() + overlap
        async with as_store(self._engine, store_id) as connection:
            old = await self._locked(connection, store_id, key_id)
            if old.revoked_at is not None or old.replaced_by is not None:
                raise OperationRefused("the key is revoked" if old.revoked_at else f"{old.replaced_by} took its place")
            grant = Grant(kind=old.kind, scopes=tuple(old.scopes), name=old.name)
            detail = {"replaces": str(key_id), "until": until.isoformat()}
            new = await self._make(
                connection, store_id, grant, old.rate_limit, by=by, action="key_rotated", detail=detail
            )
            ending = update(keys).where(_this(store_id, key_id))
            await connection.execute(ending.values(expires_at=until, replaced_by=new.key_id))
        self._known.pop(old.hash, None)
        return new

    async def revoke(self, store_id: str, key_id: UUID, *, by: Operator) -> None:
        """Make a key worthless from now on; to revoke it again changes nothing.

        Raises:
            NotFound: The store has no such key.
        """
        async with as_store(self._engine, store_id) as connection:
            old = await self._locked(connection, store_id, key_id)
            if old.revoked_at is None:
                await connection.execute(update(keys).where(_this(store_id, key_id)).values(revoked_at=self._clock()))
                await self._note(connection, store_id, key_id, "key_revoked", {}, by)
        self._known.pop(old.hash, None)

    async def limit(self, store_id: str, key_id: UUID, limit: Limit | None, *, by: Operator) -> None:
        """Set what a key may take; None is the limit of its store.

        Raises:
            NotFound: The store has no such key.
        """
        told = None if limit is None else limit.model_dump()
        async with as_store(self._engine, store_id) as connection:
            old = await self._locked(connection, store_id, key_id)
            await connection.execute(update(keys).where(_this(store_id, key_id)).values(rate_limit=told))
            await self._note(connection, store_id, key_id, "limit_set", {"rate_limit": told}, by)
        self._known.pop(old.hash, None)

    async def listed(self, store_id: str) -> list[Key]:
        """List the keys of a store, oldest first.

        Raises:
            Unavailable: The keys cannot be read now.
        """
        query = select(keys).where(keys.c.store_id == store_id).order_by(keys.c.created_at, keys.c.key_id)
        try:
            async with as_store(self._engine, store_id) as connection:
                rows = (await connection.execute(query)).all()
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the keys could not be read now") from problem
        now = self._clock()
        return [
            Key.model_validate({**row._asdict(), "state": _state(row, now), "limit": row.rate_limit}) for row in rows
        ]

    async def _read(self, digest: str) -> Access | None:
        query = (
            select(
                keys.c.hash, keys.c.key_id, keys.c.store_id, keys.c.kind, keys.c.scopes, keys.c.expires_at,
                stores.c.currency, stores.c.origins,
                func.coalesce(keys.c.rate_limit, stores.c.rate_limit).label("limit"),
            )
            .join(stores, stores.c.store_id == keys.c.store_id)
            .where(keys.c.hash == digest, keys.c.revoked_at.is_(None))
        )  # fmt: skip
        try:
            async with across_stores(self._engine) as connection:
                row = (await connection.execute(query)).one_or_none()
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the key could not be checked now; send this again") from problem
        if row is None or not hmac.compare_digest(row.hash, digest):
            return None
        access = Access.model_validate({**row._asdict(), "limit": row.limit or DEFAULT})
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[digest] = (access, time.monotonic() + self._remember)
        return access

    async def _make(
        self,
        connection: AsyncConnection,
        store_id: str,
        grant: Grant,
        rate_limit: dict[str, Any] | None,
        *,
        by: Operator,
        action: str,
        detail: dict[str, str],
    ) -> NewKey:
        new = NewKey(key_id=uuid7(), secret=f"{grant.kind}_{secrets.token_urlsafe(32)}")
        told = grant.model_dump(mode="json")
        row = {"store_id": store_id, "key_id": new.key_id, "hash": _hash(new.secret), "created_at": self._clock()}
        await connection.execute(insert(keys).values({**row, **told, "rate_limit": rate_limit}))
        await self._note(connection, store_id, new.key_id, action, told | detail, by)
        return new

    async def _locked(self, connection: AsyncConnection, store_id: str, key_id: UUID) -> Row[Any]:
        row = (await connection.execute(select(keys).where(_this(store_id, key_id)).with_for_update())).one_or_none()
        if row is None:
            raise NotFound("the store has no such key")
        return row

    async def _note(
        self,
        connection: AsyncConnection,
        store_id: str,
        key_id: UUID,
        action: str,
        detail: dict[str, Any],
        by: Operator,
    ) -> None:
        await audit.write(
            connection, store_id, by=by, action=action, subject=f"key:{key_id}", detail=detail,
            at=self._clock(),
        )  # fmt: skip


def _this(store_id: str, key_id: UUID) -> ColumnElement[bool]:
    return (keys.c.store_id == store_id) & (keys.c.key_id == key_id)


def _state(row: Row[Any], now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is None:
        return "active"
    return "ending" if row.expires_at > now else "ended"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
