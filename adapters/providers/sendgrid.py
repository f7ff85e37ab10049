"""SendGrid's event webhook, signed (https://www.twilio.com/docs/sendgrid/for-developers/tracking-events).

The public key verifies ECDSA P-256 with SHA-256 over the timestamp and the raw body, whatever line ends it has.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from adapters.providers.request import WebhookRequest
from adapters.providers.telling import address, detail, fields, key, moment, ours, seconds
from domain.bounces import Feedback, Kind, Remark, kind
from domain.errors import ConfigurationError, InvalidInput, NotAuthorised

_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_FRESH = timedelta(days=2)
"""SendGrid repeats a delivery for a day, with its first timestamp; what is repeated changes nothing here."""
_KINDS = {"delivered": Kind.DELIVERED, "deferred": Kind.DELAYED, "spamreport": Kind.COMPLAINED}


def read(request: WebhookRequest, secrets: Sequence[str], now: datetime) -> list[Feedback]:
    """Verify and translate a webhook; `secrets` are public keys as SendGrid shows them.

    Raises:
        NotAuthorised: The signature is not SendGrid's, or is old.
        InvalidInput: The body is not a list of events.
    """
    timestamp = request.headers.get(_TIMESTAMP, "")
    try:
        signature = b64decode(request.headers.get(_SIGNATURE, ""), validate=True)
    except (binascii.Error, ValueError) as problem:
        raise NotAuthorised from problem
    signed = timestamp.encode() + request.body
    at = seconds(timestamp)
    if at is None or abs(now - at) > _FRESH or not any(_verified(secret, signature, signed) for secret in secrets):
        raise NotAuthorised
    told = request.parsed()
    if not isinstance(told, list):
        raise InvalidInput("body", "must be a list of events")
    return [feedback for event in told if (feedback := _feedback(fields(event))) is not None]


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """Load a verification key as SendGrid shows it.

    Raises:
        ConfigurationError: It is not one.
    """
    try:
        loaded = load_der_public_key(b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as problem:
        raise ConfigurationError("the verification key of SendGrid is not a public key") from problem
    if not isinstance(loaded, ec.EllipticCurvePublicKey):
        raise ConfigurationError("the verification key of SendGrid is not an elliptic-curve key")
    return loaded


def _verified(secret: str, signature: bytes, signed: bytes) -> bool:
    try:
        public_key(secret).verify(signature, signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _feedback(event: dict[str, Any]) -> Feedback | None:
    name = event.get("event")
    told = _KINDS.get(str(name))
    if name == "bounce":
        told = _judged(event)
    elif name == "dropped":
        told = _dropped(str(event.get("reason", "")))
    if told is None:
        return None
    return Feedback(
        kind=told,
        key=key("sendgrid", event.get("sg_event_id") or sorted(event.items())),
        recipient=address(event.get("email")),
        message_id=ours([event.get("smtp-id")]),
        at=moment(event.get("timestamp")),
        detail=detail(event.get("status")),
    )


def _judged(event: dict[str, Any]) -> Kind:
    status = str(event.get("status") or "")
    if event.get("type") == "blocked":  # SendGrid's word for "not because of the address"
        return Kind.REFUSED
    said = Remark(
        recipient=str(event.get("email")), action="failed", status=status if status.count(".") == 2 else None,
        code=int(status) if re.fullmatch("[0-9]{3}", status) else None,
        diagnostic=str(event.get("reason") or ""), command="RCPT",
    )  # fmt: skip
    return kind(said)


def _dropped(reason: str) -> Kind:
    """Say why SendGrid did not even try; of an address on its own lists it has heard before."""
    if reason in {"Bounced Address", "Invalid"}:
        return Kind.GONE
    return Kind.COMPLAINED if reason == "Spam Reporting Address" else Kind.REFUSED
