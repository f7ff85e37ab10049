"""The keys that sign a store's mail. A private key is sealed where there is a master key, and is never shown again.

A key signs from the moment it is started, not from when it is made: first its record must stand in DNS, or readers'
servers find a signature and no key for it. Running workers notice within a minute.
"""

import base64
import time
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Row, and_, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.channels.dkim import Algorithm, SigningKey, new_key, record
from adapters.master_keys import SEALED, MasterKeys
from adapters.postgres import audit
from adapters.postgres.tables import dkim_keys, stores
from adapters.postgres.tenancy import as_store, every_store
from domain.errors import ConfigurationError, InvalidInput, NotFound, Unavailable
from domain.operations import Operator
from domain.values import UtcTime, Value

_REMEMBERED_S = 60.0


class KeptKey(Value):
    """A key without its secret.

    Attributes:
        public: As it stands in DNS, base64.
        signs_since: None: it does not sign.
    """

    domain: str
    selector: str
    algorithm: Algorithm
    public: str
    created_at: UtcTime
    signs_since: UtcTime | None

    @property
    def name(self) -> str:
        """Where its record stands in DNS."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """What must stand there."""
        return record(self.algorithm, self.public)


class DkimKeys:
    """Keep, read and use the keys.

    Args:
        engine: The database.
        masters: The secrets of the master keys, the newest first; none keeps private keys as they are.
    """

    def __init__(self, engine: AsyncEngine, masters: Sequence[str]) -> None:
        self._engine = engine
        self._masters = MasterKeys(masters) if masters else None
        self._known: dict[str, tuple[list[SigningKey], float]] = {}

    async def make(
        self, store_id: str, domain: str, selector: str, algorithm: Algorithm, now: datetime, *, by: Operator
    ) -> KeptKey:
        """Make a key, which does not sign yet.

        Raises:
            NotFound: There is no such store.
            InvalidInput: The store has such a selector already; a record that was published is not changed.
        """
        pair, owner = new_key(algorithm), _owner(store_id, domain, selector)
        private = base64.b64encode(pair.private).decode()
        row = {
            "store_id": store_id, "domain": domain, "selector": selector, "algorithm": algorithm, "created_at": now,
            "private_key": private if self._masters is None else self._masters.seal(private, owner),
            "public_key": pair.public,
        }  # fmt: skip
        async with as_store(self._engine, store_id) as connection:
            if not await connection.scalar(select(stores.c.store_id).where(stores.c.store_id == store_id)):
                raise NotFound(f"there is no store {store_id!r}")
            statement = upsert(dkim_keys).values(row).on_conflict_do_nothing()
            made = (await connection.execute(statement.returning(dkim_keys))).one_or_none()
            if made is None:
                raise InvalidInput("selector", f"{selector!r} is in use for {domain}; choose another")
            await _note(connection, store_id, domain, selector, "dkim_key_created", by, now)
        return _kept(made)

    async def of(self, store_id: str) -> list[KeptKey]:
        """Return a store's keys, oldest first."""
        query = select(dkim_keys).where(dkim_keys.c.store_id == store_id).order_by(dkim_keys.c.created_at)
        async with as_store(self._engine, store_id) as connection:
            return [_kept(row) for row in (await connection.execute(query)).all()]

    async def start(self, store_id: str, domain: str, selector: str, now: datetime, *, by: Operator) -> KeptKey:
        """Sign with a key from now on, instead of with the one of its kind that did.

        Raises:
            NotFound: There is no such key.
        """
        async with as_store(self._engine, store_id) as connection:
            query = update(dkim_keys).where(_here(store_id, domain, selector)).values(signs_since=now)
            row = (await connection.execute(query.returning(dkim_keys))).one_or_none()
            if row is None:
                raise NotFound(f"store {store_id!r} has no key {selector!r} for {domain}")
            others = and_(
                dkim_keys.c.store_id == store_id,
                dkim_keys.c.domain == domain,
                dkim_keys.c.algorithm == row.algorithm,
                dkim_keys.c.selector != selector,
            )
            await connection.execute(update(dkim_keys).where(others).values(signs_since=None))
            await _note(connection, store_id, domain, selector, "dkim_key_started", by, now)
        return _kept(row)

    async def forget(self, store_id: str, domain: str, selector: str, now: datetime, *, by: Operator) -> None:
        """Destroy a key.

        Raises:
            NotFound: There is no such key.
        """
        query = delete(dkim_keys).where(_here(store_id, domain, selector)).returning(dkim_keys.c.selector)
        async with as_store(self._engine, store_id) as connection:
            if (await connection.execute(query)).one_or_none() is None:
                raise NotFound(f"store {store_id!r} has no key {selector!r} for {domain}")
            await _note(connection, store_id, domain, selector, "dkim_key_forgotten", by, now)

    async def signing(self, store_id: str, host: str) -> Sequence[SigningKey]:
        """Return the keys that sign mail from a host: those of its domain, or of one above it (RFC 7489 §3.1.1).

        Raises:
            Unavailable: They cannot be read now.
            ConfigurationError: One is sealed, and its master key is not among ours.
        """
        known, until = self._known.get(store_id, ([], 0.0))
        if until <= time.monotonic():
            known = await self._read(store_id)
            self._known[store_id] = (known, time.monotonic() + _REMEMBERED_S)
        return [key for key in known if host == key.domain or host.endswith(f".{key.domain}")]

    async def rewrap(self) -> int:
        """Seal the keys of all stores with the newest master key; returns how many were not yet."""
        if (masters := self._masters) is None:
            return 0
        return sum([await self._rewrap(masters, store_id) for store_id in await every_store(self._engine)])

    async def _rewrap(self, masters: MasterKeys, store_id: str) -> int:
        mine = select(dkim_keys).where(dkim_keys.c.store_id == store_id)
        async with as_store(self._engine, store_id) as connection:
            rows = (await connection.execute(mine.with_for_update())).all()
            old = [row for row in rows if not masters.sealed_with_newest(row.private_key)]
            for row in old:
                owner = _owner(store_id, row.domain, row.selector)
                fresh = masters.seal(masters.unseal(row.private_key, owner), owner)
                here = _here(store_id, row.domain, row.selector)
                await connection.execute(update(dkim_keys).where(here).values(private_key=fresh))
        return len(old)

    async def _read(self, store_id: str) -> list[SigningKey]:
        query = select(dkim_keys).where(dkim_keys.c.store_id == store_id, dkim_keys.c.signs_since.is_not(None))
        try:
            async with as_store(self._engine, store_id) as connection:
                rows = (await connection.execute(query.order_by(dkim_keys.c.algorithm))).all()
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the keys that sign could not be read now") from problem
        return [
            SigningKey(domain=row.domain, selector=row.selector, algorithm=row.algorithm, private=self._open(row))
            for row in rows
        ]

    def _open(self, row: Row[tuple[str, ...]]) -> bytes:
        kept: str = row.private_key
        if self._masters is not None:
            kept = self._masters.unseal(kept, _owner(row.store_id, row.domain, row.selector))
        elif kept.startswith(SEALED):
            raise ConfigurationError("a key that signs mail is sealed; set JOURNEYS_MASTER_KEYS")
        return base64.b64decode(kept)


def _kept(row: Row[tuple[str, ...]]) -> KeptKey:
    return KeptKey(
        domain=row.domain, selector=row.selector, algorithm=row.algorithm, public=row.public_key,
        created_at=row.created_at, signs_since=row.signs_since,
    )  # fmt: skip


def _here(store_id: str, domain: str, selector: str) -> ColumnElement[bool]:
    return and_(
        dkim_keys.c.store_id == store_id, dkim_keys.c.domain == domain, dkim_keys.c.selector == selector
    )  # fmt: skip


async def _note(
    connection: AsyncConnection, store_id: str, domain: str, selector: str, action: str, by: Operator, now: datetime
) -> None:
    await audit.write(
        connection, store_id, by=by, action=action, subject=f"dkim:{selector}.{domain}", detail={}, at=now
    )


def _owner(store_id: str, domain: str, selector: str) -> str:
    return f"{store_id}/dkim/{selector}._domainkey.{domain}"
