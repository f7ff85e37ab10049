"""Data keys: one for each customer, one for each store. Who destroys a key makes unreadable whatever it encrypted."""

import os
import time
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.master_keys import MasterKeys
from adapters.postgres.tables import data_keys
from adapters.postgres.tenancy import as_store, every_store
from domain.errors import NotFound, Unavailable
from domain.ports import Clock
from domain.values import Value

_MAX_REMEMBERED = 10_000
_AT_ONCE = 500


class Owner(Value):
    """Whose a key is: a customer's, or (None) what a store has beside its customers."""

    store_id: str
    customer_id: UUID | None = None

    @property
    def name(self) -> str:
        """The id of the key: `{store}/{customer}`, or `{store}/-`."""
        return f"{self.store_id}/{self.customer_id or '-'}"


class CustomerKeys:
    """Hand out data keys, and make them as they are needed.

    Args:
        remember: Seconds that a key is kept in memory; a destroyed one is used for no longer.
    """

    def __init__(self, engine: AsyncEngine, masters: MasterKeys, clock: Clock, *, remember: float = 60.0) -> None:
        self._engine = engine
        self._masters = masters
        self._clock = clock
        self._remember = remember
        self._known: dict[str, tuple[bytes, float]] = {}

    async def made(self, owner: Owner) -> bytes:
        """Return a key to encrypt with; the first time it is made.

        Raises:
            NotFound: The customer has been erased.
            Unavailable: The database does not answer.
        """
        if (known := self._remembered(owner)) is not None:
            return known
        fresh = os.urandom(32)
        row = {
            **_row(owner),
            "wrapped": self._masters.wrap(fresh, owner.name),
            "master": self._masters.newest,
            "created_at": self._clock(),
        }
        try:
            async with as_store(self._engine, owner.store_id) as connection:
                if (key := await self._read(connection, owner)) is None:
                    await connection.execute(upsert(data_keys).values(row).on_conflict_do_nothing())
                    key = await self._read(connection, owner)
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the key could not be made now") from problem
        if key is None:
            raise Unavailable("the key could not be made now")
        return self._keep(owner, key)

    async def existing(self, owner: Owner) -> bytes:
        """Return a key to decrypt with.

        Raises:
            NotFound: The customer has been erased, or there never was such a key here.
            Unavailable: The database does not answer.
        """
        if (known := self._remembered(owner)) is not None:
            return known
        try:
            async with as_store(self._engine, owner.store_id) as connection:
                key = await self._read(connection, owner)
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the key could not be read now") from problem
        if key is None:
            raise NotFound("there is no such key")
        return self._keep(owner, key)

    async def rewrap(self) -> int:
        """Wrap with the newest master key what an older one wrapped; return how many keys that were.

        Raises:
            ConfigurationError: A master key is missing; what came before is done.
        """
        # Of every store: a master key is the installation's.
        return sum([await self._rewrap(store_id) for store_id in await every_store(self._engine)])

    async def _rewrap(self, store_id: str) -> int:
        older = and_(data_keys.c.master != self._masters.newest, data_keys.c.wrapped.is_not(None))
        query = select(data_keys).where(data_keys.c.store_id == store_id, older)
        count = 0
        while True:
            async with as_store(self._engine, store_id) as connection:
                rows = (await connection.execute(query.limit(_AT_ONCE).with_for_update(skip_locked=True))).all()
                for row in rows:
                    owner = Owner(store_id=row.store_id, customer_id=None if row.owner == "-" else UUID(row.owner))
                    key = self._masters.unwrap(row.wrapped, owner.name, row.master)
                    anew = {"wrapped": self._masters.wrap(key, owner.name), "master": self._masters.newest}
                    await connection.execute(update(data_keys).where(_here(owner)).values(anew))
            if not rows:
                return count
            count += len(rows)

    async def _read(self, connection: AsyncConnection, owner: Owner) -> bytes | None:
        query = select(data_keys.c.wrapped, data_keys.c.master).where(_here(owner))
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        if row.wrapped is None:
            raise NotFound("the key was destroyed: its customer has been erased")
        return self._masters.unwrap(row.wrapped, owner.name, row.master)

    def _remembered(self, owner: Owner) -> bytes | None:
        key, until = self._known.get(owner.name, (None, 0.0))
        return key if until > time.monotonic() else None

    def _keep(self, owner: Owner, key: bytes) -> bytes:
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[owner.name] = (key, time.monotonic() + self._remember)
        return key


async def destroy(connection: AsyncConnection, owners: Sequence[Owner], now: datetime) -> int:
    """Destroy keys for good, also those that have not been made; return how many there were."""
    destroyed = 0
    for owner in owners:
        gone = {"wrapped": None, "master": None, "destroyed_at": now}
        query = update(data_keys).where(_here(owner), data_keys.c.wrapped.is_not(None)).values(gone)
        destroyed += len((await connection.execute(query.returning(data_keys.c.owner))).all())
        row = {**_row(owner), "created_at": now, "destroyed_at": now}
        await connection.execute(upsert(data_keys).values(row).on_conflict_do_nothing())
    return destroyed


def _row(owner: Owner) -> dict[str, str]:
    return {"store_id": owner.store_id, "owner": str(owner.customer_id or "-")}


def _here(owner: Owner) -> ColumnElement[bool]:
    return and_(*(data_keys.c[name] == value for name, value in _row(owner).items()))
