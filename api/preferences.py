"""The preference centre: which topics a customer gets, a pause, the language and the time zone.

Plain forms: a POST stores an event and answers with a redirect to the page (Post/Redirect/Get), so that nothing is sent
twice by loading the page again. What the page shows is read each time, and what was said a moment ago is in it.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import FormData

from adapters.postgres import preferences
from adapters.postgres.links import MessageLink
from adapters.postgres.preferences import Preferences
from api.html import HEADERS, page, zones
from api.html.languages import TRANSLATIONS, choices, locale
from api.pages import PROBLEMS, TOO_LARGE, PageRoute, Token, decided, form_of, language, linked, preferences_token
from api.services import Wired
from domain.decoding.people import PAUSE
from domain.errors import InvalidInput
from domain.facts import Topic
from domain.quiet_hours import zone_of
from domain.tokens import Purpose

_SOURCE = "preference_page"

router = APIRouter(route_class=PageRoute, tags=["links in messages"])


@router.get("/preferences", response_class=HTMLResponse, responses=PROBLEMS)
@router.head("/preferences", include_in_schema=False)
async def show_preferences(request: Request, services: Wired, token: Token = "", done: str = "") -> Response:
    """Show what the customer has chosen; `done` says what the customer did last."""
    mail, _ = await linked(services, token, Purpose.PREFERENCES)
    chosen = await preferences.of_customer(services.engine, mail.store_id, mail.customer_id)
    spoken = language(request, chosen.locale)
    if done == "unsubscribed" and not chosen.topics:
        return page("unsubscribed.html", language=spoken, mail=mail, preferences=preferences_token(services, mail))
    shown = _shown(chosen, spoken, services.clock())
    return page("preferences.html", language=spoken, mail=mail, token=token, done=done, **shown)


@router.post(
    "/preferences",
    status_code=303,
    response_class=RedirectResponse,
    response_model=None,
    responses=PROBLEMS | TOO_LARGE,
)
async def save_preferences(request: Request, services: Wired, token: Token = "") -> Response:
    """Do what the pressed button says; consent to a topic that is not ticked is withdrawn."""
    mail, _ = await linked(services, token, Purpose.PREFERENCES)
    form = await form_of(request)
    name, choice, done = await _said(services, mail, form)
    await decided(request, services, mail, name, {"source": _SOURCE, **choice}, form)
    return RedirectResponse(f"?token={token}&done={done}", status_code=303, headers=HEADERS)


async def _said(services: Wired, mail: MessageLink, form: FormData) -> tuple[str, dict[str, Any], str]:
    """Say which event a form is, with which properties, and what to tell the customer."""
    if "unsubscribe" in form:
        return "Unsubscribed", {"channel": "email"}, "unsubscribed"
    if "pause" in form:
        return "Marketing Paused", {"until": (services.clock() + PAUSE).isoformat()}, "paused"
    if "resume" in form:
        return "Marketing Resumed", {}, "resumed"
    chosen = await preferences.of_customer(services.engine, mail.store_id, mail.customer_id)
    topics = {topic.value: topic in form for topic in Topic}
    off = any(topics.values()) and not topics[Topic.MARKETING]
    return "Email Preferences Saved", {"topics": topics, **_changed(form, chosen)}, "off" if off else "saved"


def _changed(form: FormData, chosen: Preferences) -> dict[str, str]:
    """Read the language and the time zone, if they are others than before: only a change is a choice.

    Raises:
        InvalidInput: There is no such language or zone.
    """
    tag, zone = (str(form.get(name, "")) for name in ("locale", "timezone"))
    if tag and locale(tag) is None:
        raise InvalidInput("locale", "must be a BCP 47 tag such as de-AT")
    if zone and not _is_zone(zone):
        raise InvalidInput("timezone", "must be an IANA time zone such as Europe/Berlin")
    before = {"locale": chosen.locale, "timezone": chosen.timezone}
    return {name: said for name, said in (("locale", tag), ("timezone", zone)) if said and said != before[name]}


def _shown(chosen: Preferences, spoken: str, now: datetime) -> dict[str, Any]:
    shop_zone, until = zone_of(chosen.store_timezone), chosen.paused_until
    zone = chosen.timezone if chosen.timezone and _is_zone(chosen.timezone) else None
    regions = zones.by_region(spoken, TRANSLATIONS[spoken].gettext)
    return {
        "wanted": chosen.topics,
        "paused_until": _day(until, zone or shop_zone, spoken) if until is not None and until > now else None,
        "locale": chosen.locale if chosen.locale and locale(chosen.locale) else None,
        "languages": choices(chosen.languages, chosen.locale),
        "timezone": zone,
        "zone_name": zones.place(zone or shop_zone, spoken),
        "zones": {name for _, places in regions for name, _ in places},
        "shop_zone": zones.place(shop_zone, spoken),
        "regions": regions,
    }


def _is_zone(name: str) -> bool:
    return zone_of(name) == name


def _day(moment: datetime, zone: str, spoken: str) -> str:
    return format_date(moment.astimezone(ZoneInfo(zone)), "long", locale=spoken)
