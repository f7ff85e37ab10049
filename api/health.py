"""Is it up, and what is waiting. No key is needed: there are only numbers here."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal, cast

from fastapi import APIRouter, Request
from pydantic import BaseModel
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.postgres import reports
from adapters.temporal.client import connect
from api.errors import documented
from api.services import Wired
from domain.errors import Unavailable

Check = Callable[[], Awaitable[None]]
"""Return if something answers; raise `Unavailable` if not."""

_PATIENCE = timedelta(seconds=2)

router = APIRouter(prefix="/api/health", tags=["health"])


class Health(BaseModel):
    """It answers."""

    status: Literal["ok"] = "ok"


class Queue(BaseModel):
    """Events that wait for a router, in all stores.

    Attributes:
        oldest_age_seconds: How long the oldest open event has waited; null when none waits.
    """

    status: Literal["ok"] = "ok"
    pending: int
    applied: int
    parked: int
    oldest_age_seconds: float | None


class Temporal:
    """The Temporal of the environment, connected with the first question."""

    def __init__(self) -> None:
        self._client: Client | None = None

    async def __call__(self) -> None:
        """Ask whether it serves.

        Raises:
            Unavailable: It does not answer in two seconds.
        """
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                self._client = self._client or await connect(lazy=True)
                await self._client.service_client.check_health(timeout=_PATIENCE)
        except (RPCError, RuntimeError, OSError, TimeoutError) as problem:
            raise Unavailable("Temporal does not answer; events are stored and wait") from problem


@router.get("", summary="Does the API answer?")
async def api() -> Health:
    """Answer without asking anybody."""
    return Health()


@router.get("/db", summary="Does Postgres answer?", responses=documented(503))
async def database(services: Wired) -> Health:
    """Answer after one round trip to Postgres."""
    await reports.alive(services.engine)
    return Health()


@router.get("/engine", summary="Does Temporal answer?", responses=documented(503))
async def engine(request: Request) -> Health:
    """Answer after one round trip to Temporal; ingest does not depend on it."""
    await cast("Check", request.app.state.engine_check)()
    return Health()


@router.get("/queue", summary="What waits for the router?", responses=documented(503))
async def queue(services: Wired) -> Queue:
    """Count the events that are not routed yet."""
    depth = await reports.queue_depth(services.engine, services.clock())
    age = None if depth.oldest_age is None else depth.oldest_age.total_seconds()
    return Queue(pending=depth.pending, applied=depth.applied, parked=depth.parked, oldest_age_seconds=age)
