"""The header fields of a request, by name: every layer around an endpoint asks for one or two."""

from collections.abc import Mapping

from starlette.types import Scope


def fields(scope: Scope) -> Mapping[bytes, bytes]:
    """Return a request's header fields by their names in lower case; of several the first counts."""
    known: dict[bytes, bytes] | None = scope.get("fields")
    if known is None:
        known = scope["fields"] = dict(reversed(scope["headers"]))
    return known


def field(scope: Scope, name: bytes) -> str | None:
    """Return one of them as text."""
    told = fields(scope).get(name)
    return None if told is None else told.decode("latin-1")
