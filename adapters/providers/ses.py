"""What Amazon SES tells of messages, through SNS: event publishing and the older feedback notifications.

The secrets are the ARNs of the topics that may tell: a signature of SNS proves who carried a message, not who sent it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from adapters.providers.request import WebhookRequest, parsed
from adapters.providers.sns import SnsVerifier
from adapters.providers.telling import address, detail, fields, key, moment, ours, rows
from domain.bounces import Feedback, Kind, Remark, kind
from domain.errors import InvalidInput, NotAuthorised

_ABOUT_US = {"ContentRejected", "AttachmentRejected", "MessageTooLarge"}


async def read(request: WebhookRequest, secrets: Sequence[str], now: datetime, sns: SnsVerifier) -> list[Feedback]:
    """Verify and translate a webhook; a new subscription is confirmed.

    Raises:
        NotAuthorised: It is not from SNS, or not from one of the topics.
        Unavailable: What proves it cannot be fetched now.
        InvalidInput: The body is not JSON.
    """
    message = fields(request.parsed())
    if message.get("TopicArn") not in secrets:
        raise NotAuthorised
    await sns.verify(message, now)
    if message["Type"] == "SubscriptionConfirmation":
        await sns.confirm(message)
    if message["Type"] != "Notification":
        return []
    try:
        told = fields(parsed(str(message.get("Message"))))
    except InvalidInput:
        return []  # SNS also carries words of people, such as the test of a topic
    return list(translated(told))


def translated(told: dict[str, Any]) -> list[Feedback]:
    """Say what a notification means."""
    match told.get("eventType") or told.get("notificationType"):
        case "Delivery":
            about = fields(told.get("delivery"))
            recipients = [{"emailAddress": one} for one in rows(about.get("recipients"))]
            return _each(told, about, recipients, lambda _: Kind.DELIVERED)
        case "Complaint":
            about = fields(told.get("complaint"))
            if about.get("complaintFeedbackType") == "not-spam":
                return []
            return _each(told, about, about.get("complainedRecipients"), lambda _: Kind.COMPLAINED)
        case "Bounce":
            about = fields(told.get("bounce"))
            return _each(told, about, about.get("bouncedRecipients"), lambda one: _bounce(about, one))
    return []


def _each(told: dict[str, Any], about: dict[str, Any], recipients: object, judge: Any) -> list[Feedback]:
    mail = fields(told.get("mail"))
    headers = [fields(header) for header in rows(mail.get("headers"))]
    texts = [fields(mail.get("commonHeaders")).get("messageId"), *(one.get("value") for one in headers)]
    named = [fields(one) for one in rows(recipients)]
    return [
        Feedback(
            kind=judge(one),
            key=key("ses", about.get("feedbackId") or mail.get("messageId"), judge(one), one.get("emailAddress")),
            recipient=address(one.get("emailAddress")),
            message_id=ours(texts),
            at=moment(about.get("timestamp")),
            detail=detail(one.get("status") or about.get("bounceSubType")),
        )
        for one in named
    ]


def _bounce(about: dict[str, Any], recipient: dict[str, Any]) -> Kind:
    """Judge a bounce: SES knows what it suppressed itself; the rest is said by the recipient's server."""
    sort, cause = about.get("bounceType"), str(about.get("bounceSubType"))
    if sort == "Transient":
        return Kind.REFUSED if cause in _ABOUT_US else Kind.NOT_NOW
    if sort == "Permanent" and cause in {"NoEmail", "Suppressed", "OnAccountSuppressionList"}:
        return Kind.GONE
    said = str(recipient.get("diagnosticCode") or "").removeprefix("smtp; ")
    status, to = str(recipient.get("status") or "") or None, str(recipient.get("emailAddress"))
    judged = kind(Remark(recipient=to, action="failed", status=status, diagnostic=said, command="RCPT"))
    return judged if said or sort != "Permanent" else Kind.GONE
