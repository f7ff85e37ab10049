"""Signed link tokens: an opaque message id, a purpose and a short HMAC; short enough for one header line.

A token never expires (an unsubscribe link must work for ever), unless it says until when it is good (a confirmation),
and names no person. 128 bits of HMAC-SHA256 are kept (RFC 2104 §5 allows truncation to half the output). Several
secrets may be given: the first signs, all verify.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from uuid import UUID

from domain.errors import InvalidToken
from domain.values import UtcTime, Value

_MAC_BYTES = 16
_BODY_BYTES = 19
_EXPIRY_BYTES = 5
"""Unix seconds, beyond the year 2106."""


class Purpose(IntEnum):
    """What a token is good for; one made for a click cannot unsubscribe."""

    OPEN = 1
    CLICK = 2
    UNSUBSCRIBE = 3
    PREFERENCES = 4
    CONFIRM = 5


class Claims(Value):
    """What a valid token says.

    Attributes:
        link: The position of a tracked link in its message.
        expires_at: Until when it is good, to the second; None: for ever. Whoever asks for the claims has the clock.
    """

    message_id: UUID
    purpose: Purpose
    link: int = 0
    expires_at: UtcTime | None = None


class Signer:
    """Make and check link tokens."""

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or any(len(secret) < 16 for secret in secrets):
            raise ValueError("a signing secret needs at least 16 characters")
        self._secrets = [secret.encode() for secret in secrets]

    def token(self, message_id: UUID, purpose: Purpose, link: int = 0, expires_at: datetime | None = None) -> str:
        """Make a token (47 characters; one that expires 54) for one message and purpose."""
        body = bytes([purpose]) + link.to_bytes(2, "big") + message_id.bytes
        if expires_at is not None:
            body += int(expires_at.timestamp()).to_bytes(_EXPIRY_BYTES, "big")
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
        if len(body) not in {_BODY_BYTES, _BODY_BYTES + _EXPIRY_BYTES} or not any(valid) or body[0] != purpose:
            raise InvalidToken
        expiry = int.from_bytes(body[_BODY_BYTES:], "big")
        return Claims(
            message_id=UUID(bytes=body[3:_BODY_BYTES]),
            purpose=purpose,
            link=int.from_bytes(body[1:3], "big"),
            expires_at=datetime.fromtimestamp(expiry, UTC) if expiry else None,
        )

    @staticmethod
    def _mac(secret: bytes, body: bytes) -> bytes:
        return hmac.new(secret, b"journeys-link\0" + body, hashlib.sha256).digest()[:_MAC_BYTES]


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
