"""Who is asking: the keys that a request shows, wherever its client puts them, and whether they open what is asked.

401 says that there is no valid key; 403 that there is one, and what it lacks; 429 that it has taken what it may.
"""

import math
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from fastapi import Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from adapters.postgres.keys import Access
from adapters.postgres.meter import Allowance
from api.services import Services, Wired
from domain.access import Scope
from domain.errors import JourneysError, NotAuthorised, OriginRefused, ScopeMissing

_basic = HTTPBasic(auto_error=False, scheme_name="Basic", description="The key as user name, without a password.")
_bearer = HTTPBearer(auto_error=False, scheme_name="Bearer", description="The key as bearer token.")


# A coroutine, as `services` is: FastAPI would give a function a thread, for every request.
async def shown_keys(
    request: Request,
    _basic: Annotated[HTTPBasicCredentials | None, Security(_basic)],
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    _write_key: Annotated[
        str | None,
        Query(alias="writeKey", description="The write key, where a client cannot set headers (`sendBeacon`)."),
    ] = None,
) -> list[str]:
    """Document where a key may be shown, and collect those that are."""
    return shown(request)


def shown(request: Request) -> list[str]:
    """Collect the keys that a request shows outside its body; what cannot be read shows none."""
    scheme, _, told = request.headers.get("authorization", "").partition(" ")
    key = told.strip() if scheme.lower() == "bearer" else None
    if scheme.lower() == "basic":
        try:
            key, _, _ = b64decode(told).decode("ascii").partition(":")
        except ValueError:
            key = None
    # Most have no query, and looking for one costs as much as the rest of this.
    asked = request.query_params.get("writeKey") if request.scope["query_string"] else None
    return [found for found in (key, asked) if found]


Shown = Annotated[list[str], Security(shown_keys)]


async def access(
    request: Request, services: Services, shown: list[str], scope: Scope, *, public: bool = False, cost: int = 1
) -> Access:
    """Find the store that one of the keys opens; a wrong key next to a right one does not matter.

    Args:
        request: Told what the answer's header fields are to say.
        services: The parts of the API.
        shown: The keys that it shows.
        scope: What an API key must have.
        public: A write key will do as well.
        cost: How many tokens the request takes: as many as it has events.

    Raises:
        NotAuthorised: None of them is valid.
        ScopeMissing: One of them is valid, but none opens this.
        OriginRefused: A browser shows a write key on a page that its store does not list.
        LimitReached: The key takes more than it may.
        Unavailable: The keys cannot be read now.
    """
    refusal: JourneysError | None = None
    for key in dict.fromkeys(shown):
        try:
            found = await services.keys.verify(key)
        except NotAuthorised:
            continue
        if scope in found.scopes or (public and found.kind == "write"):
            _check_page(request, found)
            try:
                services.meter.take(found, cost)
            finally:
                request.scope.setdefault("state", {})["allowance"] = services.meter.allowance(found)
            structlog.contextvars.bind_contextvars(store_id=found.store_id)
            return found
        refusal = ScopeMissing(_lacking(found, scope))
    raise refusal or NotAuthorised


def _lacking(found: Access, scope: Scope) -> str:
    if found.kind == "write":
        return f"a write key only sends events; this needs an API key with the scope {scope}"
    return f"this needs the scope {scope}; the key has {', '.join(sorted(found.scopes))}"


def _check_page(request: Request, found: Access) -> None:
    """Refuse a page that may not use a public key. Who sends no origin is no browser, or stays on its own site."""
    if found.kind == "write" and found.origins is not None and (origin := request.headers.get("origin")) is not None:
        request.state.page_listed = origin in found.origins
        if not request.state.page_listed:
            raise OriginRefused


def _requires(scope: Scope) -> Callable[[Request, Services, list[str]], Awaitable[Access]]:
    async def opened(request: Request, services: Wired, shown: Shown) -> Access:
        return await access(request, services, shown, scope)

    return opened


Reader = Annotated[Access, Security(_requires(Scope.READ))]
"""The type of a handler's parameter that requires an API key with the scope `read`."""
Writer = Annotated[Access, Security(_requires(Scope.WRITE))]
"""... with the scope `write`."""
Administrator = Annotated[Access, Security(_requires(Scope.ADMIN))]
"""... with the scope `admin`."""


def limit_fields(scope: Connection) -> list[tuple[bytes, bytes]]:
    """Return what an answer tells of the limit of its key; nothing, if none was looked at."""
    allowance: Allowance | None = scope.get("state", {}).get("allowance")
    if allowance is None:
        return []
    limit, left = allowance.limit, max(0, int(allowance.left))
    policy = b'"key";q=%d;w=%d' % (limit.burst, math.ceil(limit.burst / limit.per_second))
    now = b'"key";r=%d;t=%d' % (left, math.ceil(allowance.full_in))
    return [(b"ratelimit-policy", policy), (b"ratelimit", now)]


class LimitFields:
    """Tell with every answer what its key may still take (draft-ietf-httpapi-ratelimit-headers-10)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += limit_fields(scope)
            await send(message)

        await self._app(scope, receive, told)
