"""Stores and their keys. Only a hash of a key is kept: 256 random bits need no slow hash."""

import hashlib
import hmac
import secrets
import time
from typing import Literal
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from adapters.postgres.tables import keys, stores
from adapters.postgres.tenancy import across_stores, as_store
from domain.errors import InvalidInput, NotAuthorised, NotFound, Unavailable
from domain.message import StoreCard
from domain.ports import Clock
from domain.values import Value

Kind = Literal["write", "admin"]

_MAX_REMEMBERED = 10_000


class NewKey(Value):
    """A key just made; the secret is shown this once."""

    key_id: UUID
    secret: str


class Access(Value):
    """What a valid key opens: one store, and the currency that its amounts are in; and which key it is."""

    key_id: UUID
    store_id: str
    kind: Kind
    currency: str


class KeyStore:
    """Make, check and revoke the keys of stores."""

    def __init__(self, engine: AsyncEngine, clock: Clock, *, remember: float = 10.0) -> None:
        """Wire the keys to a database.

        Args:
            engine: Where stores and keys are kept.
            clock: Tells when a key was made or revoked.
            remember: Seconds that a valid key is trusted without asking again; a revocation takes that long.
        """
        self._engine = engine
        self._clock = clock
        self._remember = remember
        self._known: dict[str, tuple[Access, float]] = {}

    async def create_store(self, card: StoreCard, timezone: str = "UTC") -> None:
        """Add a store.

        Raises:
            InvalidInput: There is a store with this id.
        """
        row = {**card.model_dump(), "timezone": timezone, "created_at": self._clock()}
        async with as_store(self._engine, card.store_id) as connection:
            if await connection.scalar(select(stores.c.store_id).where(stores.c.store_id == card.store_id)):
                raise InvalidInput("store_id", "there is a store with this id")
            await connection.execute(insert(stores).values(row))

    async def create_key(self, store_id: str, kind: Kind) -> NewKey:
        """Make a key for a store.

        Raises:
            NotFound: There is no such store.
        """
        new = NewKey(key_id=uuid7(), secret=f"{kind}_{secrets.token_urlsafe(32)}")
        row = {
            "store_id": store_id,
            "key_id": new.key_id,
            "kind": kind,
            "hash": _hash(new.secret),
            "created_at": self._clock(),
        }
        async with as_store(self._engine, store_id) as connection:
            if not await connection.scalar(select(stores.c.store_id).where(stores.c.store_id == store_id)):
                raise NotFound(f"there is no store {store_id!r}")
            await connection.execute(insert(keys).values(row))
        return new

    async def verify(self, secret: str) -> Access:
        """Tell what a key opens.

        Raises:
            NotAuthorised: The key is unknown or revoked.
            Unavailable: The keys cannot be read now.
        """
        digest = _hash(secret)
        known, until = self._known.get(digest, (None, 0.0))
        if known is not None and until > time.monotonic():
            return known
        query = (
            select(keys.c.hash, keys.c.key_id, keys.c.store_id, keys.c.kind, stores.c.currency)
            .join(stores, stores.c.store_id == keys.c.store_id)
            .where(keys.c.hash == digest, keys.c.revoked_at.is_(None))
        )
        try:
            async with across_stores(self._engine) as connection:
                row = (await connection.execute(query)).one_or_none()
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the key could not be checked now; send this again") from problem
        if row is None or not hmac.compare_digest(row.hash, digest):
            self._known.pop(digest, None)
            raise NotAuthorised
        access = Access(key_id=row.key_id, store_id=row.store_id, kind=row.kind, currency=row.currency)
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[digest] = (access, time.monotonic() + self._remember)
        return access

    async def revoke(self, store_id: str, key_id: UUID) -> None:
        """Make a key worthless from now on.

        Raises:
            NotFound: The store has no such key.
        """
        query = (
            update(keys)
            .where(keys.c.store_id == store_id, keys.c.key_id == key_id)
            .values(revoked_at=self._clock())
            .returning(keys.c.hash)
        )
        async with as_store(self._engine, store_id) as connection:
            digest = await connection.scalar(query)
        if digest is None:
            raise NotFound("the store has no such key")
        self._known.pop(digest, None)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
