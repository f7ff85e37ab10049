"""What the link in a confirmation mail leads to: a page with a button, and what pressing it means.

The link is proof that somebody reads the mails of an address, for as long as its token is good. Opening it changes
nothing, because mail scanners follow every link; only the button does, and its answer follows the commit.
"""

from collections.abc import Collection
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from uuid_utils.compat import uuid7

from adapters.postgres import consents, links
from adapters.postgres.links import MessageLink
from api import html
from api.html import TOPICS, page
from api.pages import PageRoute, Token
from api.services import Services, Wired
from domain import ids
from domain.errors import NotFound
from domain.events import Event, Who
from domain.facts import Topic
from domain.tokens import Purpose

_EXPIRED = (
    "This link is no longer valid",
    "It was good for some days only, and they have passed. You get no such emails.",
    "If you would like to get them, ask for them again at the shop, and you will be sent a new link.",
)
_NOTHING = (
    "There is nothing to confirm",
    "The emails that this link was about are not wanted any more.",
    "If you would like to get them after all, ask for them again at the shop.",
)
_TEXT = (Path(html.__file__).parent / "confirm.html").read_text("utf-8") + repr(sorted(TOPICS.items()))
WORDING = f"confirm-{sha256(_TEXT.encode()).hexdigest()[:12]}"
"""The version of what the page says: it changes with every letter of it, so that nobody has to think of it."""

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
async def ask_to_confirm(services: Wired, token: Token = "") -> Response:
    """Show what there is to confirm, and one button. A GET changes nothing."""
    mail, expires_at = await _mail(services, token)
    asked, allowed = await consents.to_confirm(services.engine, mail.store_id, mail.customer_id, mail.message_id)
    if not asked:
        return _confirmed(services, mail) if allowed else _gone(_NOTHING)
    if expires_at <= services.clock():
        return _gone(_EXPIRED)
    return page("confirm.html", mail=mail, token=token, asked=asked)


@router.post("/confirm", response_class=HTMLResponse, responses=_ANSWERS)
async def confirm(request: Request, services: Wired, token: Token = "") -> Response:
    """Confirm what the page showed; pressing the button twice says the same twice."""
    mail, expires_at = await _mail(services, token)
    asked, allowed = await consents.to_confirm(services.engine, mail.store_id, mail.customer_id, mail.message_id)
    if not asked:
        return _confirmed(services, mail) if allowed else _gone(_NOTHING)
    if expires_at <= services.clock():
        return _gone(_EXPIRED)
    await services.events.accept([_event(request, mail, asked, services.clock())])
    return _confirmed(services, mail)


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


def _event(request: Request, mail: MessageLink, asked: Collection[Topic], now: datetime) -> Event:
    """Say who confirmed what, with the evidence."""
    topics = {topic.value: True for topic in Topic if topic in asked}
    said = {"message_id": str(mail.message_id), "topics": topics, "wording": WORDING}
    context = {"userAgent": agent} if (agent := request.headers.get("user-agent")) else {}
    return Event(
        store_id=mail.store_id,
        id=uuid7(),
        message_id=ids.internal_message_id("confirm", mail.message_id, f"{now.isoformat()} {said}"),
        type="track",
        name="Consent Confirmed",
        who=Who(customer_id=mail.customer_id),
        payload={"event": "Consent Confirmed", "properties": said, "context": context},
        at=now,
        received_at=now,
        ip=request.client.host if request.client is not None else None,
    )


def _confirmed(services: Services, mail: MessageLink) -> Response:
    preferences = services.signer.token(mail.message_id, Purpose.PREFERENCES)
    return page("confirmed.html", mail=mail, preferences=preferences)


def _gone(words: tuple[str, str, str]) -> Response:
    title, what, todo = words
    return page("problem.html", 410, title=title, what=what, todo=todo)
