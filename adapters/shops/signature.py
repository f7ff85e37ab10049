"""Standard Webhooks: how a shop knows that a request is ours (https://www.standardwebhooks.com).

The signature is HMAC-SHA256 over id, time and raw body; the receiver refuses what is older than five minutes.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

from domain.errors import ConfigurationError

_PREFIX = "whsec_"
_BYTES = 32
"""The specification asks for 24 to 64."""


def new_secret() -> str:
    """Make a secret, as both sides keep it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signed(keys: Sequence[str], request_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that sign a request.

    Args:
        keys: Secrets; with several there are several signatures, of which the receiver needs one.
        request_id: The same for every attempt, so that the receiver does the same work once.
        at: When this attempt is made.
        body: What is sent, byte for byte.

    Raises:
        ConfigurationError: A secret is none.
    """
    seconds = str(int(at.timestamp()))
    content = b".".join([request_id.encode(), seconds.encode(), body])
    signatures = (base64.b64encode(hmac.digest(_key(secret), content, "sha256")).decode() for secret in keys)
    return {
        "webhook-id": request_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as problem:
        raise ConfigurationError("the secret of the shop is not base64") from problem
