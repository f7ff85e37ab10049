"""Recordings: the calls that a shop's clients made, read from Segment's JSON lines or from CSV rows."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from api.envelope import Arrival, understood
from cli.backtest.layout import Layout
from cli.backtest.times import moment
from domain.decoding import facts
from domain.errors import InvalidInput
from domain.events import Event
from domain.facts import ProductChanged, ProductViewed, ViewTimed
from domain.vocabulary import canonical, is_catalogue

STORE = "backtest"
"""The one store of a backtest's own database."""

_DELIMITERS = ",;\t|"
_GZIP = b"\x1f\x8b"
_EPOCH = datetime.fromtimestamp(0, UTC)
_CLOCKS = ("timestamp", "originalTimestamp", "receivedAt", "sentAt")
_LOOKED = frozenset({"Product Viewed", "Product List Viewed", "Products Searched", "Product Clicked"})


class Call(NamedTuple):
    """One recorded call.

    Attributes:
        line: Where it stands in the file, from 1.
        name: The event in the words of the vocabulary; the type of a call that is no event.
        identities: Whom it names; nobody for the catalogue's own events.
        raw: The call in Segment's form, without its times; None if no journey needs it.
        by_client: Whether it is a call as a client made it, and not made of a row.
    """

    line: int
    at: datetime
    name: str
    identities: tuple[str, ...]
    raw: dict[str, Any] | None
    by_client: bool = False


class Needs(NamedTuple):
    """What matters to a journey; calls that do not matter are counted, and not played.

    Attributes:
        looks: What a customer only looked at.
        catalogue: What the back office says about products.
    """

    looks: bool = True
    catalogue: bool = True


def calls(path: Path, layout: Layout, needs: Needs) -> Iterator[Call | InvalidInput]:
    """Read a recording, row by row; a row that cannot be read is returned as what is wrong with it.

    Args:
        path: The file, plain or gzipped.
        layout: What is said about its columns, if it is CSV.
        needs: What the journey needs of it.

    Raises:
        InvalidInput: The file cannot be read at all.
    """
    with _opened(path) as file:
        first = file.read(1)
        while first.isspace():
            first = file.read(1)
        file.seek(0)
        yield from _segment(file, needs) if first == "{" else _rows(file, layout, needs)


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            plain = gzip.GzipFile(fileobj=raw) if packed else raw
            # What is not UTF-8 becomes half surrogates, which the envelope refuses with the line's number.
            with io.TextIOWrapper(plain, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
                yield text
    except (OSError, EOFError) as problem:
        raise InvalidInput("events", f"{path}: {getattr(problem, 'strerror', None) or problem}") from problem


def _segment(file: IO[str], needs: Needs) -> Iterator[Call | InvalidInput]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError):
            yield _bad(line, "call", "must be one JSON object")
            continue
        try:
            yield _call(line, raw, needs) if isinstance(raw, dict) else _bad(line, "call", "must be a JSON object")
        except InvalidInput as problem:
            yield _bad(line, problem.field, problem.message)


def _call(line: int, raw: dict[str, Any], needs: Needs) -> Call:
    clock = next((name for name in _CLOCKS if raw.get(name) is not None), _CLOCKS[0])
    try:
        at = moment(raw.get(clock))
    except ValueError as problem:
        raise InvalidInput(clock, str(problem)) from None
    content = {name: value for name, value in raw.items() if name not in _CLOCKS}
    if content.get("messageId") is None:
        content["messageId"] = f"line-{line}"
    event = checked(content)
    name = canonical(event.name or "") or event.type
    if is_catalogue(name):
        return Call(line, at, name, (), content if needs.catalogue else None, by_client=True)
    identities = _identities(event)
    needless = not needs.looks and len(identities) == 1 and _only_looked(event)
    return Call(line, at, name, identities, None if needless else content, by_client=True)


def checked(raw: dict[str, Any], at: datetime = _EPOCH) -> Event:
    """Understand a call's envelope as the API does; the call happened, and came in, at `at`.

    Raises:
        InvalidEvent: Names the field and the rule.
    """
    return understood(raw, Arrival(store_id=STORE, received_at=at))


def _identities(event: Event) -> tuple[str, ...]:
    who = event.who
    named = [("u", who.user_id), ("a", who.anonymous_id), ("e", who.email)]
    if event.type == "alias" and (previous := event.payload.get("previousId")) is not None:
        named += [("u", str(previous)), ("a", str(previous))]
    return tuple(f"{kind}:{value}" for kind, value in named if value is not None)


def _only_looked(event: Event) -> bool:
    return all(
        isinstance(fact, ProductViewed | ViewTimed) or (isinstance(fact, ProductChanged) and fact.seen)
        for fact in facts(event)
    )


def _rows(file: IO[str], layout: Layout, needs: Needs) -> Iterator[Call | InvalidInput]:
    header = file.readline()
    if not header.strip():
        return
    delimiter = max(_DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter))
    columns = layout.positions(names)
    rows = csv.reader(file, delimiter=delimiter)
    orders: dict[str, tuple[str, datetime]] = {}
    while True:
        line = rows.line_num + 2
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as problem:
            yield _bad(line, "row", str(problem))
            continue
        if any(cell.strip() for cell in row):
            yield _row(line, {c: row[p].strip() for c, p in columns.items() if p < len(row)}, layout, needs, orders)


def _row(
    line: int, row: dict[str, str], layout: Layout, needs: Needs, orders: dict[str, tuple[str, datetime]]
) -> Call | InvalidInput:
    field = "ts"
    try:
        at = moment(row.get("ts", ""))
        field = "kind"
        name = layout.event(row.get("kind", ""))
    except ValueError as problem:
        return _bad(line, field, str(problem))
    user = row.get("user", "")
    of_nobody = name is not None and is_catalogue(name)
    if not user and not of_nobody:
        return _bad(line, "user", "is missing")
    identities = () if of_nobody else (f"u:{user}",)
    if name is None or (name in _LOOKED and not needs.looks) or (of_nobody and not needs.catalogue):
        return Call(line, at, name or "", identities, None)
    properties = _properties(line, row, name)
    if name == "Order Completed":
        properties["order_id"] = _order_id(line, row, (user, at), orders)
    raw: dict[str, Any] = {"type": "track", "event": name, "messageId": f"line-{line}", "properties": properties}
    if user:
        raw["userId"] = user
    try:
        checked(raw)
    except InvalidInput as problem:
        return _bad(line, "user" if problem.field == "userId" else problem.field, problem.message)
    return Call(line, at, name, identities, raw)


def _properties(line: int, row: dict[str, str], name: str) -> dict[str, Any]:
    told = {column: row[column] for column in ("item", "value", "order_id") if row.get(column)}
    if name.startswith("Order "):
        order = {"order_id": told.get("order_id"), "total": told.get("value")}
        products = [{"product_id": told["item"]}] if "item" in told else []
        return {key: value for key, value in (order | {"products": products}).items() if value}
    # A cart that holds something unnamed is still a cart.
    product = {"product_id": told.get("item") or f"row-{line}", "price": told.get("value")}
    return {key: value for key, value in product.items() if value}


def _order_id(
    line: int, row: dict[str, str], purchase: tuple[str, datetime], known: dict[str, tuple[str, datetime]]
) -> str:
    """Name an order: rows of one purchase share its id, but a shop that counts each customer's orders repeats ids."""
    order_id = row.get("order_id") or f"row-{line}"
    if known.setdefault(order_id, purchase) == purchase:
        return order_id
    return f"{order_id} (row {line})"


def _bad(line: int, field: str, rule: str) -> InvalidInput:
    return InvalidInput(f"line {line}, {field}", rule, index=line)
