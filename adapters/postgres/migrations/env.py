"""How alembic runs our migrations: one at a time, and never waiting long for a lock (Warehouse's env.py)."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from adapters.postgres.tables import metadata

_LOCK = 4_815_162_342


def _psycopg(url: str) -> str:
    return "postgresql+psycopg://" + url.partition("://")[2]


def run() -> None:
    # Without a pool, so that the lock ends with the connection, also of a migration that failed.
    url = _psycopg(context.config.get_main_option("sqlalchemy.url") or "")
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        # Several processes may start at once; the second waits here and then finds nothing to do.
        connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text("set lock_timeout = '4s'"))
        connection.execute(text("set statement_timeout = '60s'"))
        # Rows that a policy would hide are an error, not nothing: `isolation.every_row` is for migrations of data.
        connection.execute(text("set row_security = off"))
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.execute(text("select pg_advisory_unlock(:lock)"), {"lock": _LOCK})
        connection.commit()
    engine.dispose()


run()
