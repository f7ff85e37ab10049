"""The migrations make the tables that the code knows."""

import re

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.sql.schema import SchemaItem

from adapters.postgres.tables import metadata
from adapters.settings import Settings

_WEEK = re.compile(r"events_(default|\d{8})(_|$)")


def _ours(_: SchemaItem, name: str | None, kind: str, *__: object) -> bool:
    """Partitions and what belongs to them follow their parent, which is compared."""
    return not (kind in {"table", "index"} and name is not None and _WEEK.match(name))


def test_the_migrations_make_the_tables_that_the_code_knows(settings: Settings) -> None:
    """A column, type, default or index that is only in one of them would be found in production, or never."""
    engine = sa.create_engine(settings.sqlalchemy_url)
    with engine.connect() as connection:
        options = {"include_object": _ours, "compare_type": True, "compare_server_default": True}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()

    assert differences == []
