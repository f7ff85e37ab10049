"""Postmark's webhooks (https://postmarkapp.com/developer/webhooks/webhooks-overview).

They are not signed. What proves them is the user name and password in the webhook's URL, which come as Basic
authentication; the secret is kept as `user:password`.
"""

import binascii
import hmac
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from adapters.providers.request import WebhookRequest
from adapters.providers.telling import address, detail, fields, key, moment, ours
from domain.bounces import Feedback, Kind
from domain.errors import NotAuthorised

_BOUNCES = {
    "HardBounce": Kind.GONE,
    "BadEmailAddress": Kind.GONE,
    "SoftBounce": Kind.NOT_NOW,
    "DnsError": Kind.NOT_NOW,
    "Undeliverable": Kind.NOT_NOW,
    "Unknown": Kind.NOT_NOW,
    "Transient": Kind.DELAYED,
    "SpamComplaint": Kind.COMPLAINED,
    "SpamNotification": Kind.REFUSED,
    "VirusNotification": Kind.REFUSED,
    "Blocked": Kind.REFUSED,
    "DMARCPolicy": Kind.REFUSED,
    "SMTPApiError": Kind.REFUSED,
}
"""Postmark's bounce types; the others (auto-responders, address changes) are not about delivery."""


def read(request: WebhookRequest, secrets: Sequence[str]) -> list[Feedback]:
    """Verify and translate a webhook.

    Raises:
        NotAuthorised: The password is wrong.
        InvalidInput: The body is not JSON.
    """
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    try:
        password = b64decode(shown, validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        password = b""
    if not any(hmac.compare_digest(secret.encode(), password) for secret in secrets):
        raise NotAuthorised
    event = fields(request.parsed())
    told = _kind(event)
    if told is None:
        return []
    metadata = fields(event.get("Metadata"))
    return [
        Feedback(
            kind=told,
            key=key("postmark", event.get("RecordType"), event.get("ID") or event.get("MessageID")),
            recipient=address(event.get("Email") or event.get("Recipient")),
            message_id=ours([*metadata.values(), event.get("Content")]),
            at=moment(event.get("BouncedAt") or event.get("DeliveredAt")),
            detail=detail(event.get("Type")),
        )
    ]


def _kind(event: dict[str, Any]) -> Kind | None:
    match event.get("RecordType"):
        case "Delivery":
            return Kind.DELIVERED
        case "SpamComplaint":
            return Kind.COMPLAINED
        case "Bounce":
            return _BOUNCES.get(str(event.get("Type")))
    return None
