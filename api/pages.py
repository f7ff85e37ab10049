"""What the links of a message lead to: the open pixel, the click redirect, and unsubscribe; preferences are next door.

The signed token is the whole authority (docs/adr/0012-link-tokens.md): no login, no cookie, no store key. What a
customer does here enters through the same door as every event, and the answer follows the commit.
"""

import asyncio
import re
from base64 import b64decode
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from uuid_utils.compat import uuid7

from adapters.postgres import links
from adapters.postgres.links import MessageLink
from api.html import page, problem_page
from api.html.languages import spoken
from api.services import Services, Wired
from domain import ids
from domain.errors import InvalidInput, JourneysError, NotFound
from domain.events import Event, Who
from domain.tokens import Claims, Purpose

_log = structlog.get_logger(__name__)

_PIXEL = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_UNCACHED = {"Cache-Control": "no-store, no-cache, must-revalidate, max-age=0", "X-Robots-Tag": "noindex, nofollow"}
_PATIENCE = 2.0
"""Seconds that a reader waits at most for an open or a click to be recorded."""
_LONGEST_AGENT = 500
_WORDING = re.compile(r"[a-z_-]+/[A-Za-z_-]+/[0-9a-f]{12}")
_KINDS = {
    "Email Opened": "open",
    "Email Link Clicked": "click",
    "Unsubscribed": "unsubscribe",
    "Email Preferences Saved": "preferences",
    "Marketing Paused": "pause",
    "Marketing Resumed": "resume",
}

_HTML: dict[str, Any] = {"content": {"text/html": {}}}
TOO_LARGE: dict[int | str, dict[str, Any]] = {413: {"description": "No form of ours is so large.", **_HTML}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The link is not one of ours, or was made for something else.", **_HTML},
    404: {"description": "What the link belongs to is no longer kept.", **_HTML},
    503: {"description": "Nothing can be looked up or saved now; send it again after `Retry-After` seconds.", **_HTML},
}

Token = Annotated[
    str,
    Query(
        description="The signed token of the link, as it stands in the message.",
        examples=["AwAAAZvAJlh0cUeSpQ1vN3mBPmYwZs1iV9sQkq0yF4xjR2w"],
    ),
]


class PageRoute(APIRoute):
    """A route whose errors are pages for people, not JSON for programs."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except JourneysError as problem:
                _log.info("link not followed", path=self.path, error=type(problem).__name__)
                return problem_page(problem, language(request))

        return answer


router = APIRouter(route_class=PageRoute, tags=["links in messages"])


@router.get("/track/email-open", response_class=Response, responses={200: {"content": {"image/gif": {}}}})
@router.head("/track/email-open", include_in_schema=False)
async def email_open(request: Request, services: Wired, token: Token = "") -> Response:
    """Answer with the open pixel, whatever happens: a mail program would show anything else as a broken image."""
    if request.method == "GET":
        try:
            async with asyncio.timeout(_PATIENCE):
                mail, _ = await linked(services, token, Purpose.OPEN)
                await _record(services, mail, "Email Opened", _minute(services))
        except Exception as problem:  # noqa: BLE001 - a broken image is worse than an open that is not counted
            _log.info("open not recorded", error=type(problem).__name__)
    return Response(_PIXEL, media_type="image/gif", headers=_UNCACHED)


@router.get(
    "/track/email-click", status_code=302, response_class=RedirectResponse, response_model=None, responses=PROBLEMS
)
@router.head("/track/email-click", include_in_schema=False)
async def email_click(request: Request, services: Wired, token: Token = "") -> Response:
    """Redirect to the shop's URL behind a link: one that stands in the message, and no other."""
    mail, claims = await linked(services, token, Purpose.CLICK)
    url = mail.urls[claims.link] if claims.link < len(mail.urls) else ""
    if not url.lower().startswith(("https://", "http://")):
        raise NotFound
    if request.method == "GET":
        try:
            async with asyncio.timeout(_PATIENCE):
                await _record(services, mail, "Email Link Clicked", f"{claims.link} {_minute(services)}", {"url": url})
        except Exception as problem:  # noqa: BLE001 - the customer wants the shop, not our bookkeeping
            _log.warning("click not recorded", error=type(problem).__name__)
    return RedirectResponse(url, status_code=302, headers=_UNCACHED)


@router.get("/unsubscribe", response_class=HTMLResponse, responses=PROBLEMS)
@router.head("/unsubscribe", include_in_schema=False)
async def ask_to_unsubscribe(request: Request, services: Wired, token: Token = "") -> Response:
    """Show one button. A GET changes nothing, because mail scanners follow every link."""
    mail, _ = await linked(services, token, Purpose.UNSUBSCRIBE)
    ours, more = language(request, mail.locale), preferences_token(services, mail)
    return page("unsubscribe.html", language=ours, mail=mail, token=token, preferences=more)


@router.post("/unsubscribe", response_class=HTMLResponse, responses=PROBLEMS | TOO_LARGE)
async def unsubscribe(request: Request, services: Wired, token: Token = "") -> Response:
    """Unsubscribe at once: from the page's button, or by a mail program's one-click POST (RFC 8058)."""
    mail, _ = await linked(services, token, Purpose.UNSUBSCRIBE)
    try:
        form = await form_of(request)
    except InvalidInput:
        form = FormData()  # A broken body makes the wish no less clear.
    source = "one_click" if form.get("List-Unsubscribe") == "One-Click" else "unsubscribe_page"
    await decided(request, services, mail, "Unsubscribed", {"channel": "email", "source": source}, form)
    ours, more = language(request, mail.locale), preferences_token(services, mail)
    return page("unsubscribed.html", language=ours, mail=mail, preferences=more)


async def decided(
    request: Request, services: Services, mail: MessageLink, name: str, choice: Mapping[str, Any], form: FormData
) -> None:
    """Record what a customer decided, with the evidence (GDPR art. 7 §1); returns after the commit.

    Every decision is an event of its own. A dedup key shared by two could swallow an unsubscribe that follows a
    change of mind; repeating one is harmless, because it says the whole choice again.

    Args:
        request: Where it was said, and by which program.
        services: The running API.
        mail: The message whose link led here.
        name: Of the event.
        choice: Its properties.
        form: Says in `wording` which text the customer had before them.
    """
    detail = f"{services.clock().isoformat()} {choice}"
    wording, context = evidence(request, form)
    await _record(services, mail, name, detail, {**choice, **wording}, context)


def evidence(request: Request, form: FormData) -> tuple[dict[str, str], dict[str, str]]:
    """Return what proves a decision: properties (`wording`) and context (`ip`, `userAgent`), as far as there is any.

    A wording that could not have come from a page of ours is none.
    """
    shown = form.get("wording")
    ip = request.client.host if request.client is not None else None
    told = {"ip": ip, "userAgent": request.headers.get("user-agent", "")[:_LONGEST_AGENT]}
    wording = {"wording": shown} if isinstance(shown, str) and _WORDING.fullmatch(shown) else {}
    return wording, {name: value for name, value in told.items() if value}


async def _record(
    services: Services,
    mail: MessageLink,
    name: str,
    detail: str,
    properties: Mapping[str, Any] | None = None,
    context: Mapping[str, str] | None = None,
) -> None:
    """Store an event about the recipient of a message, once per `detail`."""
    now = services.clock()
    told = {"event": name, "properties": {"message_id": str(mail.message_id), **(properties or {})}}
    event = Event(
        store_id=mail.store_id,
        id=uuid7(),
        message_id=ids.internal_message_id(_KINDS[name], mail.message_id, detail),
        type="track",
        name=name,
        who=Who(customer_id=mail.customer_id),
        payload={**told, "context": dict(context)} if context else told,
        at=now,
        received_at=now,
        ip=context.get("ip") if context else None,
    )
    await services.events.accept([event])


async def linked(services: Services, token: str, purpose: Purpose) -> tuple[MessageLink, Claims]:
    """Find the message that a token was made for.

    Raises:
        InvalidToken: The token is not ours, or is for another purpose.
        NotFound: The message is no longer kept.
        Unavailable: The database cannot be reached.
    """
    claims = services.signer.claims(token, purpose)
    mail = await links.message(services.engine, claims.message_id)
    if mail is None:
        raise NotFound
    return mail, claims


async def form_of(request: Request) -> FormData:
    """Read a form of ours.

    Raises:
        InvalidInput: It is none that we have made.
    """
    try:
        return await request.form(max_files=0, max_fields=32, max_part_size=1024)
    except HTTPException as problem:
        raise InvalidInput("form", "cannot be read") from problem


def language(request: Request, known: str | None = None) -> str:
    """Choose the language of a page: the reader's, if we know it, else one that the browser asks for."""
    return spoken(known, request.headers.get("accept-language", ""))


def preferences_token(services: Services, mail: MessageLink) -> str:
    """Sign a link from one page to the preferences."""
    return services.signer.token(mail.message_id, Purpose.PREFERENCES)


def _minute(services: Services) -> str:
    """Name the UTC minute: one look at a mail loads the pixel several times."""
    return services.clock().strftime("%Y-%m-%dT%H:%M")
