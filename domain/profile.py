"""The profile: of all that was told about a field, which word counts. The newest, but the customer's own first.

Browsers report their language and time zone with every event, and shops repeat what they know. Neither may overwrite
what a customer chose on the preferences page, in whichever order the events arrive (G2).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

_CHOSEN = "chosen."


def counts(stamps: Mapping[str, str], field: str, at: datetime, *, chosen: bool = False) -> bool:
    """Tell whether a word on a field counts against the one that is kept.

    Args:
        stamps: When each field was last told, as `stamped` writes it.
        field: Name of the field.
        at: When the new word was said.
        chosen: The customer said it.
    """
    return field not in stamps or _standing(stamps, field) <= (chosen, at)


def stamped(fields: Iterable[str], at: datetime, *, chosen: bool = False) -> dict[str, str]:
    """Return the stamps of a new word on some fields."""
    stamps = dict.fromkeys(fields, at.isoformat())
    return stamps | {f"{_CHOSEN}{field}": stamp for field, stamp in stamps.items()} if chosen else stamps


def outranked(kept: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    """Return the fields on which another profile of the same person has the word that counts."""
    return {field for field in other if field not in kept or _standing(kept, field) < _standing(other, field)}


def _standing(stamps: Mapping[str, str], field: str) -> tuple[bool, datetime]:
    return f"{_CHOSEN}{field}" in stamps, datetime.fromisoformat(stamps[field])
