"""The bodies of the API as OpenAPI describes them. They are read raw, so the framework cannot derive this."""

from typing import Any, Literal

from pydantic import BaseModel

_TEXT = {"type": "string"}
_ID = {"type": ["string", "integer", "null"], "maxLength": 512}
_OBJECT = {"type": ["object", "null"]}
_MOMENT = {"type": ["string", "null"], "format": "date-time"}

_COMMON: dict[str, Any] = {
    "messageId": {
        **_ID,
        "maxLength": 100,
        "description": "Dedup key: a repeat is a success and changes nothing. Made by us if absent.",
    },
    "userId": {**_ID, "description": "The customer's id in the shop."},
    "anonymousId": {**_ID, "description": "The browser's id, before the customer is known."},
    "timestamp": {**_MOMENT, "description": "When it happened, on the client's clock."},
    "originalTimestamp": {**_MOMENT, "description": "The same under RudderStack's name; it wins over `timestamp`."},
    "sentAt": {**_MOMENT, "description": "When it was sent, on the client's clock: corrects that clock."},
    "context": {**_OBJECT, "description": "`traits`, `ip`, `locale`, `timezone`, …"},
    "integrations": _OBJECT,
    "writeKey": {**_TEXT, "description": "The write key, for clients that cannot set headers."},
}

_OWN: dict[str, dict[str, Any]] = {
    "track": {"event": {**_TEXT, "minLength": 1}, "properties": _OBJECT},
    "identify": {"traits": _OBJECT},
    "page": {"name": {"type": ["string", "null"]}, "properties": _OBJECT},
    "screen": {"name": {"type": ["string", "null"]}, "properties": _OBJECT},
    "group": {"groupId": _ID, "traits": _OBJECT},
    "alias": {"previousId": {**_ID, "description": "The identity so far."}},
}
_REQUIRED = {"track": ["event"]}

_MUG = {"product_id": "mug-1", "name": "Mug", "price": 12.5, "quantity": 2, "category": "Kitchen"}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "track": {
        "event": "Product Added",
        "userId": "u-42",
        "messageId": "5f1d0c0e-7d4b-4c0f-9a3e-2f1f6f6f7a10",
        "timestamp": "2026-01-31T12:00:00.000Z",
        "properties": {**_MUG, "currency": "EUR"},
    },
    "identify": {
        "userId": "u-42",
        "anonymousId": "browser-7",
        "traits": {"email": "ann@example.com", "firstName": "Ann", "timezone": "Europe/Berlin"},
    },
    "page": {"anonymousId": "browser-7", "name": "Home", "properties": {"url": "https://shop.example/"}},
    "screen": {"userId": "u-42", "name": "Cart"},
    "group": {"userId": "u-42", "groupId": "wholesale", "traits": {"name": "Wholesale"}},
    "alias": {"userId": "u-42", "previousId": "browser-7"},
}
_ORDER = {
    "type": "track",
    "event": "Order Completed",
    "userId": "u-42",
    "messageId": "order-1001",
    "properties": {"order_id": "1001", "total": 25.0, "currency": "EUR", "products": [_MUG]},
}


class Accepted(BaseModel):
    """Everything was stored."""

    success: Literal[True] = True


def described(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    """Describe a raw body for OpenAPI."""
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def fields(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    """Describe an object; what is not named is kept as it is."""
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": True}


def call(kind: str) -> dict[str, Any]:
    """Describe the body of one tracking call."""
    return described(_event(kind), {kind: _EXAMPLES[kind]})


def batch() -> dict[str, Any]:
    """Describe the body of a batch."""
    events = {
        "type": "array",
        "maxItems": 2500,
        "items": {"oneOf": [_typed(kind) for kind in _OWN]},
    }
    common = {name: _COMMON[name] for name in ("sentAt", "context", "integrations", "writeKey")}
    schema = fields(["batch"], batch=events, **common)
    example = {"batch": [{"type": "identify", **_EXAMPLES["identify"]}, _ORDER], "sentAt": "2026-01-31T12:00:05.000Z"}
    return described(schema, {"sign-up and order": example})


def _event(kind: str) -> dict[str, Any]:
    return fields(_REQUIRED.get(kind, []), **_OWN[kind], **_COMMON)


def _typed(kind: str) -> dict[str, Any]:
    schema = _event(kind)
    return {
        **schema,
        "title": kind,
        "required": ["type", *schema["required"]],
        "properties": {"type": {"const": kind}, **schema["properties"]},
    }
