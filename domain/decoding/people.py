"""People: who the customer is, and what they allow us to send."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal, get_args

from domain.consent import DOUBLE_OPT_IN, IDENTIFY, MAIL_AS_SUCH
from domain.decoding.fields import Fields
from domain.decoding.report import WORDING, Report
from domain.facts import (
    AnyFact,
    ConsentChanged,
    ConsentConfirmed,
    IdentitiesJoined,
    MarketingPaused,
    MarketingResumed,
    NewsletterSubscribed,
    ProfileChanged,
    SignedUp,
    Topic,
    Unsubscribed,
)
from domain.vocabulary import folded

Channel = Literal["email", "sms", "push"]

_EMAIL = ("email", "email_address", "customer_email", "user_email")
_PHONE = ("phone", "phone_number", "mobile")
_FIRST = ("first_name", "given_name")
_LAST = ("last_name", "family_name", "surname")
_NAME = ("name", "full_name")
_LOCALE = ("locale", "language")
_TIMEZONE = ("timezone", "time_zone")
_LOCALE_FORM = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}")
_TIMEZONE_FORM = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")

_MARKETING = (
    "marketing_consent", "marketing_opt_in", "newsletter_opt_in", "accepts_marketing", "buyer_accepts_marketing",
    "marketing_emails", "email_opt_in", "email_consent",
)  # fmt: skip
_VAGUE = ("subscribed", "opt_in")
"""Consent where the object is a person; on an order it may mean anything."""
_OTHER_CHANNELS: dict[Channel, tuple[str, ...]] = {
    "sms": ("sms_opt_in", "sms_consent", "accepts_sms_marketing", "buyer_accepts_sms_marketing"),
    "push": ("push_opt_in", "push_consent"),
}
_STATES = {"subscribed": True, "unsubscribed": False, "notsubscribed": False}
"""Shopify's consent states; `pending` (double opt-in not answered) is no word yet."""
_STATED = {folded(f"{channel}_marketing_consent"): channel for channel in get_args(Channel)}
"""Where they stand."""

_QUESTIONS: tuple[tuple[Channel, Topic], ...] = (
    *(("email", topic) for topic in Topic),
    *((channel, Topic.MARKETING) for channel in _OTHER_CHANNELS),
)
"""What a customer can allow, in the order in which the words stand."""
_BY_MAIL, _NEWSLETTER = (_QUESTIONS.index(("email", topic)) for topic in (Topic.MARKETING, Topic.NEWSLETTER))
_ASKED = {
    **{folded(topic): _QUESTIONS.index(("email", topic)) for topic in Topic},
    **{folded(name): _BY_MAIL for name in _MARKETING},
    **{folded(n): _QUESTIONS.index((c, Topic.MARKETING)) for c, names in _OTHER_CHANNELS.items() for n in names},
    **{name: _QUESTIONS.index((channel, Topic.MARKETING)) for name, channel in _STATED.items()},
}
"""Which of the questions a field answers, so that few that were said are looked up and not all that could be."""
_ASKED_OF_A_PERSON = _ASKED | {folded(name): _BY_MAIL for name in _VAGUE}

_KNOWN = frozenset(
    folded(name)
    for name in (
        *_EMAIL, *_PHONE, *_FIRST, *_LAST, *_NAME, *_LOCALE, *_TIMEZONE, *_MARKETING, *_VAGUE, *Topic, *WORDING,
        "unsubscribed",
        *(name for names in _OTHER_CHANNELS.values() for name in names),
    )
)  # fmt: skip

_CONSENT_AT_CHECKOUT = frozenset({"Checkout Started", "Order Completed"})
_OF_SOMEONE_ELSE = frozenset({"Product Shared", "Cart Shared"})

PAUSE = timedelta(days=30)
"""How long marketing is paused if nobody says (issue 4: the preference centre's "pause for 30 days")."""
_LONGEST_PAUSE = timedelta(days=365)


def identified(report: Report) -> Iterator[AnyFact]:
    """`identify`: the traits stand at the top level or (RudderStack) in the context."""
    person = report.traits.over(report.context.under("traits"))
    yield from _profile(report, person, traits=person.rest(_KNOWN))
    yield from _consents(report, person, IDENTIFY, vague=True)


def joined(report: Report) -> Iterator[AnyFact]:
    """`alias`: the customer was known under another id."""
    if (previous := report.body.identifier("previous_id")) is not None:
        yield IdentitiesJoined(at=report.at, previous_id=previous)


def introduced(report: Report, name: str | None = None) -> Iterator[AnyFact]:
    """Any other event of a customer: an e-mail address in it says who that is."""
    if name in _OF_SOMEONE_ELSE:
        return
    # Beside an address, only what cannot be about a product: `name` and `language` of a book are not the reader's.
    person = report.properties.only(*_EMAIL, *_PHONE, *_FIRST, *_LAST).over(_customer(report))
    if _email(report, person) is not None:
        yield from _profile(report, person)
    if name in _CONSENT_AT_CHECKOUT:
        yield from _consents(report, report.properties.over(_customer(report)), "checkout")


def signed_up(report: Report) -> Iterator[AnyFact]:
    """Signed Up."""
    yield from _introduction(report, "registration")
    yield SignedUp(at=report.at)


def profile_updated(report: Report) -> Iterator[AnyFact]:
    """Profile Updated."""
    yield from _introduction(report, "profile", traits=True)


def subscribed(report: Report) -> Iterator[AnyFact]:
    """Newsletter Subscribed: on a channel that we do not know it is consent to nothing."""
    person = report.properties.over(_customer(report))
    yield from _profile(report, person)
    channel, source = _channel(report), _source(report, "newsletter")
    if channel is not None:
        yield ConsentChanged(channel=channel, topic=Topic.MARKETING, granted=True, source=source, **report.evidence)
    if channel == "email":
        yield NewsletterSubscribed(at=report.at)


def unsubscribed(report: Report) -> Iterator[AnyFact]:
    """Newsletter Unsubscribed: a channel that we do not know is taken for e-mail; to stop is the safe side."""
    yield from introduced(report)
    channel = _channel(report) or "email"
    yield Unsubscribed(channel=channel, source=_source(report, "unsubscribed"), **report.evidence)


def preferences_saved(report: Report) -> Iterator[AnyFact]:
    """Email Preferences Saved: one word on each topic that the customer was shown, and what else was chosen there."""
    yield from introduced(report)
    chosen = {
        "locale": _of_form(_LOCALE_FORM, report.properties, *_LOCALE),
        "timezone": _of_form(_TIMEZONE_FORM, report.properties, *_TIMEZONE),
    }
    if any(chosen.values()):
        yield ProfileChanged(at=report.at, chosen=True, **chosen)
    said, source = report.properties.opened("topics", "preferences"), _source(report, "preferences")
    for topic in Topic:
        granted = said.flag(topic)
        if granted is not None:
            yield ConsentChanged(topic=topic, granted=granted, source=source, **report.evidence)
    if said.flag("unsubscribed"):
        yield Unsubscribed(source=source, **report.evidence)


def confirmed(report: Report) -> Iterator[AnyFact]:
    """Consent Confirmed: counts only from ourselves."""
    said, evidence = report.properties.under("topics"), report.evidence
    topics = tuple(topic for topic in Topic if said.flag(topic))
    if evidence["message_id"] is None or not topics:
        return
    for topic in topics:
        yield ConsentChanged(topic=topic, granted=True, source=DOUBLE_OPT_IN, **evidence)
    mail_as_such = not set(topics).isdisjoint(MAIL_AS_SUCH)
    yield ConsentConfirmed(at=report.at, message_id=evidence["message_id"], mail_as_such=mail_as_such)


def paused(report: Report) -> Iterator[AnyFact]:
    """Marketing Paused: until a moment, or for so many days; a pause without an end would be an unsubscribe."""
    yield from introduced(report)
    days = report.properties.number("days")
    length = timedelta(days=min(days, _LONGEST_PAUSE.days)) if days is not None and days > 0 else PAUSE
    until = report.properties.moment("until") or report.at + length
    yield MarketingPaused(at=report.at, until=min(until, report.at + _LONGEST_PAUSE))


def resumed(report: Report) -> Iterator[AnyFact]:
    """Marketing Resumed."""
    yield from introduced(report)
    yield MarketingResumed(at=report.at)


def _introduction(report: Report, source: str, *, traits: bool = False) -> Iterator[AnyFact]:
    person = report.properties.opened("traits").over(_customer(report))
    yield from _profile(report, person, traits=report.properties.rest(_KNOWN) if traits else {})
    yield from _consents(report, person, _source(report, source), vague=True)


def _customer(report: Report) -> Fields:
    nested = report.properties.under("customer", "user", "contact")
    return nested.over(report.context.under("traits"))


def _profile(report: Report, person: Fields, traits: dict[str, Any] | None = None) -> Iterator[ProfileChanged]:
    first, last = person.text(*_FIRST, limit=100), person.text(*_LAST, limit=100)
    if first is None and (name := person.text(*_NAME, limit=200)) is not None:
        first, _, rest = name.partition(" ")
        last = last or rest or None
    told = {
        "email": _email(report, person),
        "phone": person.text(*_PHONE, limit=40),
        "first_name": first,
        "last_name": last,
        "locale": _of_form(_LOCALE_FORM, person, *_LOCALE) or _of_form(_LOCALE_FORM, report.context, "locale"),
        "timezone": _of_form(_TIMEZONE_FORM, person, *_TIMEZONE)
        or _of_form(_TIMEZONE_FORM, report.context, "timezone"),
        "traits": traits or {},
    }
    if any(told.values()):
        yield ProfileChanged.model_validate({"at": report.at, **told})


def _email(report: Report, person: Fields) -> str | None:
    return person.email(*_EMAIL) or Fields({"email": report.event.who.email}).email("email")


def _of_form(form: re.Pattern[str], said: Fields, *names: str) -> str | None:
    text = said.text(*names)
    return text if text is not None and len(text) <= 64 and form.fullmatch(text) else None


def _consents(report: Report, person: Fields, source: str, *, vague: bool = False) -> Iterator[ConsentChanged]:
    """Read consent from what is said about a person; where two flags contradict each other, the answer is no.

    Where one says yes and another cannot be understood, that is no consent either.
    """
    asked = _ASKED_OF_A_PERSON if vague else _ASKED
    said: dict[int, list[bool | None]] = {}
    for name in person.named(asked):
        known_as = folded(name)
        if answers := _state(person, name) if known_as in _STATED else person.answers(name):
            said.setdefault(asked[known_as], []).extend(answers)
    if person.flag("unsubscribed"):
        said.setdefault(_BY_MAIL, []).append(False)
    if _NEWSLETTER in said and not any(q != _NEWSLETTER and _QUESTIONS[q][0] == "email" for q in said):
        # The only question a shop asks is its question about marketing, whatever it calls it.
        said[_BY_MAIL] = said.pop(_NEWSLETTER)
    for question, flags in sorted(said.items()):
        channel, topic = _QUESTIONS[question]
        if False in flags or None not in flags:
            granted = False not in flags
            yield ConsentChanged(channel=channel, topic=topic, granted=granted, source=source, **report.evidence)


def _state(person: Fields, name: str) -> list[bool | None]:
    granted = _STATES.get(folded(person.under(name).text("state") or ""))
    return person.answers(name) if granted is None else [granted]


def _source(report: Report, default: str) -> str:
    return report.properties.text("consent_source", "source", limit=100) or default


def _channel(report: Report) -> Channel | None:
    """Read a channel: e-mail if none is told, None if it is one that we do not know."""
    if not report.properties.tells("channel"):
        return "email"
    match folded(report.properties.text("channel", limit=20) or ""):
        case "email" | "mail":
            return "email"
        case "sms":
            return "sms"
        case "push":
            return "push"
    return None


DECODERS = {
    "Signed Up": signed_up,
    "Profile Updated": profile_updated,
    "Newsletter Subscribed": subscribed,
    "Newsletter Unsubscribed": unsubscribed,
    "Email Preferences Saved": preferences_saved,
    "Marketing Paused": paused,
    "Marketing Resumed": resumed,
    "Consent Confirmed": confirmed,
}
