"""The door: the tracking calls, served as plain ASGI.

Their requests parse, check and commit; what FastAPI and Starlette do around that (routes, dependencies, a response
object) took longer than all of it (docs/performance.md). So FastAPI documents these calls and answers whatever else
their paths are asked, and what is outside of it (limits, time, browsers, metrics) holds for them as for all others.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api import errors
from api.headers import fields
from api.keys import limit_fields

_ACCEPTED = b'{"success":true}'
_FIELDS = [(b"content-length", b"%d" % len(_ACCEPTED)), (b"content-type", b"application/json")]

Act = Callable[[Request], Awaitable[Response | None]]
"""What a call does; None is the usual answer, that everything was stored."""


def accepted() -> Response:
    """Answer that everything was stored."""
    return Response(_ACCEPTED, media_type="application/json")


class Call(NamedTuple):
    """A call, under one of its paths."""

    path: str
    act: Act


class Door:
    """Serve the calls; everything else goes on."""

    def __init__(self, app: ASGIApp, calls: Mapping[str, Call]) -> None:
        self._app = app
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or pass it on."""
        call = self._calls.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if call is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = call  # its name in the metrics
        try:
            answer = await call.act(_Quick(scope, receive))
        except Exception as error:  # noqa: BLE001 - a defect is answered as well
            answer = errors.answer_of(error) or errors.unforeseen(error)
        if answer is not None:
            answer.raw_headers += limit_fields(scope)
            await answer(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [*_FIELDS, *limit_fields(scope)]})
        await send({"type": "http.response.body", "body": _ACCEPTED})


class _Fields(Headers):
    """Header fields that are found by their names, not by going through all of them; of several the first counts."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._by_name = fields(scope)

    def __getitem__(self, key: str) -> str:
        return self._by_name[key.lower().encode("latin-1")].decode("latin-1")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower().encode("latin-1") in self._by_name

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        told = self._by_name.get(key.lower().encode("latin-1"))
        return default if told is None else told.decode("latin-1")


class _Quick(Request):
    """A request with such fields."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self._headers = _Fields(scope)
