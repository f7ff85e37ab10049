"""Secrets of providers: sealed where there is a master key, and readable through every rotation."""

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.provider_secrets import ProviderSecrets
from adapters.postgres.tables import provider_secrets
from domain.errors import ConfigurationError
from domain.ports import Clock
from testing.inspection import as_owner
from tests.conftest import Shop

OLD, NEW = "an-old-master-key-of-32-characters", "a-new-master-key-of-32-characters!"


async def kept(engine: AsyncEngine) -> list[str]:
    async with as_owner(engine) as connection:
        return list((await connection.execute(select(provider_secrets.c.secret))).scalars())


async def test_a_secret_is_sealed_where_there_is_a_master_key(engine: AsyncEngine, store: Shop, clock: Clock) -> None:
    """Whoever reads the table cannot sign webhooks with it."""
    secrets = ProviderSecrets(engine, [OLD])
    await secrets.add("mugs", "mailgun", "key-of-mailgun", clock, by="test")
    (row,) = await kept(engine)

    assert "key-of-mailgun" not in row
    assert await secrets.of("mugs", "mailgun") == ["key-of-mailgun"]


async def test_a_sealed_secret_opens_for_its_own_row_only(engine: AsyncEngine, store: Shop, clock: Clock) -> None:
    """A row that is copied to another provider or store proves nothing."""
    await ProviderSecrets(engine, [OLD]).add("mugs", "mailgun", "key-of-mailgun", clock, by="test")
    async with as_owner(engine) as connection:
        await connection.execute(provider_secrets.update().values(provider="postmark"))

    with pytest.raises(ConfigurationError):
        await ProviderSecrets(engine, [OLD]).of("mugs", "postmark")


async def test_rewrapping_lets_the_old_master_key_go(engine: AsyncEngine, store: Shop, clock: Clock) -> None:
    """What was kept in the open, or under the old key, is readable with the new one alone; again changes nothing."""
    await ProviderSecrets(engine, ()).add("mugs", "sendgrid", "in the open", clock, by="test")
    await ProviderSecrets(engine, [OLD]).add("mugs", "mailgun", "under the old key", clock, by="test")
    both = ProviderSecrets(engine, [NEW, OLD])

    assert await both.rewrap() == 2
    assert await both.rewrap() == 0
    assert await ProviderSecrets(engine, [NEW]).of("mugs", "sendgrid") == ["in the open"]
    assert await ProviderSecrets(engine, [NEW]).of("mugs", "mailgun") == ["under the old key"]


async def test_a_sealed_secret_without_a_master_key_is_a_fault_of_the_settings(
    engine: AsyncEngine, store: Shop, clock: Clock
) -> None:
    """The provider sends again; a 401 would make it give up."""
    await ProviderSecrets(engine, [OLD]).add("mugs", "mailgun", "key-of-mailgun", clock, by="test")

    with pytest.raises(ConfigurationError, match="JOURNEYS_MASTER_KEYS"):
        await ProviderSecrets(engine, ()).of("mugs", "mailgun")
