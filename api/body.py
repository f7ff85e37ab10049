"""The body of a request, read as clients really send it: any content type, plain or gzip, within a limit."""

import gzip
import io
import json
import math
import zlib
from typing import Any

from fastapi import Request
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from domain.errors import InvalidInput, TooLarge, UnsupportedEncoding

EVENT_LIMIT = 32 << 10
"""Bytes of one event (Segment's limit)."""
BATCH_LIMIT = 500 << 10
"""Bytes of one batch (Segment's limit)."""

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DIGITS = 300
# Numbers that nobody can hold become infinite here, so that the check of the single event can name the field and the
# rest of a batch survives. So do those that JSON does not have (NaN), here and with the quick reader.
_JSON = json.JSONDecoder(parse_int=lambda text: int(text) if len(text) <= _MAX_DIGITS else math.inf)


async def json_object(request: Request, limit: int) -> dict[str, Any]:
    """Read a JSON object from a request.

    The content type is ignored: browsers send `text/plain` and some clients claim to send a form.

    Raises:
        TooLarge: The body is larger than `limit`, packed or unpacked.
        UnsupportedEncoding: The body is packed with something other than gzip.
        InvalidInput: The body is not a JSON object.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise UnsupportedEncoding
    raw = await raw_bytes(request, limit)
    # The bytes decide: some proxies unpack a body and leave the header, some clients pack and forget it.
    body = _parsed(_unpacked(raw, limit) if raw.startswith(_GZIP_MAGIC) else raw)
    if not isinstance(body, dict):
        raise InvalidInput("body", "must be a JSON object")
    return body


async def raw_bytes(request: Request, limit: int) -> bytes:
    """Read a request as it came.

    Raises:
        TooLarge: It is larger than `limit`.
    """
    received, more = b"", True
    while more:  # Starlette's own generator does the same, with more around it
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        received += message.get("body", b"")
        more = message.get("more_body", False)
        if len(received) > limit:
            raise _too_large(limit)
    return received


def _unpacked(packed: bytes, limit: int) -> bytes:
    try:
        # One byte more than allowed tells a full body from a bomb without unpacking the bomb.
        body = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(limit + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise InvalidInput("body", "is not valid gzip") from problem
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _parsed(body: bytes) -> object:
    try:
        # Names repeat from event to event; values that do are not worth the search.
        return from_json(body, cache_strings="keys")
    except ValueError:
        return _read_exactly(body)


def _read_exactly(body: bytes) -> object:
    """Read what the quick reader does not: what is wrong, and what is only unusual (UTF-16, half a surrogate pair)."""
    try:
        return _JSON.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except RecursionError as problem:
        raise InvalidInput("body", "is nested too deeply") from problem
    except ValueError as problem:
        where = f" (line {problem.lineno}, column {problem.colno})" if isinstance(problem, json.JSONDecodeError) else ""
        raise InvalidInput("body", f"is not valid JSON{where}") from problem


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"must not be larger than {limit >> 10} KB")
