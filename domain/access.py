"""What a key opens: a public one events alone, an API key what its scopes say, and either of them one store."""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from domain.errors import InvalidInput
from domain.values import Value

Kind = Literal["write", "api"]
"""A write key stands in the pages of a shop for everybody to read; an API key is a secret."""

MAX_ORIGINS = 50

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]{0,20}://(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_USUAL_PORTS = {"http": ":80", "https": ":443"}


class Scope(StrEnum):
    """What an API key may do; none of them includes another."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Grant(Value):
    """What a key is made for.

    Attributes:
        scopes: Of an API key one or more, of a write key none.
        name: What the store calls it. One line without an address: it stands in the audit log (G8).
    """

    kind: Kind
    scopes: Annotated[tuple[Scope, ...], Field(max_length=len(Scope))] = ()
    name: Annotated[str, Field(max_length=60, pattern=r"^[^@\x00-\x1f\x7f]*$")] = ""

    @model_validator(mode="after")
    def _scopes_of_the_kind(self) -> Self:
        if self.kind == "write" and self.scopes:
            raise ValueError("a write key is public and has no scopes")
        if self.kind == "api" and not self.scopes:
            raise ValueError(f"an API key needs at least one scope: {', '.join(Scope)}")
        return self


WRITE_KEY = Grant(kind="write")
"""Sends events, and nothing else."""
ADMIN_KEY = Grant(kind="api", scopes=tuple(Scope))
"""Opens everything of a store."""


def origins(told: list[str]) -> tuple[str, ...]:
    """Read a list of origins, as browsers write them: scheme, host, and the port where it is not the usual one.

    Raises:
        InvalidInput: One of them is no origin (RFC 6454 §6.2), or there are too many.
    """
    if len(told) > MAX_ORIGINS:
        raise InvalidInput("origins", f"must not be more than {MAX_ORIGINS}")
    return tuple(dict.fromkeys(_origin(one) for one in told))


def _origin(told: str) -> str:
    text = told.strip().lower().removesuffix("/")
    if not _ORIGIN.fullmatch(text):
        raise InvalidInput("origins", f"{told[:100]!r} is no origin; it must be like https://shop.example, in ASCII")
    return text.removesuffix(_USUAL_PORTS.get(text.partition(":")[0], "\0"))
