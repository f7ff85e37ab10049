"""Preparing rows: each is read as the `identify` call that it stands for, by the rules of any other event.

The fields are those of `identify` (docs/events.md), flat or under `traits`. What decoding would pass over in silence is
an error here: somebody looks at the report of an import, and nobody at a request's.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from pydantic_core import from_json

from adapters.postgres.import_lines import PROFILE, Block, Evidence, copy_row, copy_word
from api.envelope import Arrival, moment, opened, storable, understood
from api.steps import Refused, each
from cli.importing.reading import LONGEST_LINE, Row
from domain.consent import IDENTIFY
from domain.decoding.fields import Fields
from domain.decoding.people import identified
from domain.decoding.report import Report
from domain.errors import InvalidEvent
from domain.events import Event, Shortened, shortened
from domain.facts import AnyFact, ConsentChanged, ProfileChanged, Topic
from domain.ip_addresses import anonymised
from domain.vocabulary import folded

_WHO = {"userId": ("userid", "customerid", "id"), "anonymousId": ("anonymousid",)}
_MOMENT = ("timestamp", "updatedat")
_EVIDENCE = frozenset(folded(name) for name in ("consent_at", "consent_source", "consent_ip"))
_EMAIL = ("email", "email_address", "customer_email", "user_email")
_FORMS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "email": (_EMAIL, "must be an e-mail address"),
    "locale": (("locale", "language"), "must be a language, such as de or en-GB"),
    "timezone": (("timezone", "time_zone"), "must be an IANA name, such as Europe/Berlin"),
}
_FLAGS = frozenset(folded(name) for name in (
    "marketing_consent", "marketing_opt_in", "newsletter_opt_in", "accepts_marketing", "buyer_accepts_marketing",
    "email_opt_in", "email_consent", "subscribed", "opt_in", "unsubscribed", "sms_opt_in", "sms_consent",
    "accepts_sms_marketing", "buyer_accepts_sms_marketing", "push_opt_in", "push_consent", *Topic,
))  # fmt: skip
_NO_CURRENCY = "XXX"  # ISO 4217: none is involved
_NO_TRAITS = frozenset((*chain(*_WHO.values()), *_MOMENT, *_EVIDENCE, "traits"))


class BadRow(NamedTuple):
    """A row that was left out, and why."""

    line: int
    field: str
    rule: str


class Understood(NamedTuple):
    """What a row says: the event that it stands for, and the facts of it.

    Attributes:
        evidence: Of the words of consent to e-mail, where the row tells it.
    """

    line: int
    event: Event
    profile: ProfileChanged | None
    words: Sequence[ConsentChanged]
    evidence: Evidence | None


class _Said(NamedTuple):
    """A row as the call that it stands for.

    Attributes:
        traits: Of the call, within reach.
        address: The e-mail address as it was told.
        about: What names the customer, dates the row and proves consent, each under one spelling.
    """

    line: int
    call: Shortened
    traits: Fields
    address: str | None
    about: dict[str, Any]


def block_of(
    rows: Sequence[Row], header: Sequence[str] | None, arrival: Arrival, *, whole_addresses: bool = False
) -> tuple[Block, list[BadRow]]:
    """Write rows as COPY takes them; a bad one costs only itself."""
    good, bad = understood_rows(rows, header, arrival, whole_addresses=whole_addresses)
    people = "".join([copy_row(row.line, row.event, row.profile) for row in good])
    words = "".join([copy_word(row.line, word, row.evidence) for row in good for word in row.words])
    return Block(people.encode(), words.encode(), rows[-1].line, len(bad)), bad


def understood_rows(
    rows: Sequence[Row], header: Sequence[str] | None, arrival: Arrival, *, whole_addresses: bool = False
) -> tuple[list[Understood], list[BadRow]]:
    """Read rows; return the good ones and why the others are not.

    Args:
        rows: Of a file.
        header: Of a CSV file.
        arrival: When the file was true, and whose customers it names.
        whole_addresses: The store keeps the IP addresses of consent as they are; no others come through.
    """
    refused: list[Refused] = []
    parted = each(lambda row: _parted(_record(row, header)), [(row.line, row) for row in rows], refused)
    said = each(lambda row: _said(*row), [(line, (line, *parts)) for line, parts in parted], refused)
    told = each(lambda row: (row, opened(row.call, row.call, None, arrival)), said, refused)
    reports = [(line, (row, event, Report.of(event, _NO_CURRENCY))) for line, (row, event) in told]
    heard = [(line, (row, event, list(identified(report)))) for line, (row, event, report) in reports]
    good = each(lambda row: _understood(*row, arrival, whole_addresses), heard, refused)
    return [row for _, row in good], [BadRow(*one) for one in sorted(refused)]


def events_of(row: Understood, arrival: Arrival) -> list[Event]:
    """Return the events that say the same as a row, for the door; repeated, they are the same events."""
    traits: dict[str, Any] = {}
    if row.profile is not None:
        told = row.profile.model_dump(include=set(PROFILE), exclude_none=True)
        traits = {**row.profile.traits, **told}
    topics: dict[str, bool] = {}
    wording = next((word.wording for word in row.words if word.wording is not None), None)
    if wording is not None:
        traits["consent_wording"] = wording
    for word in row.words:
        if word.channel != "email":
            traits[f"{word.channel}_opt_in"] = word.granted
        elif row.evidence is not None:
            topics[word.topic] = word.granted
        else:
            traits[word.topic] = word.granted
    who = row.event.who
    call = {"userId": who.user_id, "anonymousId": who.anonymous_id, "timestamp": row.event.at.isoformat()}
    calls: list[dict[str, Any]] = [{**call, "type": "identify", "traits": traits}]
    if row.evidence is not None:
        at, source, ip = row.evidence
        calls.append(
            {
                **call, "type": "track", "event": "Email Preferences Saved", "timestamp": at.isoformat(),
                "properties": {"topics": topics, "source": source, "wording": wording, "email": who.email},
                "context": {"ip": ip},
            }
        )  # fmt: skip
    return [understood({**call, "messageId": _message_id(call)}, arrival) for call in calls]


def _said(line: int, about: dict[str, Any], described: dict[str, Any]) -> _Said:
    call = shortened(_call(about, described))
    traits = Fields(call["traits"])
    if (address := traits.text(*_EMAIL)) is not None:
        call["traits"]["email"] = address  # as an identity it has one name only
    storable(call)
    return _Said(line, call, traits, address, about)


def _understood(
    said: _Said, event: Event, told: Iterable[AnyFact], arrival: Arrival, whole_addresses: bool
) -> Understood:
    profile: ProfileChanged | None = None
    words: list[ConsentChanged] = []
    for fact in told:
        if isinstance(fact, ProfileChanged):
            profile = fact
        elif isinstance(fact, ConsentChanged):
            words.append(fact)
    _check(said, event, profile)
    evidence: Evidence | None = None
    if not _EVIDENCE.isdisjoint(said.about):
        evidence = _evidence(Fields(said.about), arrival, whole_addresses)
        if not any(word.channel == "email" for word in words):
            raise InvalidEvent("consent_at", "is evidence of nothing: the row tells no consent")
    return Understood(said.line, event, profile, words, evidence)


def _record(row: Row, header: Sequence[str] | None) -> dict[str, Any]:
    """Return what a row says under the spelling that our fields have."""
    content = row.content
    if not isinstance(content, str):
        if header is None or len(content) != len(header):
            raise InvalidEvent("row", f"has {len(content)} cells, and the header {len(header or ())}")
        return {name: cell for name, cell in zip(header, content, strict=True) if name and cell.strip()}
    if len(content) > LONGEST_LINE:
        raise InvalidEvent("row", f"must not be longer than {LONGEST_LINE:,} characters")
    record = _json(content)
    if not isinstance(record, dict):
        raise InvalidEvent("row", "must be a JSON object")
    return {name: value for name, value in record.items() if value is not None}


def _json(content: str) -> object:
    try:
        return from_json(content, cache_strings="keys")
    except ValueError:
        pass
    try:
        return json.loads(content)  # half of a surrogate pair, say: it is told apart from what is no JSON
    except (ValueError, RecursionError) as problem:
        raise InvalidEvent("row", "is not valid JSON") from problem


def _parted(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what names and proves from what describes: the first under one spelling, the second as it was told."""
    about: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for name, value in record.items():
        if (known_as := folded(name)) in _NO_TRAITS:
            about[known_as] = value
        else:
            described[name] = value
    return about, described


def _call(about: Mapping[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """Write the `identify` call that a row stands for; the traits may stand flat beside the ids."""
    nested = about.get("traits")
    call: dict[str, Any] = {"type": "identify", "traits": described}
    if isinstance(nested, dict):
        call["traits"] = {**described, **nested}
    for name, columns in _WHO.items():
        if (found := _first(about, columns)) is not None:
            call[name] = found.strip() if isinstance(found, str) else found
    if (told := _first(about, _MOMENT)) is not None:
        call["timestamp"] = told
    return call


def _first(about: Mapping[str, Any], names: Sequence[str]) -> object:
    for name in names:
        if name in about:
            return about[name]
    return None


def _check(said: _Said, event: Event, profile: ProfileChanged | None) -> None:
    """Refuse what was said and not understood.

    Raises:
        InvalidEvent: Names the field and the rule.
    """
    for field, (names, rule) in _FORMS.items():
        if getattr(profile, field, None) is None and said.traits.text(*names) is not None:
            raise InvalidEvent(field, rule)
    if said.address is not None and event.who.email is None:
        raise InvalidEvent("email", _FORMS["email"][1])
    for flag in said.traits.named(_FLAGS):
        if said.traits.flag(flag) is None and said.traits.text(flag) is not None:
            raise InvalidEvent(flag, "must be yes or no")


def _evidence(fields: Fields, arrival: Arrival, whole_addresses: bool) -> Evidence:
    """Read when and how consent was given (GDPR art. 7 (1))."""
    at = moment("consent_at", fields.text("consent_at"))
    if at is None:
        raise InvalidEvent("consent_at", "is missing: evidence of consent needs its time")
    source = fields.text("consent_source", limit=100) or "import"
    if source.lower() == IDENTIFY:
        raise InvalidEvent("consent_source", f"must not be {IDENTIFY!r}: that has no evidence")
    ip = fields.ip("consent_ip")
    if ip is None and fields.text("consent_ip") is not None:
        raise InvalidEvent("consent_ip", "must be an IP address")
    if ip is not None and not whole_addresses:
        ip = anonymised(ip)
    return Evidence(min(at, arrival.received_at), source, ip)


def _message_id(call: Mapping[str, Any]) -> str:
    said = json.dumps(call, sort_keys=True, ensure_ascii=False)
    return f"import:{hashlib.sha256(said.encode()).hexdigest()[:40]}"
