"""Measure and trace every request, by its route and never by its path: addresses carry tokens and names (G8)."""

import time
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters import tracing
from adapters.metrics import HTTP_SECONDS
from api.headers import field

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_log = structlog.get_logger(__name__)

SLOW_S = 5.0
"""An answer that took longer is worth a warning (requirements/3, "Monitoring and Alerts")."""


class Measured:
    """Tell the metrics, and the trace, how long each answer took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499  # the client went away before there was an answer (nginx's number for it)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        structlog.contextvars.clear_contextvars()
        begun = time.perf_counter()
        # A shop that traces its own requests finds ours among them.
        with tracing.span("request", "server", field(scope, b"traceparent")) as span:
            try:
                await self._app(scope, receive, watched)
            finally:
                self._tell(scope, status, time.perf_counter() - begun, span)

    @staticmethod
    def _tell(scope: Scope, status: int, took: float, span: "Span | None") -> None:
        route = route_of(scope)
        if span is not None:
            span.update_name(route)
            span.set_attribute("http.response.status_code", status)
        _seconds(route, status).observe(took)
        if took > SLOW_S:
            _log.warning("slow answer", route=route, status=status, seconds=round(took, 1))


@lru_cache(maxsize=1_024)
def _seconds(route: str, status: int) -> Histogram:
    """Find the histogram of a route and status; to look it up costs more than to count."""
    return HTTP_SECONDS.labels(route, str(status))


def route_of(scope: Scope) -> str:
    """Name the route that served a request, with its parameters unfilled."""
    path = getattr(scope.get("route"), "path", None)
    return "unknown" if path is None else f"{scope['method']} {path}"
