"""Mailgun's webhooks (https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks).

The signature covers a timestamp and a random token, not the event, so it is taken only while the timestamp is fresh.
Whoever has seen a webhook could reuse its signature until then: that is why it must travel by TLS.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.providers.request import WebhookRequest
from adapters.providers.telling import address, detail, fields, key, moment, ours, seconds
from domain.bounces import Feedback, Kind, Remark, kind
from domain.errors import NotAuthorised

_KINDS = {"delivered": Kind.DELIVERED, "complained": Kind.COMPLAINED}
_FRESH = timedelta(minutes=10)
"""Mailgun signs each attempt anew."""


def read(request: WebhookRequest, secrets: Sequence[str], now: datetime) -> list[Feedback]:
    """Verify and translate a webhook.

    Raises:
        NotAuthorised: The signature is not Mailgun's, or is not fresh.
        InvalidInput: The body is not JSON.
    """
    body = fields(request.parsed())
    signature = fields(body.get("signature"))
    timestamp, token = str(signature.get("timestamp", "")), str(signature.get("token", ""))
    signed = [hmac.new(secret.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest() for secret in secrets]
    shown = str(signature.get("signature", "")).encode()
    at = seconds(timestamp)
    if not any(hmac.compare_digest(own.encode(), shown) for own in signed) or at is None or abs(now - at) > _FRESH:
        raise NotAuthorised
    event = fields(body.get("event-data"))
    told = _failed(event) if event.get("event") == "failed" else _KINDS.get(str(event.get("event")))
    if told is None:
        return []
    headers = fields(fields(event.get("message")).get("headers"))
    status = fields(event.get("delivery-status"))
    return [
        Feedback(
            kind=told,
            key=key("mailgun", event.get("id") or token),
            recipient=address(event.get("recipient")),
            message_id=ours([headers.get("message-id")]),
            at=moment(event.get("timestamp")),
            detail=detail(status.get("code"), status.get("enhanced-code")),
        )
    ]


def _failed(event: dict[str, Any]) -> Kind:
    if event.get("severity") == "temporary":
        return Kind.DELAYED
    match event.get("reason"):
        case "suppress-bounce":
            return Kind.GONE
        case "suppress-complaint" | "suppress-unsubscribe":
            return Kind.REFUSED
    return _judged(fields(event.get("delivery-status")), event.get("recipient"))


def _judged(status: dict[str, Any], recipient: object) -> Kind:
    code, message = status.get("code"), f"{status.get('message') or ''} {status.get('description') or ''}"
    told = Remark(
        recipient=str(recipient),
        action="failed",
        status=str(status.get("enhanced-code") or "") or None,
        code=code if isinstance(code, int) and code < 600 else None,  # 605 and 607 are Mailgun's own
        diagnostic=message.strip(),
        command="RCPT",
    )
    return kind(told)
