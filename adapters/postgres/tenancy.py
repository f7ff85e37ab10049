"""Whose rows a transaction sees (G7): one store's, by Postgres' row-level security, whatever its queries say.

Two roles that nobody can log in as (docs/adr/0025-row-level-security.md):

- `journeys_app`: every connection's. It sees and changes the rows of the store that the transaction is about, and
  nothing in a transaction that is about none.
- `journeys_across`: taken for what begins without a store, a key or a link or the queue. It reads a few tables of all
  stores (`adapters.postgres.migrations.isolation`), and writes none.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg.errors import InsufficientPrivilege, InvalidParameterValue
from sqlalchemy import event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.tables import stores
from domain.errors import ConfigurationError

APP = "journeys_app"
ACROSS = "journeys_across"
STORE = "journeys.store_id"
"""The setting that names the store of a transaction; the policies compare it with `store_id`."""

_REFUSED = (InvalidParameterValue, InsufficientPrivilege)
"""There is no such role, or the user is no member of it."""
_ADVICE = (
    f"the database's user may not take the roles {APP} and {ACROSS}: run `journeys migrate`, "
    f"or `grant {APP}, {ACROSS}` to the user of DATABASE_URL (docs/database.md)"
)

# Both are undone by the end of the transaction. As psycopg takes it.
ACT = f"select set_config('role', %(role)s, true) as role, set_config('{STORE}', %(store_id)s, true) as store_id"
"""What a transaction says first, with whose rows it is to see: `acting_as`, `ACTING_ACROSS`."""
ACTING_ACROSS = {"role": ACROSS, "store_id": ""}


@asynccontextmanager
async def as_store(engine: AsyncEngine, store_id: str) -> AsyncIterator[AsyncConnection]:
    """Begin a transaction that sees one store, and commit it; roll it back if anything is raised."""
    async with engine.begin() as connection:
        await act_as(connection, store_id)
        yield connection


@asynccontextmanager
async def across_stores(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Begin a transaction that reads, of all stores, what is needed to find out which one something is about."""
    async with engine.begin() as connection:
        await connection.exec_driver_sql(ACT, ACTING_ACROSS)
        yield connection


async def act_as(connection: AsyncConnection, store_id: str) -> None:
    """Let the rest of a transaction see one store, and no longer the one before."""
    await connection.exec_driver_sql(ACT, acting_as(store_id))


def acting_as(store_id: str) -> dict[str, str]:
    """Return the parameters of `ACT` for a store."""
    return {"role": APP, "store_id": store_id}


async def every_store(engine: AsyncEngine) -> list[str]:
    """List the stores, for work that is done for one after the other."""
    async with across_stores(engine) as connection:
        return list((await connection.execute(select(stores.c.store_id).order_by(stores.c.store_id))).scalars())


def take_role(engine: AsyncEngine) -> None:
    """Have every connection of a pool take the role of the application with its first breath.

    Whoever owns the tables, or is a superuser, would not be bound by policies.
    """

    @event.listens_for(engine.sync_engine, "connect")
    def take(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(f"set role {APP}")
        except _REFUSED as problem:
            raise ConfigurationError(_ADVICE) from problem
        finally:
            cursor.close()
        connection.commit()  # else it would be undone by a rollback


async def check(engine: AsyncEngine) -> None:
    """Make sure that the roles can be taken; a database that does not answer yet is no answer.

    Raises:
        ConfigurationError: They cannot.
    """
    try:
        await every_store(engine)
    except DBAPIError as problem:
        if isinstance(problem.orig, _REFUSED):
            raise ConfigurationError(_ADVICE) from problem
    except (SQLAlchemyError, OSError):
        return
