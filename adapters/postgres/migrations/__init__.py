"""Migrations: how a database gets the tables, and how it gets new ones without stopping anybody."""
# ruff: noqa: PLC0415  (alembic takes a fifth of a second to load, and few processes migrate)

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config


def config(url: str) -> "Config":
    """Configure alembic for a database.

    Args:
        url: `postgresql://…`, with or without a driver.
    """
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    # alembic's ini format interpolates percent signs, which URLs may contain.
    settings.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return settings


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a revision; safe to run from several processes at once (advisory lock)."""
    from alembic import command

    command.upgrade(config(url), revision)
