"""Times as recordings write them: ISO 8601 in its many shapes, and seconds or milliseconds since 1970."""

import re
from datetime import UTC, datetime, timedelta

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"\d{9,16}(\.\d+)?")
_ZONE = re.compile(r"\s*(UTC|GMT)$", re.IGNORECASE)
_FIRST_MILLISECONDS, _FIRST_MICROSECONDS = 10**11, 10**14


def moment(told: object) -> datetime:
    """Read a time; one without a zone is taken for UTC.

    Raises:
        ValueError: Says what a time must look like.
    """
    text = str(told).strip() if isinstance(told, str | int | float) and not isinstance(told, bool) else ""
    try:
        at = _since_1970(text) if _NUMBER.fullmatch(text) else datetime.fromisoformat(_ZONE.sub("", text).upper())
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a time, such as 2026-01-31T12:00:00Z, 2026-01-31 12:00:00 UTC or 1769860800 (seconds or "
            f"milliseconds since 1970), not {text[:40]!r}"
        ) from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    if not EARLIEST <= at < LATEST:
        raise ValueError(f"must lie between {EARLIEST:%Y} and {LATEST:%Y}, not {text[:40]!r}")
    return at


def _since_1970(text: str) -> datetime:
    whole, _, rest = text.partition(".")
    number = int(whole)
    if number >= _FIRST_MICROSECONDS:
        return EARLIEST + timedelta(microseconds=number)
    if number >= _FIRST_MILLISECONDS:
        return EARLIEST + timedelta(milliseconds=number, microseconds=int((rest + "000")[:3]))
    return EARLIEST + timedelta(seconds=number, microseconds=int((rest + "000000")[:6]))
