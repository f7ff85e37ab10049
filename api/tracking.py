"""Segment's HTTP Tracking API, as its clients and RudderStack's really use it.

A request does one thing: check the events, commit them, answer.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response, Security

from api import documents, errors
from api.body import BATCH_LIMIT, EVENT_LIMIT, json_object
from api.door import Act, Call, accepted
from api.envelope import Arrival, moment, opened, payload_of, storable, understood
from api.keys import access, shown, shown_keys
from api.services import Services
from api.steps import Refused, each
from domain.access import Scope
from domain.errors import InvalidEvent, InvalidInput, TooLarge
from domain.events import Event, Shortened

MAX_EVENTS = 2500
"""Events in one batch (Segment's limit)."""
_AT_ONCE = 100

_MERGED = ("context", "integrations")

router = APIRouter(tags=["tracking"])
"""The calls as FastAPI documents them."""
CALLS: dict[str, Call] = {}
"""The calls as they are served (`api/door.py`), by path."""


async def single(kind: str, request: Request) -> None:
    """Accept one event of a kind."""
    services: Services = request.app.state.services
    await services.events.accept([await _read_event(kind, request, services)])


async def batch(request: Request) -> Response | None:
    """Accept up to 2500 events; the good ones are stored even if others are not."""
    services: Services = request.app.state.services
    refused: list[Refused] = []
    await services.events.accept(await _read_events(request, services, refused))
    if not refused:
        return None
    bad = [errors.Problem(index=one.number, field=one.field, message=one.rule) for one in sorted(refused)]
    return errors.rejected(400, bad)


# Reading is done when a commit is waited for: nothing that was read is held meanwhile but what is written of it.


async def _read_event(kind: str, request: Request, services: Services) -> Event:
    body = await json_object(request, EVENT_LIMIT)
    arrival = await _arrival(request, services, body)
    return understood({**body, "type": kind}, arrival)


async def _read_events(request: Request, services: Services, refused: list[Refused]) -> list[Event]:
    """Read the events of a batch; tell of those that are refused."""
    body = await json_object(request, BATCH_LIMIT)
    raws = body.get("batch")
    arrival = await _arrival(request, services, body, cost=len(raws) if isinstance(raws, list) else 1)
    if not isinstance(raws, list):
        raise InvalidInput("batch", "must be a list of events")
    if len(raws) > MAX_EVENTS:
        raise TooLarge(f"must not hold more than {MAX_EVENTS} events")
    defaults = {field: body[field] for field in _MERGED if isinstance(body.get(field), dict)}
    limit = None if defaults else EVENT_LIMIT  # what the batch says for all makes no event too large
    good: list[Event] = []
    for first in range(0, len(raws), _AT_ONCE):
        if first:
            await asyncio.sleep(0)  # a large batch lets the others through
        some = enumerate(raws[first : first + _AT_ONCE], first)
        whole = each(lambda raw: _whole(raw, defaults), some, refused)
        written = each(lambda one: (one[0], one[1], storable(one[1], limit)), whole, refused)
        good += [event for _, event in each(lambda one: opened(*one, arrival), written, refused)]
    return good


async def _arrival(request: Request, services: Services, body: Mapping[str, Any], cost: int = 1) -> Arrival:
    """Find the store, the moment and the customer's address of a request.

    Raises:
        NotAuthorised: No key, neither in the headers nor in the address nor in the body, is valid.
        ScopeMissing: None of them may send events.
        OriginRefused: The store does not list the page that the request comes from.
        LimitReached: The key takes more than it may.
    """
    own = body.get("writeKey")
    keys = [*shown(request), own] if isinstance(own, str) else shown(request)
    store = await access(request, services, keys, Scope.WRITE, public=True, cost=max(1, min(cost, MAX_EVENTS)))
    # Only a browser's request comes from the customer's own address; a server's comes from the shop.
    context = body.get("context")
    direct = "origin" in request.headers or (isinstance(context, dict) and context.get("direct") is True)
    return Arrival(
        store_id=store.store_id,
        received_at=services.clock(),
        sent_at=moment("sentAt", body.get("sentAt")),
        peer=request.client.host if direct and request.client else None,
    )


def _whole(raw: object, defaults: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Any], Shortened]:
    """Return an event of a batch, with what the batch says for all, and what is kept of it."""
    if not isinstance(raw, dict):
        raise InvalidEvent("event", "must be an object")
    if defaults:
        storable(payload_of(raw), EVENT_LIMIT)
        raw = _with_defaults(raw, defaults)
    return raw, payload_of(raw)


def _with_defaults(raw: dict[str, Any], defaults: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    merged = {
        field: {**common, **(raw.get(field) or {})}
        for field, common in defaults.items()
        if isinstance(raw.get(field), dict | None)
    }
    return {**raw, **merged}


def _add_single(kind: str, summary: str) -> None:
    _add(kind, f"/v1/{kind[0]}", partial(single, kind), summary, documents.call(kind))


def _add(name: str, short: str, act: Act, summary: str, body: dict[str, Any]) -> None:
    """Serve a call under its name, its short name and both with a slash at the end."""

    async def documented(request: Request) -> Response:
        return await act(request) or accepted()

    router.add_api_route(
        f"/v1/{name}",
        documented,
        methods=["POST"],
        summary=summary,
        operation_id=name,
        dependencies=[Security(shown_keys)],
        response_model=documents.Accepted,
        responses=errors.documented(400, 401, 403, 413, 415, 429, 503),
        openapi_extra=body,
    )
    for alias in (f"/v1/{name}/", short, f"{short}/"):
        router.add_api_route(alias, documented, methods=["POST"], include_in_schema=False)
    CALLS.update({path: Call(path, act) for path in (f"/v1/{name}", f"/v1/{name}/", short, f"{short}/")})


_add_single("track", "Say what a customer did")
_add_single("identify", "Say who a customer is")
_add_single("page", "Say which page was seen")
_add_single("screen", "Say which screen of an app was seen")
_add_single("group", "Say what a customer belongs to")
_add_single("alias", "Say that two identities are one customer")
_add("batch", "/v1/b", batch, "Send many events at once", documents.batch())
_add("import", "/v1/import", batch, "Send many events at once (an older name of batch)", documents.batch())
