"""A webhook's request as verification needs it: the bytes as they came, and the headers."""

import json
from collections.abc import Mapping
from typing import Any

from domain.errors import InvalidInput
from domain.values import Value


class WebhookRequest(Value):
    """A request of a provider.

    Attributes:
        headers: By name in lower case.
    """

    headers: Mapping[str, str]
    body: bytes

    def parsed(self) -> Any:
        """Parse the body.

        Raises:
            InvalidInput: It is not JSON.
        """
        return parsed(self.body)


def parsed(text: bytes | str) -> Any:
    """Parse JSON. What no database keeps (NUL, half of a surrogate pair) is no reason to lose what else is told.

    Raises:
        InvalidInput: It is not JSON, or is nested deeper than anything that a provider sends.
    """
    try:
        return _storable(json.loads(text))
    except (ValueError, RecursionError) as problem:
        raise InvalidInput("body", "is not valid JSON") from problem


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "?").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_storable(part) for part in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(part) for name, part in value.items()}
    return value
