"""The layout of a CSV recording: which column holds what, and which event each kind of row stands for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from domain.errors import InvalidInput
from domain.vocabulary import canonical, folded

COLUMNS: dict[str, tuple[str, ...]] = {
    "ts": ("ts", "event_time", "timestamp", "time", "datetime", "date", "created_at"),
    "user": ("user", "user_id", "customer_id", "visitorid", "customer", "client_id"),
    "kind": ("kind", "event_type", "event", "type", "action"),
    "item": ("item", "product_id", "itemid", "product", "sku"),
    "value": ("value", "price", "amount", "total", "revenue"),
    "order_id": ("order_id", "transactionid", "order", "invoice"),
}
"""What a row can say, and how recordings call it. Case and punctuation make no difference."""
_NEEDED = ("ts", "user")

KINDS = {
    "view": "Product Viewed",
    "cart": "Product Added",
    "addtocart": "Product Added",
    "removefromcart": "Product Removed",
    "order": "Order Completed",
    "buy": "Order Completed",
    "purchase": "Order Completed",
    "transaction": "Order Completed",
    "cancel": "Order Cancelled",
}
"""Kinds of rows, folded, and the events that they stand for; every name of the vocabulary is understood as well."""
ANY = "*"
"""The kind of every row for which nothing else is said."""


@dataclass(frozen=True)
class Layout:
    """What the user says about a file, on top of what is understood anyway.

    Attributes:
        columns: The header of a column by what it holds.
        kinds: Event names by kind of row; an empty name leaves such rows out.
    """

    columns: Mapping[str, str]
    kinds: Mapping[str, str]

    @classmethod
    def told(cls, mappings: Iterable[str]) -> Self:
        """Read `ts=event_time` (a column) and `kind:buy=Order Completed` (a kind of row).

        Raises:
            InvalidInput: Says how a mapping is written.
        """
        columns: dict[str, str] = {}
        kinds: dict[str, str] = {}
        for mapping in mappings:
            what, equals, name = mapping.partition("=")
            what, name = what.strip(), name.strip().strip("\"'")
            if not equals:
                raise InvalidInput("map", f"{mapping!r} must be COLUMN=HEADER or kind:NAME=EVENT")
            if re.match(r"kind:", what):
                kinds[folded(what[5:]) or ANY] = _event(name)
            elif what in COLUMNS:
                columns[what] = name
            else:
                raise InvalidInput("map", f"{what!r} is not known; there are {', '.join(COLUMNS)} and kind:NAME")
        return cls(columns, kinds)

    def positions(self, header: Sequence[str]) -> dict[str, int]:
        """Find the columns of a file.

        Raises:
            InvalidInput: One that is needed is missing.
        """
        known = {folded(name): position for position, name in reversed(list(enumerate(header)))}
        found: dict[str, int] = {}
        for column, usual in COLUMNS.items():
            told = self.columns.get(column)
            names = usual if told is None else (told,)
            position = next((known[folded(name)] for name in names if folded(name) in known), None)
            if position is not None:
                found[column] = position
            elif told is not None or column in _NEEDED or (column == "kind" and ANY not in self.kinds):
                raise InvalidInput(
                    "header",
                    f"has no column {names[0]!r}; it has {', '.join(header)[:200]}. Name it: --map {column}=HEADER",
                )
        return found

    def event(self, kind: str) -> str | None:
        """Return the event that a kind of row stands for; None to leave such rows out.

        Raises:
            ValueError: Nobody has said what it means.
        """
        name = self.kinds.get(folded(kind)) if folded(kind) in self.kinds else KINDS.get(folded(kind), canonical(kind))
        name = self.kinds.get(ANY) if name is None else name
        if name is None:
            raise ValueError(
                f'{kind[:40]!r} is not understood; say what it is: --map kind:{kind[:40]}="Event Name", or leave such '
                f"rows out: --map kind:{kind[:40]}="
            )
        return name or None


def _event(name: str) -> str:
    known = canonical(name)
    if name and known is None:
        raise InvalidInput("map", f"{name!r} is no event that is understood; docs/events.md lists them")
    return known or ""
