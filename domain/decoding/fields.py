"""Fields: what a client sent, read leniently. Any spelling of a name counts; what is malformed was not said."""

import math
import re
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from domain.ip_addresses import written
from domain.money import MAX_MINOR, to_minor
from domain.vocabulary import folded

LONGEST_ID = 200
_LONGEST_URL = 2_000
_LONGEST_TEXT = 500
_MOST = 10**15
_MOST_REST = 100

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_EMAIL = re.compile(r"[^\s@,;:<>()\[\]\"\\]{1,64}@[^\s@,;:<>()\[\]\"\\]{1,190}")
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1", "instock", "available"), True),
    **dict.fromkeys(("false", "no", "off", "0", "outofstock", "unavailable", "soldout"), False),
}


@lru_cache(maxsize=1_024)
def _spellings(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the spellings of names that we ask for; there are as many such tuples as questions in the decoders."""
    return tuple(folded(name) for name in names)


class Fields:
    """The fields of one JSON object.

    Every reader takes several names and returns the first usable value, or None. Where a list stands for a
    single value, its first entry counts.
    """

    __slots__ = ("_names", "_values")

    def __init__(self, source: object = None) -> None:
        self._values: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        if isinstance(source, dict):
            values, names = self._values, self._names
            for name, value in source.items():
                if value is not None and isinstance(name, str) and (known_as := folded(name)) not in values:
                    values[known_as] = value
                    names[known_as] = name

    def under(self, *names: str) -> "Fields":
        """Return the fields of a nested object, or none at all."""
        for value in self._said(names):
            if isinstance(value, dict):
                return Fields(value)
        return _NOTHING

    def over(self, other: "Fields") -> "Fields":
        """Return these fields laid over others."""
        if not other._values:
            return self
        if not self._values:
            return other
        return self._with({**other._values, **self._values}, {**other._names, **self._names})

    def opened(self, *names: str) -> "Fields":
        """Return the fields of a nested object laid over these."""
        return self.under(*names).over(self) if self._values else self

    def only(self, *names: str) -> "Fields":
        """Return none but these fields."""
        wanted = {folded(name) for name in names}
        return self._with({name: value for name, value in self._values.items() if name in wanted}, self._names)

    def named(self, wanted: Collection[str]) -> list[str]:
        """Return those of these names (`vocabulary.folded`) that were said, as they were spelt."""
        return [self._names[name] for name in self._values if name in wanted]

    def rest(self, known: Collection[str]) -> dict[str, str | int | float | bool]:
        """Return the plain values under all other names, as they were spelt."""
        rest: dict[str, str | int | float | bool] = {}
        for folded_name, value in self._values.items():
            if folded_name in known or len(rest) >= _MOST_REST:
                continue
            name = _on_one_line(self._names[folded_name], 100)
            plain = (_on_one_line(value, _LONGEST_TEXT) or None) if isinstance(value, str) else _plain(value)
            if name and plain is not None:
                rest[name] = plain
        return rest

    def rows(self, *names: str) -> list["Fields"] | None:
        """Read a list of objects, or of bare product ids; None unless there is one."""
        for name in names:
            rows = self._values.get(folded(name))
            if isinstance(rows, list):
                return [Fields(row if isinstance(row, dict) else {"id": row}) for row in rows]
        return None

    def tells(self, *names: str) -> bool:
        """Tell whether any of these fields has a value, understood or not."""
        return any(value != "" for value in self._said(names))

    def text(self, *names: str, limit: int = _LONGEST_TEXT) -> str | None:
        """Read a text on one line, cut at a sensible length."""
        for value in self._said(names):
            text = value if isinstance(value, str) else _written(value)
            if text is not None and (clean := _on_one_line(text, limit)):
                return clean
        return None

    def identifier(self, *names: str) -> str | None:
        """Read an id; one that is too long or unprintable names nothing (cut, it would name something else)."""
        for value in self._said(names):
            text = (_written(value) or "").strip()
            if 0 < len(text) <= LONGEST_ID and not _UNPRINTABLE.search(text):
                return text
        return None

    def email(self, *names: str) -> str | None:
        """Read an e-mail address, in lower case: people do not tell Ann@ from ann@."""
        for value in self._said(names):
            text = _on_one_line(_written(value) or "", 255)
            if _EMAIL.fullmatch(text):
                return text.lower()
        return None

    def url(self, *names: str) -> str | None:
        """Read a web address that may stand in a mail."""
        for value in self._said(names):
            url = Fields(value).url("url", "src", "href") if isinstance(value, dict) else _web(value)
            if url is not None:
                return url
        return None

    def flag(self, *names: str) -> bool | None:
        """Read a yes or no."""
        for answer in self.answers(*names):
            if answer is not None:
                return answer
        return None

    def answers(self, *names: str) -> list[bool | None]:
        """Read every answer under these names; None is one that is neither yes nor no."""
        said = self._said(names)
        return [v if isinstance(v, bool) else _FLAGS.get(folded(_written(v) or "")) for v in said if v != ""]

    def number(self, *names: str) -> float | None:
        """Read a finite number, held to a size that any column takes."""
        for value in self._said(names):
            number = _number(value)
            if number is not None:
                return number
        return None

    def money(self, currency: str, *names: str) -> int | None:
        """Read an amount that is not negative, in minor units: `price_minor` as it is, else `price` as a decimal."""
        for name in names:
            minor = self.number(f"{name}_minor")
            if minor is None:
                decimal = next(iter(self._said((name,))), None)
                if isinstance(decimal, dict):
                    return Fields(decimal).money(currency, "amount", "value")
                minor = to_minor(decimal, currency)
            if minor is not None and 0 <= minor <= MAX_MINOR:
                return int(minor)
        return None

    def currency(self, default: str) -> str:
        """Read an ISO 4217 code."""
        code = (self.text("currency", "currency_code", limit=10) or "").upper()
        return code if len(code) == 3 and code.isascii() and code.isalpha() else default

    def uuid(self, *names: str) -> UUID | None:
        """Read one of our own ids."""
        try:
            return UUID(self.identifier(*names) or "")
        except ValueError:
            return None

    def moment(self, *names: str) -> datetime | None:
        """Read a time in ISO 8601; one without a zone is in UTC."""
        for name in names:
            try:
                told = datetime.fromisoformat(self.text(name, limit=40) or "")
                return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
            except (ValueError, OverflowError):
                continue
        return None

    def ip(self, *names: str) -> str | None:
        """Read an IP address."""
        text = self.identifier(*names)
        try:
            return None if text is None else written(text)
        except ValueError:
            return None

    @staticmethod
    def _with(values: dict[str, Any], names: dict[str, str]) -> "Fields":
        fields = Fields()
        fields._values, fields._names = values, names
        return fields

    def _said(self, names: tuple[str, ...]) -> list[Any]:
        said = []
        for name in _spellings(names) if self._values else ():
            if (value := self._values.get(name)) is not None:
                if isinstance(value, list):
                    value = value[0] if value else None
                if value is not None:
                    said.append(value)
        return said


_NOTHING = Fields()


def _on_one_line(text: str, limit: int) -> str:
    """Replace what cannot be printed by spaces, and several spaces by one; most texts need neither."""
    if len(text) <= limit and text.isprintable() and text.strip() == text and "  " not in text:
        return text
    return " ".join(_UNPRINTABLE.sub(" ", text[: 2 * limit]).split())[:limit]


def _written(value: object) -> str | None:
    """Write a scalar as a client means it; a whole number keeps no decimals."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value) if abs(value) < _MOST else None
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20
    return str(value) if whole else None


def _plain(value: object) -> bool | float | None:
    return value if isinstance(value, bool) else _number(value)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return max(-_MOST, min(_MOST, value))
    try:
        number = float(value[:64] if isinstance(value, str) else value)
    except ValueError:
        return None
    return max(-_MOST, min(_MOST, number)) if math.isfinite(number) else None


def _web(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > _LONGEST_URL:
        return None
    url = value.strip().replace(" ", "%20")
    url = f"https:{url}" if url.startswith("//") else url
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    usable = parts.scheme in ("http", "https") and parts.netloc and not _UNPRINTABLE.search(url)
    return url if usable and len(url) <= _LONGEST_URL else None
