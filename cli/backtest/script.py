"""The script of a backtest: a recording in order of time, and the parts in which its customers are played."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cli.backtest.customers import Customers
from cli.backtest.recording import Call
from domain.errors import InvalidInput

NOBODY = -1
"""Stands for a customer where a call is about the catalogue."""
_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
# At the same instant of one customer the cart comes first, then the order, then what undoes it.
_RANKS = {"Order Completed": 1, "Order Updated": 1, "Order Refunded": 2, "Order Cancelled": 2}
_SHOWN = 3
_EVERY = 5_000


class Entry(NamedTuple):
    """One call that is played: when, for whom, and what (JSON)."""

    at: datetime
    rank: int
    line: int
    customer: int
    raw: str

    def line_of_json(self) -> str:
        """Write it down for the process that plays it."""
        return f"[{(self.at - _EPOCH) // _MICROSECOND},{self.customer},{self.raw}]\n"


def played(text: str) -> tuple[datetime, int, dict[str, Any]]:
    """Read what `line_of_json` wrote."""
    at, customer, raw = json.loads(text)
    return _EPOCH + at * _MICROSECOND, customer, raw


@dataclass
class Script:
    """What was recorded.

    Attributes:
        events: How many calls there were, whether a journey needs them or not.
        skipped: How many rows were left out because they cannot be read; `problems` are the first of them.
        first, last: When the data begins and ends; None for an empty recording.
        entries: The calls that a journey may need, in the order in which they are played.
        labels: What each customer is called in the recording.
        told_by_clients: Whether it holds calls as clients make them, which may tell of consent; rows cannot.
    """

    events: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    entries: list[Entry] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)
    told_by_clients: bool = False

    @property
    def customers(self) -> int:
        """How many customers were recorded."""
        return len(self.labels)

    def parts(self, size: int, at_least: int) -> list[list[Entry]]:
        """Split it into parts of customers who have nothing to do with each other, of about `size` entries.

        What the catalogue says concerns everybody, so then there is one part.
        """
        mine = Counter(entry.customer for entry in self.entries)
        if NOBODY in mine:
            return [self.entries]
        count = max(1, min(len(mine), max(at_least, math.ceil(len(self.entries) / size))))
        loads = [0] * count
        part_of: dict[int, int] = {}
        for customer, entries in mine.most_common():
            lightest = min(range(count), key=loads.__getitem__)
            loads[lightest] += entries
            part_of[customer] = lightest
        parts: list[list[Entry]] = [[] for _ in range(count)]
        for entry in self.entries:
            parts[part_of[entry.customer]].append(entry)
        return parts


def written(
    calls: Iterable[Call | InvalidInput],
    *,
    consent: bool | None,
    skip_bad: bool,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Script:
    """Put a recording in order; customers' calls of the same instant stay in the order of the file.

    Args:
        calls: The recording, in any order.
        consent: Give every customer an address and consent before the first call; None: if the recording is one of
            rows, which know of none.
        skip_bad: Leave out what cannot be read, and say how much that was.
        on_progress: Told how many calls have been read, every few thousand.

    Raises:
        InvalidInput: The first row that cannot be read.
    """
    script, customers = Script(), Customers()
    for call in calls:
        if isinstance(call, InvalidInput):
            if not skip_bad:
                raise call
            script.skipped += 1
            script.problems += [str(call)] if script.skipped <= _SHOWN else []
            continue
        _note(script, customers, call)
        if script.events % _EVERY == 0:
            on_progress(script.events)
    final = [entry._replace(customer=customers.final(entry.customer)) for entry in script.entries]
    introduced = not script.told_by_clients if consent is None else consent
    script.entries = list(_introduced(sorted(final)) if introduced else sorted(final))
    script.labels = customers.labels()
    return script


def _note(script: Script, customers: Customers, call: Call) -> None:
    script.events += 1
    script.told_by_clients |= call.by_client
    script.first = call.at if script.first is None else min(script.first, call.at)
    script.last = call.at if script.last is None else max(script.last, call.at)
    customer = customers.of(call.identities) if call.identities else NOBODY
    if call.raw is not None:
        raw = json.dumps(call.raw, ensure_ascii=False, separators=(",", ":"))
        script.entries.append(Entry(call.at, _RANKS.get(call.name, 0), call.line, customer, raw))


def _introduced(entries: Sequence[Entry]) -> Iterator[Entry]:
    known = {NOBODY}
    for entry in entries:
        if entry.customer not in known:
            known.add(entry.customer)
            yield entry._replace(raw=json.dumps(_introduction(entry)))
        yield entry


def _introduction(entry: Entry) -> dict[str, Any]:
    raw = json.loads(entry.raw)
    who = {name: raw[name] for name in ("userId", "anonymousId") if raw.get(name) is not None}
    traits = {"email": f"customer-{entry.customer}@recorded.example", "marketing_consent": True}
    return {"type": "identify", **who, "messageId": f"consent-{entry.customer}", "traits": traits}
