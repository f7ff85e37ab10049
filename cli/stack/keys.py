"""The development store and its keys, which stay the same between starts."""

import asyncio
import contextlib
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from adapters.postgres import stores
from adapters.postgres.engine import create_engine
from adapters.postgres.keys import KeyStore
from adapters.settings import Settings
from domain.access import ADMIN_KEY, WRITE_KEY, Grant
from domain.errors import InvalidInput, NotAuthorised
from domain.message import StoreCard

DEMO_STORE = StoreCard(
    store_id="demo",
    name="Demo Shop",
    url="https://shop.example",
    currency="USD",
    sender_email="hello@shop.example",
    sender_name="Demo Shop",
    address="1 Example Street, Springfield",
)

_BY = "system:stack"


class Keys(BaseModel):
    """The secrets of a development stack.

    Attributes:
        link_secret: Signs the links in messages.
    """

    write_key: str = ""
    admin_key: str = ""
    link_secret: str = ""


def ensured(path: Path, database_url: str, store: StoreCard) -> Keys:
    """Make sure that the store and its keys exist, and remember the keys in a file that only we can read."""
    try:
        known = Keys.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        known = Keys()
    # In a thread of its own, because the caller may have an event loop that runs.
    with ThreadPoolExecutor(max_workers=1) as thread:
        keys = thread.submit(asyncio.run, _ensured(known, database_url, store)).result()
    if keys != known:
        write_private(path, keys.model_dump_json(indent=2))
    return keys


def write_private(path: Path, content: str) -> None:
    """Replace a file by one that only its owner can read; a reader sees the old or the new one, never half."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    unfinished.replace(path)


async def _ensured(known: Keys, database_url: str, store: StoreCard) -> Keys:
    engine = create_engine(Settings(database_url=database_url).sqlalchemy_url, pool_size=1)
    try:
        key_store = KeyStore(engine, lambda: datetime.now(UTC))
        with contextlib.suppress(InvalidInput):  # it exists
            await stores.create(engine, store, datetime.now(UTC), by=_BY)
        return Keys(
            write_key=await _valid(key_store, store.store_id, WRITE_KEY, known.write_key),
            admin_key=await _valid(key_store, store.store_id, ADMIN_KEY, known.admin_key),
            link_secret=known.link_secret or secrets.token_urlsafe(32),
        )
    finally:
        await engine.dispose()


async def _valid(key_store: KeyStore, store_id: str, grant: Grant, known: str) -> str:
    try:
        access = await key_store.verify(known)
    except NotAuthorised:
        access = None
    if access is not None and (access.store_id, access.scopes) == (store_id, frozenset(grant.scopes)):
        return known
    return (await key_store.create(store_id, grant, by=_BY)).secret
