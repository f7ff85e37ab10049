"""Discount codes from a shop's own endpoint: `POST {"pool": …, "count": …}`, signed; `{"codes": […]}` comes back.

The order's id is the request's id (`webhook-id`): to a request that is repeated the shop gives the same codes again.
"""

import json

import httpx
from pydantic import BaseModel, ValidationError

from adapters.shops.signature import signed
from domain.discounts import CodeOrder
from domain.errors import ConfigurationError, InvalidInput, Unavailable
from domain.ports import Clock, ShopSecrets

_TIMEOUT_S = 15.0
_MOST_BYTES = 1_000_000


class _Answer(BaseModel):
    codes: list[str]


class ShopCodes:
    """Implements `domain.ports.CodeIssuer`.

    Args:
        secrets: What signs the requests of a store.
        clock: Tells when.
    """

    def __init__(self, secrets: ShopSecrets, clock: Clock) -> None:
        self._secrets = secrets
        self._clock = clock

    async def issue(self, order: CodeOrder) -> list[str]:
        keys = await self._secrets.of(order.store_id, "shop")
        if not keys:
            raise ConfigurationError(f"{order.store_id} has no secret to sign orders with")
        body = json.dumps({"pool": order.pool, "count": order.count}).encode()
        headers = signed(keys, str(order.order_id), self._clock(), body) | {"content-type": "application/json"}
        try:
            # Nobody but the shop may be asked in its name, so redirects are not followed.
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client,
                client.stream("POST", order.url, content=body, headers=headers) as answer,
            ):
                if answer.status_code != 200:
                    raise Unavailable(f"the shop answered {answer.status_code}")
                said = b""
                async for part in answer.aiter_bytes():
                    said += part
                    if len(said) > _MOST_BYTES:
                        raise InvalidInput("codes", "the shop's answer is larger than a megabyte")
        except httpx.HTTPError as problem:
            raise Unavailable(f"the shop cannot be reached: {type(problem).__name__}") from problem
        try:
            return order.filled_by(_Answer.model_validate_json(said).codes)
        except ValidationError as problem:
            raise InvalidInput("codes", "the shop's answer must hold a list of texts") from problem
