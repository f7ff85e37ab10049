"""Errors as JSON: `{"success": false, "errors": [{"index"?, "field", "message"}]}`, and never a stack trace.

`code` and `message` repeat the first error: the official Python clients read these two, and rudder-sdk-python
takes an answer without them for a broken connection and repeats for minutes what can never succeed.
"""

import math
import traceback
from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import (
    InvalidInput,
    JourneysError,
    LimitReached,
    NotAuthorised,
    OriginRefused,
    Overloaded,
    ScopeMissing,
    TooLarge,
    UnsupportedEncoding,
)

_log = structlog.get_logger(__name__)

_DATABASE = (OperationalError, InterfaceError, PoolExhausted)
_RETRY_AFTER = {429: "1", 503: "5"}
_CODES = {
    400: "invalid",
    401: "unauthorised",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "refused",
    413: "too_large",
    415: "unsupported_encoding",
    429: "overloaded",
    503: "unavailable",
}
_FIELDS: dict[type[JourneysError], str] = {
    NotAuthorised: "authorization",
    ScopeMissing: "authorization",
    OriginRefused: "origin",
    TooLarge: "body",
    UnsupportedEncoding: "content-encoding",
}


class Problem(BaseModel):
    """One rule that was broken.

    Attributes:
        index: The position of the event in its batch.
    """

    index: int | None = None
    field: str
    message: str


class Rejected(BaseModel):
    """What went wrong. In a batch, the events that are not named here were stored."""

    success: bool = False
    code: str
    message: str
    errors: list[Problem]


def rejected(status: int, problems: Sequence[Problem]) -> JSONResponse:
    """Answer with errors."""
    first = problems[0]
    answer = Rejected(code=_CODES.get(status, "error"), message=f"{first.field}: {first.message}", errors=[*problems])
    headers = {"Retry-After": _RETRY_AFTER[status]} if status in _RETRY_AFTER else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="journeys"'
    return JSONResponse(answer.model_dump(exclude_none=True), status, headers)


def problem_of(error: JourneysError) -> Problem:
    """Describe an error of ours by field and rule."""
    if isinstance(error, InvalidInput):
        return Problem(index=error.index, field=error.field, message=error.message)
    return Problem(field=_FIELDS.get(type(error), "request"), message=str(error))


def answer_of(error: Exception) -> JSONResponse | None:
    """Return the answer to an error that any endpoint may raise; None for one that nobody foresaw."""
    if isinstance(error, JourneysError):
        answer = rejected(error.status_code, [problem_of(error)])
        if isinstance(error, LimitReached):  # not logged: there may be very many of them
            answer.headers["Retry-After"] = str(math.ceil(error.wait))
        elif error.status_code >= 500 or isinstance(error, Overloaded):
            _log.warning("request refused", error=type(error).__name__)
        return answer
    if isinstance(error, _DATABASE):
        _log.warning("request refused", error=type(error).__name__)
        return rejected(503, [Problem(field="request", message="the database does not answer now; send this again")])
    return None


def install(app: FastAPI) -> None:
    """Make every error that a handler can raise an answer in our form."""

    async def foreseen(_request: Request, error: Exception) -> JSONResponse:
        if (answer := answer_of(error)) is None:
            raise error
        return answer

    async def http(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        message = (
            f"there is no {request.method} {request.url.path}" if error.status_code in (404, 405) else error.detail
        )
        field = "authorization" if error.status_code == 401 else "request"
        answer = rejected(error.status_code, [Problem(field=field, message=message)])
        answer.headers.update(error.headers or {})
        return answer

    async def parameters(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        problems = [Problem(field=".".join(map(str, e["loc"][1:])), message=e["msg"]) for e in error.errors()]
        return rejected(400, problems)

    for foreseeable in (JourneysError, *_DATABASE):
        app.add_exception_handler(foreseeable, foreseen)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_middleware(Unforeseen)


class Unforeseen:
    """Answer a defect of ours with a plain 500: clients try again, and nobody reads a stack trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await unforeseen(error)(scope, receive, send)


def unforeseen(error: Exception) -> JSONResponse:
    """Log a defect of ours, and return the answer to it."""
    # Where it broke and what broke, but neither message nor path nor values: they may be personal data.
    trace = "".join(traceback.format_tb(error.__traceback__))
    _log.error("a request failed", error=type(error).__name__, trace=trace)
    return rejected(500, [Problem(field="request", message="failed on our side; send it again later")])


_DESCRIPTIONS = {
    400: ("A rule was broken; sending it again cannot help.", "event", "is missing"),
    401: ("No valid key.", "authorization", "The key is missing, unknown, revoked or at its end."),
    403: ("The key is valid, but does not open this.", "authorization", "this needs the scope admin; the key has read"),
    404: ("There is no such thing in this store.", "request", "there is no such customer"),
    409: ("It cannot be done now.", "request", "the run is over: converted"),
    413: ("Larger than allowed.", "body", "must not be larger than 32 KB"),
    415: ("Packed with something other than gzip.", "content-encoding", "send it plain or as gzip"),
    429: ("Too much at once; send it again after `Retry-After` seconds.", "request", "send this one again later"),
    503: ("A part is down; send it again after `Retry-After` seconds.", "request", "send it again"),
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe error answers for OpenAPI."""
    # A default keeps the framework from describing its own 422, which we never send.
    described: dict[int | str, dict[str, Any]] = {
        "default": {"model": Rejected, "description": "Any other error; 5xx is worth sending again."}
    }
    for status in statuses:
        description, field, message = _DESCRIPTIONS[status]
        problems = [{"field": field, "message": message}]
        example = {"success": False, "code": _CODES[status], "message": f"{field}: {message}", "errors": problems}
        described[status] = {
            "model": Rejected,
            "description": description,
            "content": {"application/json": {"example": example}},
        }
        if status in _RETRY_AFTER:
            described[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return described
