"""Reading recordings: every usual layout is understood, and what cannot be read is named by line, field and rule."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.backtest.layout import Layout
from cli.backtest.recording import Needs, calls
from cli.backtest.script import NOBODY, Script, played, written
from cli.backtest.terms import needs
from cli.backtest.times import moment
from domain.errors import InvalidInput

HEADER = "ts,user,kind,item,value,order_id\n"
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def script(tmp_path: Path) -> "Read":
    """Write a recording and read it."""
    return Read(tmp_path / "recording")


class Read:
    """Reads what a test wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(
        self,
        text: str | bytes,
        *mappings: str,
        consent: bool | None = False,
        skip_bad: bool = False,
        needs: Needs = Needs(),  # noqa: B008  (a value)
    ) -> Script:
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return written(calls(self.path, Layout.told(mappings), needs), consent=consent, skip_bad=skip_bad)


def names(script: Script) -> list[str | None]:
    """What the calls are, in order."""
    return [json.loads(entry.raw).get("event") for entry in script.entries]


@pytest.mark.parametrize(
    "told",
    [
        "2024-03-01T12:00:00Z", "2024-03-01T12:00:00.000Z", "2024-03-01 12:00:00", "2024-03-01 12:00:00 UTC",
        "2024-03-01T13:00:00+01:00", "20240301T120000", "1709294400", "1709294400000", 1709294400, 1709294400000,
        1709294400.0, "1709294400.000", "1709294400000000",
    ],
)  # fmt: skip
def test_a_time_is_understood_in_every_usual_form(told: object) -> None:
    """ISO 8601 with and without zone, and seconds, milliseconds or microseconds since 1970."""
    assert moment(told) == NOON


@pytest.mark.parametrize(
    "told", ["", "yesterday", "12/1/2010 8:26", None, True, "2024-13-01", "0001-01-01", "2999-01-01", "NaN"]
)
def test_what_is_no_time_is_refused_with_an_example(told: object) -> None:
    """Guessing a time would be worse than refusing it."""
    with pytest.raises(ValueError, match=r"must be a time, such as|must lie between"):
        moment(told)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)))  # noqa: DTZ001
def test_milliseconds_keep_their_moment(told: datetime) -> None:
    """A tie at exactly the quiet time is one only if no millisecond is lost."""
    at = told.replace(tzinfo=UTC, microsecond=told.microsecond // 1000 * 1000)
    epoch = datetime.fromtimestamp(0, UTC)

    assert moment(str((at - epoch) // timedelta(milliseconds=1))) == at or at < epoch + timedelta(days=1200)
    assert moment(at.isoformat()) == at


def test_the_builtin_columns_and_kinds_are_understood(script: Read) -> None:
    """The layout that the issue names, and the columns of two well-known data sets."""
    plain = script(
        HEADER + "2024-03-01,u,view,i,,\n2024-03-01,u,cart,i,,\n2024-03-02,u,buy,i,9.5,o\n2024-03-03,u,cancel,,,c\n"
    )
    rees = script(
        "event_time,event_type,product_id,brand,price,user_id\n2019-10-01 00:00:00 UTC,remove_from_cart,7,x,1.5,3\n"
    )
    rocket = script(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,2,addtocart,5,\n1433221332118,2,transaction,5,4\n"
    )

    assert names(plain) == ["Product Viewed", "Product Added", "Order Completed", "Order Cancelled"]
    assert names(rees) == ["Product Removed"]
    assert names(rocket) == ["Product Added", "Order Completed"]
    assert json.loads(plain.entries[2].raw)["properties"] == {
        "order_id": "o", "total": "9.5", "products": [{"product_id": "i"}],
    }  # fmt: skip


def test_a_mapping_names_columns_and_kinds_and_leaves_rows_out(script: Read) -> None:
    """`--map` says what the table does not."""
    text = "when;who;what\n2024-03-01;a;joined\n2024-03-01;a;ad\n2024-03-02;a;anything\n"
    found = script(
        text, "ts=when", "user=who", "kind=what", "kind:joined=Signed Up", "kind:ad=", 'kind:*="Product Added"'
    )

    assert names(found) == ["Signed Up", "Product Added"]
    assert found.events == 3


def test_a_recording_may_be_packed_out_of_order_and_begin_with_a_mark(script: Read) -> None:
    """Sorted by time, stable; a byte order mark is no part of the first column."""
    text = "\ufeff" + HEADER + "2024-03-02,u,cart,late,,\n2024-03-01,u,cart,early,,\n"
    found = script(gzip.compress(text.encode()))

    assert [json.loads(entry.raw)["properties"]["product_id"] for entry in found.entries] == ["early", "late"]
    assert (found.first, found.last) == (moment("2024-03-01"), moment("2024-03-02"))


def test_at_the_same_instant_the_cart_comes_before_the_order(script: Read) -> None:
    """Whatever the order of the file (docs/backtesting.md, definitions)."""
    found = script(HEADER + "2024-03-01,u,cancel,,,o\n2024-03-01,u,buy,,,o\n2024-03-01,u,cart,i,,\n")

    assert names(found) == ["Product Added", "Order Completed", "Order Cancelled"]


def test_every_row_of_a_purchase_shares_its_order_and_every_other_purchase_has_its_own(script: Read) -> None:
    """Lines of one invoice are one order; orders without an id, or counted from 1 for each customer, are not."""
    text = HEADER + (
        "2024-03-01,a,buy,i,,1\n2024-03-01,a,buy,j,,1\n"  # two lines
        "2024-03-01,b,buy,i,,1\n2024-03-05,a,buy,i,,1\n"  # the same number, another purchase
        "2024-03-01,c,buy,i,,\n2024-03-01,d,buy,i,,\n"
    )
    orders = [json.loads(entry.raw)["properties"]["order_id"] for entry in script(text).entries]

    assert len(orders) == 6
    assert len(set(orders)) == 5


@pytest.mark.parametrize(
    ("row", "line", "field", "rule"),
    [
        ("soon,u,cart,,,", 3, "ts", "must be a time"),
        ("2024-03-01,,cart,,,", 3, "user", "is missing"),
        ("2024-03-01,u,dance,,,", 3, "kind", "is not understood"),
        ("2024-03-01,u\0x,cart,,,", 3, "user", "must not contain the NUL character"),
        (f"2024-03-01,{'u' * 600},cart,,,", 3, "user", "must not be longer than 512 characters"),
        ("2024-03-01", 3, "kind", "is not understood"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(script: Read, row: str, line: int, field: str, rule: str) -> None:
    """Line, field and rule: enough to mend the file; `--skip-bad` counts it instead."""
    text = f"{HEADER}2024-03-01,u,cart,,,\n{row}\n2024-03-02,u,cart,,,\n"
    with pytest.raises(InvalidInput) as refused:
        script(text)
    lenient = script(text, skip_bad=True)

    assert (refused.value.index, refused.value.field) == (line, f"line {line}, {field}")
    assert rule in refused.value.message
    assert (lenient.events, lenient.skipped) == (2, 1)
    assert lenient.problems == [str(refused.value)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a,b\n1,2\n", "header: has no column 'ts'"),
        ("ts,user\n1,2\n", "header: has no column 'kind'"),
        ('{"type": "track", "event": "x"\n', "line 1, call: must be one JSON object"),
        ('{"type": "dance", "timestamp": "2024-03-01"}\n', "line 1, type: must be one of"),
        ('{"type": "track", "event": "x", "userId": "u"}\n', "line 1, timestamp: must be a time"),
        ('{"type": "track", "event": "Order Completed", "timestamp": "2024-03-01"}\n', "line 1, userId: is missing"),
        (b"ts,user,kind\n2024-03-01,\xff\xfe,cart\n", "line 2, user: must not contain half of a surrogate pair"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_before_anything_runs(
    script: Read, text: str | bytes, named: str
) -> None:
    """The same rules as at the API, with the line's number."""
    with pytest.raises(InvalidInput) as refused:
        script(text)

    assert named in str(refused.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    """Not a stack trace."""
    with pytest.raises(InvalidInput, match=r"events: .*nowhere\.csv: No such file"):
        list(calls(tmp_path / "nowhere.csv", Layout.told(()), Needs()))


@pytest.mark.parametrize("text", ["", HEADER, "\n\n"])
def test_an_empty_recording_is_one_without_events(script: Read, text: str) -> None:
    """Nothing happened, which is no fault."""
    found = script(text)

    assert (found.events, found.customers, found.last, found.parts(10, 2)) == (0, 0, None, [[]])


def test_calls_of_clients_keep_their_order_by_person(script: Read) -> None:
    """A browser that turns out to be a customer's is that customer's from its first call on."""
    lines = [
        {"type": "track", "event": "Product Added", "anonymousId": "b", "timestamp": "2024-03-01T10:00:00Z"},
        {"type": "identify", "anonymousId": "b", "userId": "u", "traits": {"email": "U@shop.example"},
         "timestamp": 1709290800},
        {"type": "track", "event": "Order Completed", "userId": "u", "receivedAt": "2024-03-01T12:00:00Z"},
        {"type": "alias", "previousId": "old", "userId": "v", "timestamp": "2024-03-01T12:30:00Z"},
        {"type": "track", "event": "Product Added", "anonymousId": "old", "timestamp": "2024-03-01T09:00:00Z"},
        {"type": "track", "event": "Product Restocked", "properties": {"id": "p"}, "timestamp": "2024-03-01T13:00:00Z"},
    ]  # fmt: skip
    found = script("\n".join(json.dumps(line) for line in lines), consent=None)
    people = [entry.customer for entry in found.entries]

    assert [entry.line for entry in found.entries] == [5, 1, 2, 3, 4, 6]
    assert people[1] == people[2] == people[3] != people[0] == people[4]
    assert people[5] == NOBODY
    assert sorted(found.labels.values()) == ["u", "v"]
    assert len(found.parts(1, 2)) == 1  # the catalogue concerns everybody


def test_rows_know_of_no_consent_so_everybody_is_introduced_first(script: Read) -> None:
    """An address and consent before the first call; calls of clients may tell of consent themselves."""
    rows = script(HEADER + "2024-03-01,a,cart,,,\n2024-03-02,b,cart,,,\n2024-03-03,a,buy,,,\n", consent=None)
    kinds = [json.loads(entry.raw)["type"] for entry in rows.entries]
    traits = [json.loads(entry.raw)["traits"] for entry in rows.entries if '"identify"' in entry.raw]

    assert kinds == ["identify", "track", "identify", "track", "track"]
    assert len({trait["email"] for trait in traits}) == 2
    assert all(trait["marketing_consent"] for trait in traits)


def test_what_was_only_looked_at_is_counted_and_not_played_unless_it_matters(script: Read) -> None:
    """A hundred thousand views cost a cart journey their reading; a view that names two identities says more."""
    look = {"type": "track", "event": "Product Viewed", "timestamp": "2024-03-01", "properties": {"product_id": "p"}}
    both = "\n".join(json.dumps(line) for line in [look | {"userId": "u"}, look | {"userId": "u", "anonymousId": "b"}])
    rows = HEADER + "2024-03-01,u,view,i,,\n"

    assert (script(rows, needs=Needs(looks=False)).events, script(rows, needs=Needs(looks=False)).entries) == (1, [])
    assert len(script(rows).entries) == 1
    assert [entry.line for entry in script(both, needs=Needs(looks=False)).entries] == [2]


def test_what_the_catalogue_says_is_played_for_journeys_that_need_it(script: Read) -> None:
    """It concerns everybody and makes one part of the recording, so it is left out where it cannot matter."""
    line = {"type": "track", "event": "Product Updated", "timestamp": "2024-03-01", "properties": {"product_id": "p"}}
    rows = HEADER + "2024-03-01,,Product Restocked,p,,\n"

    assert [len(script(text).entries) for text in (json.dumps(line), rows)] == [1, 1]
    assert [len(script(text, needs=needs("win-back")).entries) for text in (json.dumps(line), rows)] == [0, 0]
    assert [needs(name).catalogue for name in ("back-in-stock", "price-drop", "follow-up/x", "new")] == [
        True, True, False, True,
    ]  # fmt: skip


def test_parts_share_no_customer_and_lose_no_call(script: Read) -> None:
    """Each part is played by itself, so a customer must be in one of them alone."""
    text = HEADER + "".join(f"2024-03-{1 + n % 28:02},u{n % 7},cart,,,\n" for n in range(100))
    found = script(text)
    parts = found.parts(20, at_least=2)
    owners = [{entry.customer for entry in part} for part in parts]

    assert len(parts) == 5
    assert sum(len(part) for part in parts) == 100
    assert sum(len(owner) for owner in owners) == len(set().union(*owners)) == 7
    assert all(part == sorted(part) for part in parts)


def test_a_call_survives_being_written_down(script: Read) -> None:
    """To the microsecond, and in any alphabet."""
    (entry,) = script(HEADER + "2024-03-01T12:00:00.123456Z,Zoë “Ω” 漢,cart,🧦,,\n").entries
    at, customer, raw = played(entry.line_of_json())

    assert (at, customer) == (entry.at, entry.customer)
    assert (raw["userId"], raw["properties"]["product_id"]) == ("Zoë “Ω” 漢", "🧦")
