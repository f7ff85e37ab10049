"""Webhooks of mail providers: what became of messages. Verified on the raw bytes, then stored like any other event.

A wrong signature is 401 and stores nothing. What may pass is 503, never a 4xx: providers give up on those.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response

from adapters.postgres import feedback
from adapters.postgres.provider_secrets import ProviderSecrets
from adapters.providers import mailgun, postmark, sendgrid, ses
from adapters.providers.request import WebhookRequest
from api.body import raw_bytes
from api.door import accepted
from api.services import Services, Wired
from domain.bounces import Feedback
from domain.errors import NotAuthorised

Provider = Literal["ses", "sendgrid", "mailgun", "postmark"]

LIMIT = 4 << 20
"""Bytes of one webhook; SendGrid sends up to a megabyte at once."""

router = APIRouter(tags=["webhooks"])


@router.post("/webhooks/{provider}/{store_id}", include_in_schema=False)  # not for clients; see docs/bounces.md
async def provider_webhook(
    provider: Provider,
    store_id: Annotated[str, Path(max_length=40, pattern=r"^[^\x00]*$")],
    request: Request,
    services: Wired,
) -> Response:
    """Take bounces, complaints and deliveries from SES, SendGrid, Mailgun or Postmark."""
    body = await raw_bytes(request, LIMIT)
    told = await _read(provider, store_id, WebhookRequest(headers=dict(request.headers), body=body), services)
    await services.events.accept(await feedback.events(services.engine, store_id, told, services.clock()))
    return accepted()


async def _read(provider: Provider, store_id: str, request: WebhookRequest, services: Services) -> list[Feedback]:
    secrets = await ProviderSecrets(services.engine, services.settings.master_secrets()).of(store_id, provider)
    if not secrets:
        raise NotAuthorised("the store has no secret for this provider")
    now = services.clock()
    match provider:
        case "ses":
            return await ses.read(request, secrets, now, services.sns)
        case "sendgrid":
            return sendgrid.read(request, secrets, now)
        case "mailgun":
            return mailgun.read(request, secrets, now)
        case "postmark":
            return postmark.read(request, secrets)
