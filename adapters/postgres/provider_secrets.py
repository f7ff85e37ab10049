"""What proves the webhooks of mail providers, and our requests to shops; several of each, so that one can be rotated.

They are sealed where there is a master key (`JOURNEYS_MASTER_KEYS`); one that was kept before stays readable.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.master_keys import SEALED, MasterKeys
from adapters.postgres import audit
from adapters.postgres.tables import provider_secrets, stores
from adapters.postgres.tenancy import as_store, every_store
from domain.errors import ConfigurationError, NotFound, Unavailable
from domain.operations import Operator
from domain.ports import Clock


class ProviderSecrets:
    """Keep and read the secrets.

    Args:
        engine: The database.
        masters: The newest first; none keeps the secrets as they are.
    """

    def __init__(self, engine: AsyncEngine, masters: Sequence[str]) -> None:
        self._engine = engine
        self._masters = MasterKeys(masters) if masters else None

    async def of(self, store_id: str, provider: str) -> Sequence[str]:
        """Return the secrets of a store for a provider; none if it does not use it.

        Raises:
            Unavailable: They cannot be read now.
        """
        query = select(provider_secrets.c.secret).where(
            provider_secrets.c.store_id == store_id, provider_secrets.c.provider == provider
        )
        try:
            async with as_store(self._engine, store_id) as connection:
                kept = (await connection.execute(query.order_by(provider_secrets.c.created_at))).scalars().all()
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the webhook could not be verified now; send it again") from problem
        return [self._open(secret, _owner(store_id, provider)) for secret in kept]

    async def add(self, store_id: str, provider: str, secret: str, clock: Clock, *, by: Operator) -> None:
        """Keep one more secret.

        Raises:
            NotFound: There is no such store.
        """
        if secret in await self.of(store_id, provider):
            return
        kept = secret if self._masters is None else self._masters.seal(secret, _owner(store_id, provider))
        row = {"store_id": store_id, "provider": provider, "secret": kept, "created_at": clock()}
        async with as_store(self._engine, store_id) as connection:
            if not await connection.scalar(select(stores.c.store_id).where(stores.c.store_id == store_id)):
                raise NotFound(f"there is no store {store_id!r}")
            await connection.execute(upsert(provider_secrets).values(row).on_conflict_do_nothing())
            await _note(connection, store_id, provider, "provider_secret_added", {}, by, clock())

    async def forget(self, store_id: str, provider: str, clock: Clock, *, by: Operator) -> int:
        """Forget all secrets of a store for a provider; returns how many there were."""
        here = (provider_secrets.c.store_id == store_id) & (provider_secrets.c.provider == provider)
        async with as_store(self._engine, store_id) as connection:
            gone = await connection.execute(delete(provider_secrets).where(here).returning(provider_secrets.c.secret))
            count = len(gone.all())
            if count:
                await _note(connection, store_id, provider, "provider_secrets_forgotten", {"count": count}, by, clock())
            return count

    async def rewrap(self) -> int:
        """Seal the secrets of all stores with the newest master key; returns how many were not yet."""
        if (masters := self._masters) is None:
            return 0
        return sum([await self._rewrap(masters, store_id) for store_id in await every_store(self._engine)])

    async def _rewrap(self, masters: MasterKeys, store_id: str) -> int:
        mine = select(provider_secrets).where(provider_secrets.c.store_id == store_id)
        async with as_store(self._engine, store_id) as connection:
            rows = (await connection.execute(mine.with_for_update())).all()
            old = [row for row in rows if not masters.sealed_with_newest(row.secret)]
            for row in old:
                owner = _owner(store_id, row.provider)
                fresh = masters.seal(masters.unseal(row.secret, owner), owner)
                here = [provider_secrets.c[name] == row._mapping[name] for name in ("store_id", "provider", "secret")]
                await connection.execute(update(provider_secrets).where(*here).values(secret=fresh))
        return len(old)

    def _open(self, kept: str, owner: str) -> str:
        if self._masters is not None:
            return self._masters.unseal(kept, owner)
        if kept.startswith(SEALED):
            raise ConfigurationError("a provider's secret is sealed; set JOURNEYS_MASTER_KEYS")
        return kept


async def _note(
    connection: AsyncConnection,
    store_id: str,
    provider: str,
    action: str,
    detail: Mapping[str, Any],
    by: str,
    at: datetime,
) -> None:
    await audit.write(
        connection, store_id, by=by, action=action, subject=f"provider:{provider}",
        detail=detail, at=at,
    )  # fmt: skip


def _owner(store_id: str, provider: str) -> str:
    return f"{store_id}/{provider}"
