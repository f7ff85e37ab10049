"""What the link in a confirmation mail leads to: a page with a button, and what pressing it means.

The link is proof that somebody reads the mails of an address, for as long as its token is good. Opening it changes
nothing, because mail scanners follow every link; only the button does, and its answer follows the commit.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from uuid_utils.compat import uuid7

from adapters.postgres import consents, links
from adapters.postgres.links import MessageLink
from api.html import page
from api.html.languages import noted
from api.pages import TOO_LARGE, PageRoute, Token, evidence, form_of, language
from api.services import Services, Wired
from domain import ids
from domain.errors import NotFound
from domain.events import Event, Who
from domain.facts import Topic
from domain.tokens import Purpose

_EXPIRED = (
    noted("This link is no longer valid"),
    noted("It was good for some days only, and they have passed. You get no such emails."),
    noted("If you would like to get them, ask for them again at the shop, and you will be sent a new link."),
)
_NOTHING = (
    noted("There is nothing to confirm"),
    noted("The emails that this link was about are not wanted any more."),
    noted("If you would like to get them after all, ask for them again at the shop."),
)
_HTML: dict[str, Any] = {"content": {"text/html": {}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The link is not one of ours, or was made for something else.", **_HTML},
    404: {"description": "What the link belongs to is no longer kept.", **_HTML},
    410: {"description": "The link is no longer good, or there is nothing left to confirm.", **_HTML},
    503: {"description": "Nothing can be looked up or saved now; send it again after `Retry-After` seconds.", **_HTML},
}

router = APIRouter(route_class=PageRoute, tags=["links in messages"])


@router.get("/confirm", response_class=HTMLResponse, responses=_ANSWERS)
@router.head("/confirm", include_in_schema=False)
async def ask_to_confirm(request: Request, services: Wired, token: Token = "") -> Response:
    """Show what there is to confirm, and one button. A GET changes nothing."""
    mail, expires_at = await _mail(services, token)
    asked, allowed = await consents.to_confirm(services.engine, mail.store_id, mail.customer_id, mail.message_id)
    if not asked:
        return _confirmed(request, services, mail) if allowed else _gone(request, mail, _NOTHING)
    if expires_at <= services.clock():
        return _gone(request, mail, _EXPIRED)
    return page("confirm.html", language=language(request, mail.locale), mail=mail, token=token, asked=asked)


@router.post("/confirm", response_class=HTMLResponse, responses=_ANSWERS | TOO_LARGE)
async def confirm(request: Request, services: Wired, token: Token = "") -> Response:
    """Confirm what the page showed; pressing the button twice says the same twice."""
    mail, expires_at = await _mail(services, token)
    asked, allowed = await consents.to_confirm(services.engine, mail.store_id, mail.customer_id, mail.message_id)
    if not asked:
        return _confirmed(request, services, mail) if allowed else _gone(request, mail, _NOTHING)
    if expires_at <= services.clock():
        return _gone(request, mail, _EXPIRED)
    wording, context = evidence(request, await form_of(request))
    await services.events.accept([_event(mail, asked, wording, context, services.clock())])
    return _confirmed(request, services, mail)


async def _mail(services: Services, token: str) -> tuple[MessageLink, datetime]:
    """Find the message that a token was made for, and until when the token is good.

    Raises:
        InvalidToken: The token is not ours, or is for another purpose.
        NotFound: The message is no longer kept.
        Unavailable: The database cannot be reached.
    """
    claims = services.signer.claims(token, Purpose.CONFIRM)
    mail = await links.message(services.engine, claims.message_id)
    if mail is None or claims.expires_at is None:
        raise NotFound
    return mail, claims.expires_at


def _event(
    mail: MessageLink, asked: Collection[Topic], wording: Mapping[str, str], context: Mapping[str, str], now: datetime
) -> Event:
    """Say who confirmed what, with the evidence."""
    topics = {topic.value: True for topic in Topic if topic in asked}
    said = {"message_id": str(mail.message_id), "topics": topics, **wording}
    return Event(
        store_id=mail.store_id,
        id=uuid7(),
        message_id=ids.internal_message_id("confirm", mail.message_id, f"{now.isoformat()} {said}"),
        type="track",
        name="Consent Confirmed",
        who=Who(customer_id=mail.customer_id),
        payload={"event": "Consent Confirmed", "properties": said, "context": dict(context)},
        at=now,
        received_at=now,
        ip=context.get("ip"),
    )


def _confirmed(request: Request, services: Services, mail: MessageLink) -> Response:
    preferences = services.signer.token(mail.message_id, Purpose.PREFERENCES)
    return page("confirmed.html", language=language(request, mail.locale), mail=mail, preferences=preferences)


def _gone(request: Request, mail: MessageLink, words: tuple[str, str, str]) -> Response:
    title, what, todo = words
    return page("problem.html", 410, language=language(request, mail.locale), title=title, what=what, todo=todo)
