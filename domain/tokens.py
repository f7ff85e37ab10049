"""Signed link tokens: an opaque message id, a purpose and a short HMAC; short enough for one header line.

A token never expires (an unsubscribe link must work for ever) and names no person. 128 bits of HMAC-SHA256 are
kept (RFC 2104 §5 allows truncation to half the output). Several secrets may be given: the first signs, all verify.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from enum import IntEnum
from uuid import UUID

from domain.errors import InvalidToken
from domain.values import Value

_MAC_BYTES = 16


class Purpose(IntEnum):
    """What a token is good for; one made for a click cannot unsubscribe."""

    OPEN = 1
    CLICK = 2
    UNSUBSCRIBE = 3
    PREFERENCES = 4


class Claims(Value):
    """What a valid token says. `link` is the position of a tracked link in its message."""

    message_id: UUID
    purpose: Purpose
    link: int = 0


class Signer:
    """Make and check link tokens."""

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or any(len(secret) < 16 for secret in secrets):
            raise ValueError("a signing secret needs at least 16 characters")
        self._secrets = [secret.encode() for secret in secrets]

    def token(self, message_id: UUID, purpose: Purpose, link: int = 0) -> str:
        """Make a token (47 characters) for one message and purpose."""
        body = bytes([purpose]) + link.to_bytes(2, "big") + message_id.bytes
        return _written(body + self._mac(self._secrets[0], body))

    def claims(self, token: str, purpose: Purpose) -> Claims:
        """Check a token in constant time.

        Raises:
            InvalidToken: It is malformed, was not signed by us, or is for another purpose.
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as problem:
            raise InvalidToken from problem
        # Base64 leaves spare bits in the last letter; only the form that we write is a token.
        if _written(raw) != token:
            raise InvalidToken
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        valid = [hmac.compare_digest(mac, self._mac(secret, body)) for secret in self._secrets]
        if len(body) != 19 or not any(valid) or body[0] != purpose:
            raise InvalidToken
        return Claims(message_id=UUID(bytes=body[3:]), purpose=purpose, link=int.from_bytes(body[1:3], "big"))

    @staticmethod
    def _mac(secret: bytes, body: bytes) -> bytes:
        return hmac.new(secret, b"journeys-link\0" + body, hashlib.sha256).digest()[:_MAC_BYTES]


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
