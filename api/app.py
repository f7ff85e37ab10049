"""The API put together: one application, its parts built when it starts and closed when it stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from temporalio.client import Client

from adapters.postgres import tenancy
from adapters.postgres.engine import create_engine
from adapters.postgres.ingest import EventStore
from adapters.postgres.keys import KeyStore
from adapters.settings import Settings
from adapters.temporal.client import connect
from adapters.temporal.codec import customer_codec
from adapters.temporal.erasure import Erasure
from adapters.temporal.operator import RunOperator
from api import (
    admin,
    codec,
    confirmation,
    consents,
    errors,
    health,
    privacy,
    runs,
    security,
    shop,
    sources,
    tracking,
    webhooks,
)
from api.door import Door
from api.headers import fields
from api.keys import LimitFields
from api.measured import Measured
from api.pages import router as pages
from api.patience import Patience
from api.preferences import router as preferences
from api.services import Services
from domain.errors import JourneysError
from domain.ports import Clock
from domain.receipts import Notary
from domain.tokens import Signer

_DESCRIPTION = """
Tell Journeys what your customers do, in Segment's spec: every Segment or RudderStack client works as it is.
An answer of 200 follows the commit. A `messageId` makes a repeat harmless. 429 and 503 mean: send it again later.
"""


def system_clock() -> datetime:
    """Tell the time of this machine."""
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    clock: Clock,
    *,
    engine_check: health.Check | None = None,
    temporal: Callable[[], Awaitable[Client]] | None = None,
) -> FastAPI:
    """Build the API.

    Args:
        settings: Where the database is, and what signs links.
        clock: Tells when an event was received.
        engine_check: Returns if the workflow engine answers, and raises if not; None asks the Temporal of the
            environment.
        temporal: Connects to Temporal, with the first operation on a run (ingest does not need it); None connects to
            that of the environment.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    url, signer = settings.sqlalchemy_url, Signer(settings.signing_secrets())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_engine(url, by_key=True)
        await tenancy.check(engine)
        events = EventStore(engine)
        encryption = customer_codec(settings, engine, clock)
        connecting = temporal or partial(connect, lazy=True, codec=encryption)
        operator = RunOperator(engine, connecting, clock)
        app.state.erasure = Erasure(engine, connecting, Notary(settings.signing_secrets()), clock)
        keys = KeyStore(engine, clock)
        services = Services(settings, engine, events, keys, signer, clock, operator, encryption)
        app.state.services = services
        sharing = asyncio.create_task(_share_limits(services), name="journeys-limits")
        app.state.engine_check = engine_check or health.Temporal()
        try:
            yield
        finally:
            sharing.cancel()
            await events.close()
            await engine.dispose()

    # A redirect would lose the body or the key of a POST, so both spellings of a path are served instead.
    app = Api(
        title="Journeys",
        version="0.1.0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        # Ours names routes and no paths (api/measured.py).
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.temporal_ui_url = settings.temporal_ui_url
    errors.install(app)
    for router in (tracking.router, sources.router, shop.router, admin.router, runs.router, health.router, pages):
        app.include_router(router)
    app.include_router(preferences)
    app.include_router(webhooks.router)
    app.include_router(codec.router)
    app.include_router(confirmation.router)
    app.include_router(consents.router)
    app.include_router(privacy.router)
    app.include_router(security.router)
    return app


class Api(FastAPI):
    """FastAPI beside the door, and both inside what holds for every request.

    Attributes:
        temporal_ui_url: Whose pages may ask to have payloads decoded.
    """

    temporal_ui_url: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request without FastAPI's own beginning, which is for root paths and its telemetry."""
        if self.middleware_stack is None or scope["type"] != "http":
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Put the layers around FastAPI's own, from within."""
        app: ASGIApp = Door(LimitFields(super().build_middleware_stack()), tracking.CALLS)
        # A browser can read errors only if they carry its headers too.
        app = BrowserAccess(
            Patience(app),
            allow_origins=["*"],
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["Retry-After", "RateLimit", "RateLimit-Policy"],
            max_age=86_400,
        )
        if self.temporal_ui_url:
            app = codec.UiAccess(
                app,
                allow_origins=[self.temporal_ui_url],
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", "X-Namespace"],
                allow_credentials=True,
            )
        return Measured(app)  # outermost, so that nothing is left out


async def _share_limits(services: Services) -> None:
    """Add up with the other processes of the API what keys have taken, each second."""
    while True:
        await asyncio.sleep(1.0)
        with suppress(JourneysError):  # each process then limits by what it knows
            await services.meter.share(services.engine, services.clock())


class BrowserAccess(CORSMiddleware):
    """Let the pages of shops send events; what an API key opens stays closed to them.

    A preflight shows no key, so it is answered alike for every store. What counts is the request itself: where its
    store lists origins, another page is refused (`api/keys.py`) and may not read the answer either.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        path = scope.get("path", "")
        if scope.get("method") == "POST" and b"origin" not in fields(scope):
            await self.app(scope, receive, send)  # no browser, or one on its own site
        elif path.startswith(("/v1/", "/track/", "/sourceConfig")) or path == "/api/v1/carts/track":
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        """Answer a request that is no preflight."""

        async def narrowed(message: Message) -> None:
            listed: bool | None = scope.get("state", {}).get("page_listed")
            if message["type"] == "http.response.start" and listed is not None:
                headers = MutableHeaders(scope=message)
                del headers["Access-Control-Allow-Origin"]
                if listed:
                    headers["Access-Control-Allow-Origin"] = request_headers["origin"]
            await send(message)

        await super().simple_response(scope, receive, narrowed, request_headers)
