"""The endpoints of a plain shop frontend: they say the same as tracking calls, and become the same events.

Amounts under `/track/` are whole cents (minor units of the store's currency), as requirements 1 has them; amounts in
a cart under `/api/v1/carts/track` are decimal, as everywhere else.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from pydantic import BaseModel

from adapters.postgres import reports
from adapters.postgres.keys import Access
from api import documents, errors
from api.body import EVENT_LIMIT, json_object
from api.envelope import Arrival, understood
from api.keys import Shown, access
from api.services import Services, Wired
from domain.access import Scope
from domain.errors import InvalidEvent
from domain.events import Event
from domain.money import MAX_MINOR, to_decimal
from domain.vocabulary import canonical

router = APIRouter(tags=["shop"])

_RENAMED = {
    "product_name": "name",
    "product_price": "price",
    "product_category": "category",
    "user_email": "email",
}
_CENTS = ("price", "current_price", "original_price", "target_price")
_ENVELOPE = {
    "user_id": "userId",
    "session_id": "anonymousId",
    "anonymous_id": "anonymousId",
    "message_id": "messageId",
    "timestamp": "timestamp",
    "sent_at": "sentAt",
    "context": "context",
}
_PRODUCT = {"type": ["string", "integer"], "description": "The product's id in the shop."}
_CENTS_FIELD = {"type": ["integer", "null"], "minimum": 0, "description": "In cents."}
_WHO: dict[str, dict[str, Any]] = {
    "user_id": {"type": ["string", "integer", "null"]},
    "session_id": {
        "type": ["string", "null"],
        "description": "The browser's id; made and returned if nobody is named.",
    },
    "timestamp": {"type": ["string", "null"], "format": "date-time"},
    "message_id": {"type": ["string", "null"], "maxLength": 100, "description": "Dedup key."},
}
_ERRORS = errors.documented(400, 401, 403, 413, 415, 429, 503)


class Tracked(documents.Accepted):
    """The event was stored.

    Attributes:
        session_id: Send it with the next call; present if the call named nobody.
    """

    event_id: str
    session_id: str | None = None


class ViewTracked(Tracked):
    """The view was stored."""

    view_id: str


class Recommendations(BaseModel):
    """The best sellers of the category that a customer looks at most; prices in cents."""

    success: bool = True
    category: str | None
    products: list[reports.BestSeller]


@router.post(
    "/track/view",
    responses=_ERRORS,
    response_model_exclude_none=True,
    openapi_extra=documents.described(
        documents.fields(
            ["product_id"],
            product_id=_PRODUCT,
            product_name={"type": "string"},
            product_price=_CENTS_FIELD,
            product_category={"type": "string"},
            referrer={"type": "string"},
            device_type={"type": "string"},
            **_WHO,
        ),
        {
            "view": {
                "product_id": "prod_001",
                "product_name": "Christian Voter Guide",
                "product_price": 1999,
                "product_category": "Books",
                "referrer": "https://google.com",
                "device_type": "desktop",
                "session_id": "sess_xyz789",
            }
        },
    ),
)
async def view(request: Request, services: Wired, shown: Shown) -> ViewTracked:
    """Say that a product page was seen."""
    event, session = await _track("Product Viewed", request, services, shown)
    return ViewTracked(event_id=str(event.id), view_id=str(event.id), session_id=session)


@router.post(
    "/track/duration",
    responses=_ERRORS,
    response_model_exclude_none=True,
    openapi_extra=documents.described(
        documents.fields(
            ["product_id", "duration"],
            product_id=_PRODUCT,
            duration={"type": "number", "minimum": 0, "description": "Seconds."},
            **_WHO,
        ),
        {"duration": {"product_id": "prod_001", "duration": 45, "session_id": "sess_xyz789"}},
    ),
)
async def duration(request: Request, services: Wired, shown: Shown) -> Tracked:
    """Say how long a product page was open; made for `navigator.sendBeacon` with `?writeKey=`."""
    event, session = await _track("Product View Timed", request, services, shown, required="duration")
    return Tracked(event_id=str(event.id), session_id=session)


@router.post(
    "/track/cart-add",
    responses=_ERRORS,
    response_model_exclude_none=True,
    openapi_extra=documents.described(
        documents.fields(
            ["product_id"],
            product_id=_PRODUCT,
            quantity={"type": "integer", "minimum": 1},
            product_name={"type": "string"},
            product_price=_CENTS_FIELD,
            **_WHO,
        ),
        {"cart-add": {"product_id": "prod_001", "quantity": 1, "product_price": 1999, "user_id": "user_123"}},
    ),
)
async def cart_add(request: Request, services: Wired, shown: Shown) -> Tracked:
    """Say that a product was put into the cart."""
    event, session = await _track("Product Added", request, services, shown)
    return Tracked(event_id=str(event.id), session_id=session)


@router.post(
    "/track/watchlist/add",
    responses=_ERRORS,
    response_model_exclude_none=True,
    openapi_extra=documents.described(
        documents.fields(
            ["product_id"],
            product_id=_PRODUCT,
            target_price=_CENTS_FIELD,
            notify_on_price_drop={"type": "boolean"},
            notify_on_restock={"type": "boolean"},
            **_WHO,
        ),
        {
            "watch": {
                "product_id": "prod_001",
                "target_price": 1500,
                "notify_on_price_drop": True,
                "notify_on_restock": True,
                "user_id": "user_123",
            }
        },
    ),
)
async def watchlist_add(request: Request, services: Wired, shown: Shown) -> Tracked:
    """Say that a customer wants to hear of a product's price or stock."""
    event, session = await _track("Product Added to Wishlist", request, services, shown)
    return Tracked(event_id=str(event.id), session_id=session)


@router.get("/track/recommendations/{user_id:path}", responses=errors.documented(401, 403, 404, 429, 503))
async def recommendations(user_id: str, request: Request, services: Wired, shown: Shown) -> Recommendations:
    """Recommend the six best sellers of the category that dominates the customer's last 50 views."""
    store = await access(request, services, shown, Scope.READ, public=True)
    category, products = await reports.recommendations(services.engine, store.store_id, user_id)
    return Recommendations(category=category, products=products)


@router.post(
    "/api/v1/carts/track",
    responses=_ERRORS,
    response_model_exclude_none=True,
    openapi_extra=documents.described(
        documents.fields(
            ["event", "cart_data"],
            event={
                "type": "string",
                "description": "cart_created, cart_updated, …: any name or alias of docs/events.md.",
            },
            cart_data={
                "type": "object",
                "description": "`items` (or `products`, `line_items`), `total`, `currency`, `cart_id`, `checkout_url`, "
                "`customer` or `user_id`, `session_id`, `email`; amounts are decimal.",
            },
            timestamp=_WHO["timestamp"],
            message_id=_WHO["message_id"],
        ),
        {
            "cart": {
                "event": "cart_updated",
                "cart_data": {
                    "cart_id": "c-77",
                    "items": [{"product_id": "mug-1", "name": "Mug", "price": 12.5, "quantity": 2}],
                    "total": 25.0,
                    "currency": "EUR",
                    "customer": {"id": "u-42", "email": "ann@example.com"},
                    "checkout_url": "https://shop.example/checkout/c-77",
                },
                "timestamp": "2024-01-15T10:30:00Z",
            }
        },
    ),
)
async def cart(request: Request, services: Wired, shown: Shown) -> Tracked:
    """Tell what a whole cart holds now."""
    body = await json_object(request, EVENT_LIMIT)
    store = await _store(request, services, shown, body)
    data, name = body.get("cart_data"), body.get("event")
    if not isinstance(data, dict):
        raise InvalidEvent("cart_data", "must be an object")
    if not isinstance(name, str):
        raise InvalidEvent("event", "must be a string, such as cart_updated")
    customer = data.get("customer") if isinstance(data.get("customer"), dict) else {}
    who = {**body, **data}
    raw = {
        "type": "track",
        "event": canonical(name) or name,
        "properties": data,
        **_envelope(body),
        "userId": _first(who.get("user_id"), who.get("customer_id"), (customer or {}).get("id")),
        # A cart that names nobody is still one browser's cart.
        "anonymousId": _first(*(who.get(field) for field in ("session_id", "anonymous_id", "cart_id", "cart_token"))),
    }
    event = _understood(raw, request, services, store)
    await services.events.accept([event])
    return Tracked(event_id=str(event.id))


async def _track(
    name: str, request: Request, services: Services, shown: list[str], *, required: str | None = None
) -> tuple[Event, str | None]:
    """Store a product event, and make a session id if it names nobody."""
    body = await json_object(request, EVENT_LIMIT)
    store = await _store(request, services, shown, body)
    for field in filter(None, ("product_id", required)):
        if body.get(field) in (None, ""):
            raise InvalidEvent(field, "is missing")
    envelope = _envelope(body)
    session = None
    if not any(envelope.get(field) for field in ("userId", "anonymousId")):
        session = envelope["anonymousId"] = f"session-{uuid4()}"
    raw = {"type": "track", "event": name, "properties": _properties(body, store.currency), **envelope}
    event = _understood(raw, request, services, store)
    await services.events.accept([event])
    return event, session


async def _store(request: Request, services: Services, shown: list[str], body: Mapping[str, Any]) -> Access:
    own = body.get("writeKey")
    shown = [*shown, own] if isinstance(own, str) else shown
    return await access(request, services, shown, Scope.WRITE, public=True)


def _understood(raw: dict[str, Any], request: Request, services: Services, store: Access) -> Event:
    peer = request.client.host if request.client and "origin" in request.headers else None
    try:
        return understood(raw, Arrival(store_id=store.store_id, received_at=services.clock(), peer=peer))
    except InvalidEvent as problem:
        # The caller wrote snake_case and shall find the field again.
        names = {ours: theirs for theirs, ours in reversed(_ENVELOPE.items())}
        raise InvalidEvent(names.get(problem.field, problem.field), problem.message) from problem


def _envelope(body: Mapping[str, Any]) -> dict[str, Any]:
    envelope: dict[str, Any] = {}
    for theirs, ours in _ENVELOPE.items():
        if envelope.get(ours) is None and body.get(theirs) is not None:
            envelope[ours] = body[theirs]
    return envelope


def _properties(body: Mapping[str, Any], currency: str) -> dict[str, Any]:
    currency = currency if body.get("currency") is None else str(body["currency"])
    properties: dict[str, Any] = {"currency": currency}
    for field, value in body.items():
        if field in _ENVELOPE or field == "writeKey":
            continue
        name = _RENAMED.get(field, field)
        properties[name] = _decimal(field, value, currency) if name in _CENTS and value is not None else value
    return properties


def _decimal(field: str, cents: object, currency: str) -> float:
    if isinstance(cents, bool) or not isinstance(cents, int) or not 0 <= cents <= MAX_MINOR:
        raise InvalidEvent(field, "must be a whole number of cents")
    return float(to_decimal(cents, currency))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
