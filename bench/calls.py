"""The calls that the benchmarks make: what a browser of a shop sends, in Segment's spec."""

from typing import Any

_CONTEXT = (
    '"context":{"ip":"192.0.2.7","locale":"en-GB","timezone":"Europe/London","library":{"name":"analytics.js",'
    '"version":"4.1.0"},"page":{"path":"/p/blue-mug","referrer":"https://shop.example/kitchen","title":"Blue mug",'
    '"url":"https://shop.example/p/blue-mug"},"userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0"}'
)
_VIEWED = (
    '{"type":"track","event":"Product Viewed","userId":"%s-u%d","anonymousId":"%s-a%d","messageId":"%s-m%d",'
    '"properties":{"product_id":"MUG-%d","name":"Blue mug","category":"Kitchen","price":18.99,"currency":"EUR"},'
    + _CONTEXT.replace("%", "%%")
    + "}"
)
_CUSTOMERS = 5_000
_MUG = {"product_id": "MUG-0", "name": "Blue mug", "price": 18.99, "currency": "EUR", "quantity": 1}


def body_of(prefix: str, number: int, each: int) -> bytes:
    """Write the body of one request: a `track` call, or a `batch` of `each` of them."""
    if each == 1:
        return _viewed(prefix, number).encode()
    calls = ",".join(_viewed(prefix, number * each + place) for place in range(each))
    return f'{{"batch":[{calls}]}}'.encode()


def _viewed(prefix: str, number: int) -> str:
    who = number % _CUSTOMERS
    return _VIEWED % (prefix, who, prefix, who, prefix, number, number % 200)


def subscriber(user: str) -> dict[str, Any]:
    """Introduce a customer with an address and consent."""
    traits = {"email": f"{user}@example.com", "firstName": "Ada", "marketing_consent": True}
    return {"type": "identify", "userId": user, "messageId": f"{user}-who", "traits": traits}


def cart(user: str, number: int = 0) -> dict[str, Any]:
    """Put something into a customer's cart."""
    return _track(user, "Product Added", f"cart-{number}", {**_MUG, "product_id": f"MUG-{number % 200}"})


def order(user: str) -> dict[str, Any]:
    """Buy it."""
    bought = {"order_id": f"o-{user}", "total": 18.99, "currency": "EUR", "products": [_MUG]}
    return _track(user, "Order Completed", "order", bought)


def seen(user: str, number: int) -> dict[str, Any]:
    """Tell of something that no journey cares about."""
    properties = {"label": "size chart", "position": number % 7, "path": "/p/blue-mug"}
    return _track(user, "Button Clicked", f"seen-{number}", properties)


def _track(user: str, event: str, which: str, properties: dict[str, Any]) -> dict[str, Any]:
    call = {"type": "track", "event": event, "userId": user, "messageId": f"{user}-{which}"}
    return {**call, "properties": properties}
