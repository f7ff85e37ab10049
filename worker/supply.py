"""Keep pools of discount codes filled by shops, ahead of time: no message waits for a shop, and no claim calls one."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from adapters.postgres.code_sources import CodeSources
from domain.discounts import CodeOrder
from domain.errors import JourneysError
from domain.ports import Clock, CodeIssuer

log = structlog.get_logger("supply")

_EVERY = timedelta(seconds=15)
_SHOPS_AT_ONCE = 8
Told = Callable[[CodeOrder, int | JourneysError], None]
"""Hears of each order how many codes it brought, or what went wrong."""


class Supply:
    """Order codes where a pool runs low. Any number of workers may do it."""

    def __init__(self, sources: CodeSources, issuer: CodeIssuer, clock: Clock) -> None:
        self._sources = sources
        self._issuer = issuer
        self._clock = clock
        self._at_once = asyncio.Semaphore(_SHOPS_AT_ONCE)

    async def run(self) -> None:
        """Look after all stores for ever; cancelling it loses nothing."""
        while True:
            try:
                stores = await self._sources.stores(self._clock())
                await asyncio.gather(*(self._look_after(store_id) for store_id in stores))
            except (SQLAlchemyError, OSError) as problem:
                log.warning("database unavailable", error=type(problem).__name__)
            except Exception as problem:  # noqa: BLE001 - the worker goes on, and so does this
                log.error("supply failed", error=type(problem).__name__)  # noqa: TRY400
            await asyncio.sleep(_EVERY.total_seconds())

    async def _look_after(self, store_id: str) -> None:
        async with self._at_once:  # a shop that is slow keeps nobody else waiting
            await self.top_up(store_id, told=_log)

    async def top_up(self, store_id: str, *, told: Told, at_once: bool = False) -> None:
        """Fill a store's pools that run low; what a shop does not give now is asked for again later.

        Args:
            store_id: The store.
            told: Hears what became of each order.
            at_once: Also what was tried just now.
        """
        for order in await self._sources.orders(store_id, self._clock(), at_once=at_once):
            try:
                added = await self._sources.filled(order, await self._issuer.issue(order), self._clock())
            except JourneysError as problem:
                await self._sources.failed(order, str(problem))
                told(order, problem)
            else:
                told(order, added)


def _log(order: CodeOrder, what: int | JourneysError) -> None:
    if isinstance(what, JourneysError):
        log.warning("no codes from the shop", store_id=order.store_id, pool=order.pool, because=str(what))
    else:
        log.info("codes from the shop", store_id=order.store_id, pool=order.pool, added=what)
