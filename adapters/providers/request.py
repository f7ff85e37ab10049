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
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as problem:
            raise InvalidInput("body", "is not valid JSON") from problem
