"""What proves the webhooks of mail providers, by store: several of each, so that one can be rotated.

How a secret is kept is not decided here: `seal` and `unseal` encrypt it where there is a master key.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.tables import provider_secrets, stores
from domain.errors import NotFound, Unavailable
from domain.ports import Clock

Transform = Callable[[str], str]


class ProviderSecrets:
    """Keep and read the secrets."""

    def __init__(self, engine: AsyncEngine, seal: Transform = str, unseal: Transform = str) -> None:
        self._engine = engine
        self._seal = seal
        self._unseal = unseal

    async def of(self, store_id: str, provider: str) -> Sequence[str]:
        """Return the secrets of a store for a provider; none if it does not use it.

        Raises:
            Unavailable: They cannot be read now.
        """
        query = select(provider_secrets.c.secret).where(
            provider_secrets.c.store_id == store_id, provider_secrets.c.provider == provider
        )
        try:
            async with self._engine.connect() as connection:
                kept = (await connection.execute(query.order_by(provider_secrets.c.created_at))).scalars().all()
        except (SQLAlchemyError, OSError) as problem:
            raise Unavailable("the webhook could not be verified now; send it again") from problem
        return [self._unseal(secret) for secret in kept]

    async def add(self, store_id: str, provider: str, secret: str, clock: Clock) -> None:
        """Keep one more secret.

        Raises:
            NotFound: There is no such store.
        """
        if secret in await self.of(store_id, provider):
            return
        row = {"store_id": store_id, "provider": provider, "secret": self._seal(secret), "created_at": clock()}
        async with self._engine.begin() as connection:
            if not await connection.scalar(select(stores.c.store_id).where(stores.c.store_id == store_id)):
                raise NotFound(f"there is no store {store_id!r}")
            await connection.execute(upsert(provider_secrets).values(row).on_conflict_do_nothing())

    async def forget(self, store_id: str, provider: str) -> int:
        """Forget all secrets of a store for a provider; returns how many there were."""
        here = (provider_secrets.c.store_id == store_id) & (provider_secrets.c.provider == provider)
        async with self._engine.begin() as connection:
            gone = await connection.execute(delete(provider_secrets).where(here).returning(provider_secrets.c.secret))
            return len(gone.all())
