"""Scrubbing: a history that can be kept in a repository. What is not known to be harmless is taken out of it (G8).

Ids become others, the same ones each time they occur; what somebody bought goes, and so does free text; times, kinds
of facts, results and plans stay, because replaying depends on them.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from temporalio.client import WorkflowHistory

from domain.errors import OperationRefused

_IDS = {
    "store_id": "store", "customer_id": "customer", "run_id": "run", "order_id": "order", "product_id": "product",
    "StoreId": "store", "CustomerId": "customer", "trigger_event": "event",
    "message_id": "message",
}  # fmt: skip
_PATHS = frozenset({"workflow_id", "workflowId"})
_LISTS_OF_GOODS = frozenset({"lines", "products"})
_SETTINGS = frozenset({"plan", "step"})
"""What a store decided, not what a customer did: it stays, but for the codes it gives away."""
_CODES = frozenset({"discount_code", "discount_pool"})
_HARMLESS = frozenset({
    "kind", "journey", "workflow", "result", "rule", "outcome", "ends", "mode", "action", "currency", "timezone",
    "policy", "id", "summary", "exits", "step", "done", "activity_id", "activity_type",
})  # fmt: skip
"""Fields whose text names no customer: journeys, names of events, words of our own enumerations."""
_TIME = re.compile(r"-?P[\dTYMWDHS.]+|\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
_BLANK = "scrubbed"


def scrubbed(history: WorkflowHistory) -> str:
    """Return a history as JSON without personal data, and without what a store or a machine is called.

    Raises:
        OperationRefused: It holds something that cannot be read, and so not scrubbed.
    """
    return json.dumps(_Scrubber().event(json.loads(history.to_json())), indent=2, ensure_ascii=False) + "\n"


class _Scrubber:
    def __init__(self) -> None:
        self._others: dict[tuple[str, str], str] = {}
        self._known: dict[str, str] = {}

    def event(self, value: Any, key: str = "") -> Any:  # noqa: PLR0911 - one line for each kind of thing
        """Scrub what Temporal wrote around the payloads."""
        match value:
            case {"metadata": {"encoding": _}}:
                return self._payload(value, key)
            case dict() if key == "taskQueue":
                return {"name": "queue"}
            case dict():
                return {name: self.event(part, name) for name, part in value.items()}
            case list():
                return [self.event(part, key) for part in value]
            case str() if key == "identity":
                return "worker"
            case str() if key in {"stackTrace", "message"}:
                return _BLANK
            case str() if key in _PATHS:
                return self._path(value)
            case str() if key == "fairnessKey":
                return self._other("store", value)
        return value

    def _payload(self, payload: Mapping[str, Any], key: str) -> dict[str, Any]:
        encoding = b64decode(payload["metadata"]["encoding"]).decode()
        if encoding == "binary/null":
            return dict(payload)
        if encoding != "json/plain":
            raise OperationRefused(f"the history holds {encoding} payloads, which cannot be scrubbed")
        value = self._value(json.loads(b64decode(payload.get("data", ""))), key if key in _IDS else "summary")
        return {**payload, "data": b64encode(json.dumps(value, ensure_ascii=False).encode()).decode()}

    def _value(self, value: Any, key: str) -> Any:  # noqa: PLR0911 - one line for each kind of thing
        match value:
            case dict() if key in _SETTINGS:
                return _without_codes(value)
            case dict():
                return {name: self._value(part, name) for name, part in value.items()}
            case list():
                return [] if key in _LISTS_OF_GOODS else [self._value(part, key) for part in value]
            case str() if key in _IDS:
                return self._other(_IDS[key], value)
            case str() if key in _PATHS:
                return self._path(value)
            case str() if value in self._known:
                return self._known[value]
            case str() if key in _HARMLESS or _TIME.fullmatch(value):
                return value
            case str():
                return _BLANK
        return value

    def _other(self, what: str, value: str) -> str:
        number = sum(kind == what for kind, _ in self._others) + 1
        other = str(UUID(int=number)) if _is_uuid(value) else f"{what}-{number}"
        return self._known.setdefault(value, self._others.setdefault((what, value), other))

    def _path(self, value: str) -> str:
        return "/".join(self._known.get(part, part) for part in value.split("/"))


def _without_codes(settings: Any) -> Any:
    match settings:
        case dict():
            return {
                name: _BLANK if name in _CODES and part else _without_codes(part) for name, part in settings.items()
            }
        case list():
            return [_without_codes(part) for part in settings]
    return settings


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True
