"""The envelope: from a dict in the form of Segment's spec to an `Event`, or to the rule that it breaks.

The payload is kept as received; only what every event has is understood here: type, ids, time, dedup key.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import NoneType
from typing import Any, NamedTuple, cast, get_args

from email_validator import EmailNotValidError, validate_email
from uuid_utils import uuid4
from uuid_utils.compat import uuid7

from domain.errors import InvalidEvent
from domain.events import Event, EventType, Kept, Shortened, Who, corrected, kept, shortened
from domain.ip_addresses import written
from domain.vocabulary import CATALOGUE, canonical

TYPES: tuple[str, ...] = get_args(EventType)

_MAX_DEPTH = 32
_TOO_DEEP = f"is nested deeper than {_MAX_DEPTH} levels"
_MAX_DIGITS = 300
_DIGITS = b"0123456789"
_TOO_LARGE = 10**_MAX_DIGITS
_MAX_ID = 512
_MAX_MESSAGE_ID = 100
_OF_SOMEONE_ELSE = ("Product Shared", "Cart Shared")
_OBJECTS = ("properties", "traits", "context", "integrations")
# Made once: to write a union out makes a new one for each event.
_OBJECT, _TEXT, _ID = (dict, NoneType), (str, NoneType), (str, int)
_LONGEST_ADDRESS = 254
_PLAIN_ADDRESS = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?P<domain>[a-z0-9.-]+)")
"""What nearly every address looks like: whether it is one depends on its domain alone."""


class Arrival(NamedTuple):
    """What is known of an event besides its own content.

    Attributes:
        sent_at: When the client sent the batch, on the client's clock.
        peer: The address that the request came from, if that is the customer's own (a browser's).
    """

    store_id: str
    received_at: datetime
    sent_at: datetime | None = None
    peer: str | None = None


def understood(raw: dict[str, Any], arrival: Arrival, limit: int | None = None) -> Event:
    """Check an event and understand its envelope.

    Args:
        raw: The event, with its `type`; nobody changes it afterwards.
        arrival: Where and when it came in.
        limit: Bytes of JSON that it may be.

    Raises:
        InvalidEvent: Names the field and the rule.
    """
    payload = payload_of(raw)
    return opened(raw, payload, storable(payload, limit), arrival)


def payload_of(raw: dict[str, Any]) -> Shortened:
    """Return what is kept of an event: not the key that it came with, and no IP address whole.

    Raises:
        InvalidEvent: It is nested too deeply.
    """
    try:
        return shortened(raw if "writeKey" not in raw else {key: raw[key] for key in raw if key != "writeKey"})
    except RecursionError as problem:
        raise InvalidEvent("event", _TOO_DEEP) from problem


def storable(payload: Shortened, limit: int | None = None) -> Kept:
    """Write a payload as it is stored; refuse what JSON has no number for and what Postgres cannot keep.

    Args:
        payload: Of an event.
        limit: Bytes of JSON that it may be.

    Raises:
        InvalidEvent: Names the field and the rule.
    """
    try:
        told = kept(payload)
    except ValueError:  # half of a surrogate pair, or very deep
        told = Kept(b"")
    if not told or not _plain(told):
        _name_what_is_not(payload)
    if limit is not None:
        check_size(told, limit)
    return told


def opened(raw: dict[str, Any], payload: Shortened, written: Kept | None, arrival: Arrival) -> Event:
    """Understand the envelope of an event that can be stored.

    Args:
        raw: The event.
        payload: What is kept of it.
        written: The same in JSON, if it has been written.
        arrival: Where and when it came in.

    Raises:
        InvalidEvent: Names the field and the rule.
    """
    for field in _OBJECTS:
        if not isinstance(raw.get(field), _OBJECT):
            raise InvalidEvent(field, "must be an object")
    context = raw.get("context") or {}
    if not isinstance(context.get("traits"), _OBJECT):
        raise InvalidEvent("context.traits", "must be an object")
    kind = _type(raw)
    name = _name(raw, kind)
    # Told apart by their places: by their names it takes longer, and there are many events.
    return Event(
        arrival.store_id, uuid7(), _message_id(raw), kind, name, _who(raw, kind, name), payload, _at(raw, arrival),
        arrival.received_at, _ip(context, arrival.peer), written,
    )  # fmt: skip


def check_size(told: bytes, limit: int) -> None:
    """Check how large an event is as JSON.

    Raises:
        InvalidEvent: It is larger than so many bytes.
    """
    if len(told) > limit:
        raise InvalidEvent("event", f"must not be larger than {limit >> 10} KB")


def moment(field: str, value: object) -> datetime | None:
    """Read a timestamp; one without an offset is taken for UTC.

    Raises:
        InvalidEvent: It is not in ISO 8601.
    """
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value.strip().upper()) if isinstance(value, str) else None
    except ValueError:
        parsed = None
    if parsed is None:
        raise InvalidEvent(field, "must be a time in ISO 8601, such as 2026-01-31T12:00:00.000Z")
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def address(value: object) -> str | None:
    """Read an e-mail address as an identity: lower case, and None for what does not look like one."""
    return _address(value.strip()) if isinstance(value, str) and len(value) <= 320 else None


def _address(text: str) -> str | None:
    lower = text.lower() if text.isascii() else text
    plain = _PLAIN_ADDRESS.fullmatch(lower)
    if plain is not None and len(lower) <= _LONGEST_ADDRESS and _plain_domain(plain["domain"]):
        return lower
    return _checked(text)


# The check is the dearest part of an event, and the customers of a shop have their addresses at a few providers.
@lru_cache(maxsize=4096)
def _plain_domain(domain: str) -> bool:
    """Tell whether a domain is one of addresses and written as it should be; of Punycode that is not sure."""
    return _checked(f"a@{domain}") == f"a@{domain}"


# A batch names the same few customers again and again.
@lru_cache(maxsize=4096)
def _checked(text: str) -> str | None:
    try:
        # Reserved names such as shop.test are how shops try things out.
        checked = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return checked.normalized.lower()


def _plain(told: bytes) -> bool:
    """Tell from an event's JSON whether all is well, without a look at each part: nearly every event is plain."""
    # One letter is found much sooner than a word, and nearly always it is not there either.
    return not (
        (b"\\" in told and b"\\u0000" in told)
        or (b"N" in told and b"NaN" in told)
        or (b"I" in told and b"Infinity" in told)
        or told.count(b"{") + told.count(b"[") > _MAX_DEPTH
        or _may_hold_a_long_number(told)
    )


def _may_hold_a_long_number(told: bytes) -> bool:
    # So many digits in a row would have one in this place, or in one so much further on.
    some = told[_MAX_DIGITS - 1 :: _MAX_DIGITS]
    return some.translate(None, _DIGITS) != some and len(told) - len(told.translate(None, _DIGITS)) >= _MAX_DIGITS


def _storable_number(number: float) -> bool:
    return math.isfinite(number) if isinstance(number, float) else abs(number) < _TOO_LARGE


def _name_what_is_not(raw: dict[str, Any]) -> None:
    todo: list[tuple[str, int, object]] = [("", 0, raw)]
    while todo:
        path, depth, value = todo.pop()
        if isinstance(value, str):
            _check_text(path, value)
        elif isinstance(value, (int, float)) and not _storable_number(value):
            raise InvalidEvent(path, "must be a finite number of at most 300 digits")
        elif isinstance(value, (dict, list)):
            if depth > _MAX_DEPTH:
                raise InvalidEvent(path, _TOO_DEEP)
            todo.extend((inner, depth + 1, part) for inner, part in _parts(path, value))


def _parts(path: str, whole: dict[str, Any] | list[Any]) -> list[tuple[str, Any]]:
    if isinstance(whole, list):
        return [(f"{path}[{position}]", part) for position, part in enumerate(whole)]
    for name in whole:
        _check_text(f"a name in {path or 'the event'}", name)
    return [(f"{path}.{name[:50]}" if path else name[:50], part) for name, part in whole.items()]


def _check_text(path: str, value: str) -> None:
    if "\0" in value:
        raise InvalidEvent(path, "must not contain the NUL character")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidEvent(path, "must not contain half of a surrogate pair")


def _type(raw: Mapping[str, Any]) -> EventType:
    kind = raw.get("type")
    if kind not in TYPES:
        raise InvalidEvent("type", f"must be one of {', '.join(TYPES)}")
    return cast("EventType", kind)


def _name(raw: Mapping[str, Any], kind: EventType) -> str | None:
    if kind not in ("track", "page", "screen"):
        return None
    field = "event" if kind == "track" else "name"
    name = raw.get(field)
    if not isinstance(name, _TEXT):
        raise InvalidEvent(field, "must be a string")
    if kind == "track" and not (name or "").strip():
        raise InvalidEvent(field, "is missing: a track call names what happened")
    return name


def _who(raw: Mapping[str, Any], kind: EventType, name: str | None) -> Who:
    known_as = canonical(name or "")
    who = Who(_id(raw, "userId"), _id(raw, "anonymousId"), _email(raw, kind, known_as))
    if kind == "alias" and _id(raw, "previousId") is None and who.anonymous_id is None:
        raise InvalidEvent("previousId", "is missing: an alias call names the identity before and after")
    of_nobody = kind == "track" and known_as in CATALOGUE
    if who.user_id is None and who.anonymous_id is None and who.email is None and not of_nobody:
        raise InvalidEvent("userId", "is missing: an event needs userId or anonymousId")
    return who


def _id(raw: Mapping[str, Any], field: str) -> str | None:
    """Read an id; shops count their customers, so whole numbers are as good as strings."""
    value = raw.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, _ID):
        raise InvalidEvent(field, "must be a string or a whole number")
    text = str(value)
    if len(text) > _MAX_ID:
        raise InvalidEvent(field, f"must not be longer than {_MAX_ID} characters")
    return text if text.strip() else None


def _email(raw: Mapping[str, Any], kind: EventType, known_as: str | None) -> str | None:
    if kind == "group":
        return None  # its traits are a company's
    # Who shares a product or a cart writes somebody else's address into it.
    properties = {} if known_as in _OF_SOMEONE_ELSE else raw.get("properties") or {}
    places = (raw.get("traits"), (raw.get("context") or {}).get("traits"), properties, properties.get("customer"))
    for place in places:
        if isinstance(place, dict) and (email := address(place.get("email"))) is not None:
            return email
    return None


def _message_id(raw: Mapping[str, Any]) -> str:
    message_id = _id(raw, "messageId")
    if message_id is None:
        return f"minted:{uuid4()}"
    if len(message_id) > _MAX_MESSAGE_ID:
        raise InvalidEvent("messageId", f"must not be longer than {_MAX_MESSAGE_ID} characters")
    return message_id


def _at(raw: Mapping[str, Any], arrival: Arrival) -> datetime:
    timestamp = moment("timestamp", raw.get("timestamp"))
    # `originalTimestamp` is the client's own clock; `timestamp` next to it has been corrected by somebody already.
    original = moment("originalTimestamp", raw.get("originalTimestamp")) or timestamp
    own = moment("sentAt", raw.get("sentAt"))
    if original is None:
        return arrival.received_at
    try:
        # The batch is sent after its events were made, so its `sentAt` is nearer to the truth.
        return corrected(original, arrival.sent_at or own, arrival.received_at).astimezone(UTC)
    except OverflowError as problem:
        raise InvalidEvent("timestamp", "is out of range") from problem


def _ip(context: Mapping[str, Any], peer: str | None) -> str | None:
    told = context.get("ip")
    try:
        return written(told) if isinstance(told, str) else peer
    except ValueError:
        return peer
