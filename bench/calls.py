"""The calls that the benchmarks make: what a browser of a shop sends, in Segment's spec."""

import json
from typing import Any

_CONTEXT = (
    '"context":{"ip":"192.0.2.7","locale":"en-GB","timezone":"Europe/London","library":{"name":"analytics.js",'
    '"version":"4.1.0"},"page":{"path":"/p/blue-mug","referrer":"https://shop.example/kitchen","title":"Blue mug",'
    '"url":"https://shop.example/p/blue-mug"},"userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0"}'
)
_VIEWED = (
    '{"type":"track","event":"Product Viewed","userId":"u-%d","anonymousId":"a-%d","messageId":"%s-m%d",'
    '"properties":{"product_id":"MUG-%d","name":"Blue mug","category":"Kitchen","price":18.99,"currency":"EUR"},'
    + _CONTEXT.replace("%", "%%")
    + "}"
)
CONTEXT: dict[str, Any] = json.loads(f"{{{_CONTEXT}}}")["context"]
"""What a browser says of itself with each call."""
_CUSTOMERS = 5_000
"""Of whom each load tells: whoever measures a second one has customers that are known, as most of a shop's are."""
_MUG = {"product_id": "MUG-0", "name": "Blue mug", "price": 18.99, "currency": "EUR", "quantity": 1}


def body_of(prefix: str, number: int, each: int) -> bytes:
    """Write the body of one request: a `track` call, or a `batch` of `each` of them."""
    if each == 1:
        return _viewed(prefix, number).encode()
    calls = ",".join(_viewed(prefix, number * each + place) for place in range(each))
    return f'{{"batch":[{calls}]}}'.encode()


def _viewed(prefix: str, number: int) -> str:
    who = number % _CUSTOMERS
    return _VIEWED % (who, who, prefix, number, number % 200)


def subscriber(user: str) -> dict[str, Any]:
    """Introduce a customer with an address and consent."""
    traits = {"email": f"{user}@example.com", "firstName": "Ada", "marketing_consent": True}
    return {"type": "identify", "userId": user, "messageId": f"{user}-who", "traits": traits}


def cart(user: str, number: int = 0) -> dict[str, Any]:
    """Put something into a customer's cart."""
    return _track(user, "Product Added", f"cart-{number}", {**_MUG, "product_id": f"MUG-{number % 200}"})


def order(user: str, product: str = "MUG-0", number: int = 0) -> dict[str, Any]:
    """Buy it."""
    products = [{**_MUG, "product_id": product}]
    bought = {"order_id": f"o-{user}-{number}", "total": 18.99, "currency": "EUR", "products": products}
    return _track(user, "Order Completed", f"order-{number}", bought)


def stock_request(user: str, product: str) -> dict[str, Any]:
    """Ask to be told when it is back."""
    return _track(user, "Back In Stock Requested", f"asks-{product}", {**_MUG, "product_id": product})


def restock(product: str, units: int) -> dict[str, Any]:
    """Put it back into stock."""
    return _track("back-office", "Product Updated", f"stock-{product}", {"product_id": product, "stock": units})


def seen(user: str, number: int) -> dict[str, Any]:
    """Tell of something that no journey cares about."""
    properties = {"label": "size chart", "position": number % 7, "path": "/p/blue-mug"}
    return _track(user, "Button Clicked", f"seen-{number}", properties)


def _track(user: str, event: str, which: str, properties: dict[str, Any]) -> dict[str, Any]:
    call = {"type": "track", "event": event, "userId": user, "messageId": f"{user}-{which}"}
    return {**call, "properties": properties}
