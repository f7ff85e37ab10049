"""`journeys import`: a file of customers leaves what the same `identify` events would, whatever is known before."""

import asyncio
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import plans, tombstones
from adapters.postgres.import_lines import Evidence
from adapters.postgres.imports import CustomerImport, Progress
from adapters.postgres.tables import consents, customers, events, imports, stores
from adapters.postgres.tables import identities as identity_rows
from adapters.postgres.tables import suppressions as silenced
from adapters.postgres.tenancy import as_store
from api.envelope import Arrival
from cli.importing.preparing import BadRow, block_of, events_of, understood_rows
from cli.importing.reading import LONGEST_LINE, CustomerFile
from cli.main import app
from domain.errors import InvalidInput
from domain.events import Event, Who
from domain.plans import validated
from testing.inspection import as_owner
from tests.adapters.postgres.conftest import START, Telling
from tests.conftest import Shop

NOW = START + timedelta(hours=1)
DAY = timedelta(days=1)
HEADER = "id,email,First Name,city,timestamp,marketing_consent,newsletter,consent_at,consent_source,consent_ip"
ROWS = '''\
u-1,Ada@Example.com,Ada,London,2026-01-10T00:00:00Z,yes,,2025-12-24T18:00:00Z,checkout,192.0.2.7
u-2,grace@example.com,Grace,,,true,false,,,
u-3,,"Lin, née ""Q""",München,2026-01-11,,,,,
,only@example.com,,,,no,,2025-11-11T11:11:11Z,form,
u-5,eve@example.com,"two
lines",back\\slash	and tab,,,,,,
'''


def written(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


class Importer:
    """Imports files into one store as the command does, without its processes."""

    def __init__(self, telling: Telling) -> None:
        self.telling = telling
        self.at_the_door: list[Event] = []
        self.bad: list[BadRow] = []

    async def __call__(self, path: Path, at_once: int = 100, stop_after: int | None = None) -> Progress:
        source, engine, store_id = CustomerFile(path), self.telling.engine, self.telling.store_id
        importing = CustomerImport(engine, store_id, source.fingerprint())
        progress = await importing.begin(START, NOW)
        arrival = Arrival(store_id=store_id, received_at=progress.as_of)
        rows = [row for row, _ in source.rows(progress.line)]
        by_line = {row.line: row for row in rows}

        async def door(lines: Sequence[int]) -> None:
            told, _ = understood_rows([by_line[line] for line in lines], source.header, arrival)
            self.at_the_door += [event for row in told for event in events_of(row, arrival)]

        shares = [rows[at : at + at_once] for at in range(0, len(rows), at_once)]
        for share in shares[:stop_after]:
            block, bad = block_of(share, source.header, arrival)
            self.bad += bad
            progress = await importing.take(block, progress, door, NOW)
        if stop_after is None:
            await importing.finish(progress, NOW, by="test")
        return progress


@pytest.fixture
def importer(mugs: Telling) -> Importer:
    return Importer(mugs)


@pytest.fixture
async def pots(engine: AsyncEngine, mugs: Telling) -> Telling:
    """Another store, which is told the same by events."""
    async with as_owner(engine) as connection:
        row = (await connection.execute(select(stores).where(stores.c.store_id == mugs.store_id))).one()
        await connection.execute(insert(stores).values({**row._asdict(), "store_id": "pots", "name": "Pots"}))
    return Telling(engine, "pots")


async def state(store: Telling) -> dict[str, list[str]]:
    """What a store knows of its customers, without the ids that we make ourselves."""
    ours = {"store_id", "customer_id", "consent_id", "recorded_at", "created_at"}
    found = {}
    for table in (customers, identity_rows, consents, silenced):
        rows = await store.rows(table)
        found[table.name] = sorted(str({k: v for k, v in row._asdict().items() if k not in ours}) for row in rows)
    owners = {row.value: row.customer_id for row in await store.rows(identity_rows)}
    found["together"] = sorted(
        str(sorted(value for value, owner in owners.items() if owner == one)) for one in set(owners.values())
    )
    return found


async def told(store: Telling, path: Path) -> None:
    """Tell a store by events what a file says."""
    source, arrival = CustomerFile(path), Arrival(store_id=store.store_id, received_at=START)
    rows, _ = understood_rows([row for row, _ in source.rows()], source.header, arrival)
    await store.apply([event for row in rows for event in events_of(row, arrival)], NOW)


async def test_an_import_leaves_what_the_same_events_would(
    importer: Importer, mugs: Telling, pots: Telling, tmp_path: Path
) -> None:
    """Profiles with their stamps, identities, and consent with its evidence; and none of it went through the door."""
    path = written(tmp_path / "customers.csv", ROWS.strip())
    progress = await importer(path)
    await told(pots, path)

    assert importer.bad == []
    assert importer.at_the_door == []
    assert (progress.new, progress.known, progress.told) == (5, 0, 0)
    assert await state(mugs) == await state(pots)
    (word,) = [row for row in await mugs.rows(consents) if row.source == "checkout"]
    assert (word.granted, word.at.isoformat(), word.ip) == (True, "2025-12-24T18:00:00+00:00", "192.0.2.0")


async def test_in_a_store_with_double_opt_in_what_is_imported_awaits_its_confirmation(
    importer: Importer, mugs: Telling, pots: Telling, tmp_path: Path
) -> None:
    """With evidence or without, by either way; a refusal counts at once."""
    rows = [f"{row},footer-3" for row in ROWS.strip().splitlines()[:2]]
    path = written(tmp_path / "customers.csv", *rows, header=f"{HEADER},consent_wording")
    asks = validated("double-opt-in", {"enabled": True})
    for store in (mugs, pots):
        await plans.put(store.engine, store.store_id, "double-opt-in", asks, START)
    await importer(path)
    await told(pots, path)

    assert await state(mugs) == await state(pots)
    words = {(row.granted, row.confirmation, row.wording) for row in await mugs.rows(consents)}
    assert words == {(True, "awaited", "footer-3"), (False, None, "footer-3")}


async def test_json_lines_say_the_same_flat_or_as_segment_calls(
    importer: Importer, mugs: Telling, pots: Telling, tmp_path: Path
) -> None:
    """What a shop exports, and what it has from Segment."""
    flat = {"user_id": "u-1", "email": "ada@example.com", "first_name": "Ada", "vip": True, "sms_opt_in": False}
    call = {
        "userId": "u-1",
        "traits": {"email": "ada@example.com", "firstName": "Ada", "vip": True, "sms_opt_in": False},
    }
    lines = tmp_path / "flat.jsonl", tmp_path / "calls.jsonl.gz"
    lines[0].write_text(json.dumps(flat), encoding="utf-8")
    lines[1].write_bytes(gzip.compress(json.dumps(call).encode()))
    await importer(lines[0])
    await Importer(pots)(lines[1])

    assert await state(mugs) == await state(pots)
    assert "'vip': True" in (await state(mugs))["customers"][0]


async def test_evidence_is_of_consent_to_mail_and_of_nothing_else(
    importer: Importer, mugs: Telling, pots: Telling, tmp_path: Path
) -> None:
    """A word on texts in the same row keeps its own source and time, by either way."""
    path = written(
        tmp_path / "customers.csv",
        "u-1,yes,yes,2026-01-10T00:00:00Z,2025-12-24T18:00:00Z,checkout,192.0.2.7",
        header="id,marketing_consent,sms_opt_in,timestamp,consent_at,consent_source,consent_ip",
    )
    await importer(path)
    await told(pots, path)

    assert await state(mugs) == await state(pots)
    words = {(row.channel, row.source, row.at.day, row.ip) for row in await mugs.rows(consents)}
    assert words == {("email", "checkout", 24, "192.0.2.0"), ("sms", "identify", 10, None)}


async def test_the_same_file_again_changes_nothing(importer: Importer, mugs: Telling, tmp_path: Path) -> None:
    """Not even an event."""
    path = written(tmp_path / "customers.csv", ROWS.strip())
    await importer(path)
    before = await state(mugs)
    progress = await importer(path)

    assert (progress.new, progress.known, progress.told) == (0, 5, 0)
    assert importer.at_the_door == []
    assert await state(mugs) == before


async def test_whoever_is_known_or_stands_there_twice_goes_through_the_door(
    importer: Importer, mugs: Telling, pots: Telling, tmp_path: Path
) -> None:
    """Where rows have to be weighed against what is known, the router does it."""
    path = written(
        tmp_path / "customers.csv",
        "u-1,ada@example.com,Augusta,,,,,,,",  # known under another name
        "u-2,grace@example.com,Grace,,,yes,,,,",
        "u-3,grace@example.com,Grace,,,no,,2026-01-01T00:00:00Z,form,",  # shares an address with the one before
        "u-4,silent@example.com,Sil,,,yes,,2025-01-01T00:00:00Z,form,",  # had unsubscribed since
        "u-5,new@example.com,New,,,yes,,,,",
    )
    for store in (mugs, pots):
        known = store.event(None, START - DAY, Who(user_id="u-1", email="ada@example.com"), "identify", firstName="Ada")
        gone = store.event(
            "Newsletter Unsubscribed", START - DAY, Who(email="silent@example.com"), email="silent@example.com"
        )
        await store.apply([known, gone], START)
    progress = await importer(path)
    await mugs.apply(importer.at_the_door, NOW)
    await told(pots, path)

    assert (progress.new, progress.told) == (2, 3)
    assert await state(mugs) == await state(pots)
    assert [row.address for row in await mugs.rows(silenced)] == ["silent@example.com"]


async def test_the_erased_stay_erased(importer: Importer, mugs: Telling, tmp_path: Path) -> None:
    """The file may be older than the erasure."""
    async with as_store(mugs.engine, mugs.store_id) as connection:
        await tombstones.lay(connection, mugs.store_id, [("email", "ada@example.com")], NOW)
    await importer(
        written(tmp_path / "customers.csv", "u-1,ada@example.com,Ada,,,,,,,", "u-2,grace@example.com,,,,,,,,")
    )
    await mugs.apply(importer.at_the_door, NOW)

    assert [row.email for row in await mugs.rows(customers)] == ["grace@example.com"]
    assert len(importer.at_the_door) == 1


@pytest.mark.parametrize(("whole", "kept"), [(False, "192.0.2.0"), (True, "192.0.2.7")])
def test_an_address_comes_whole_only_as_evidence_and_only_for_a_store_that_keeps_it(
    tmp_path: Path, whole: bool, kept: str
) -> None:
    """COPY does not pass the door, so its rule holds here as well: no other cell of a row brings one in."""
    call = {
        "user_id": "u-1", "marketing_consent": True, "consent_at": "2026-01-01", "consent_ip": "192.0.2.7",
        "signup_ip": "192.0.2.7",
    }  # fmt: skip
    path = tmp_path / "customers.jsonl"
    path.write_text(json.dumps(call))
    source, arrival = CustomerFile(path), Arrival(store_id="mugs", received_at=START)
    block, bad = block_of([row for row, _ in source.rows()], source.header, arrival, whole_addresses=whole)

    assert bad == []
    assert b"192.0.2.7" not in block.rows
    assert b'"signup_ip":"192.0.2.0"' in block.rows
    assert f"\t{kept}\t".encode() in block.words


async def test_an_interrupted_import_goes_on_behind_what_is_in(
    importer: Importer, mugs: Telling, tmp_path: Path
) -> None:
    """The word of how far it is has the same commit as the rows, and rows keep the time that the import began at."""
    path = written(tmp_path / "customers.csv", *(f"u-{n},c{n}@example.com,,,,,,,," for n in range(7)))
    first = await importer(path, at_once=2, stop_after=2)
    second = await importer(path, at_once=2)

    assert (first.new, first.line) == (4, 5)
    assert (second.new, second.known, second.rows) == (7, 0, 7)
    (row,) = await mugs.rows(imports)
    assert (row.line, row.finished_at) == (8, NOW)


async def test_a_row_that_is_lost_in_a_crash_comes_again(importer: Importer, mugs: Telling, tmp_path: Path) -> None:
    """If the door fails, nothing of the share is in, and nothing of it is counted."""
    path = written(tmp_path / "customers.csv", "u-1,ada@example.com,,,,,,,,", "u-1,ada@example.com,Ada,,,,,,,")
    source = CustomerFile(path)
    importing = CustomerImport(mugs.engine, mugs.store_id, source.fingerprint())
    progress = await importing.begin(START, NOW)
    arrival = Arrival(store_id=mugs.store_id, received_at=START)
    block, _ = block_of([row for row, _ in source.rows()], source.header, arrival)

    async def fails(_: Sequence[int]) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await importing.take(block, progress, fails, NOW)
    assert await mugs.rows(customers) == []
    assert (await importer(path)).new == 1


async def test_a_router_cannot_make_the_same_customer_meanwhile(
    importer: Importer, mugs: Telling, tmp_path: Path
) -> None:
    """It waits for the share, and then finds the customer there."""
    await mugs.apply([mugs.event(None, START, Who(user_id="u-0"), "identify", firstName="Ann")])
    path = written(tmp_path / "customers.csv", "u-0,,Ada,,,,,,,", "u-1,ada@example.com,Ada,,,,,,,")
    source = CustomerFile(path)
    importing = CustomerImport(mugs.engine, mugs.store_id, source.fingerprint())
    arrival = Arrival(store_id=mugs.store_id, received_at=START)
    block, _ = block_of([row for row, _ in source.rows()], source.header, arrival)
    routing: list[asyncio.Task[None]] = []

    async def meanwhile(_: Sequence[int]) -> None:
        event = mugs.event("Product Viewed", START, Who(user_id="u-1", anonymous_id="b-1"), product_id="mug")
        routing.append(asyncio.create_task(mugs.apply([event])))
        done, _pending = await asyncio.wait(routing, timeout=0.3)
        assert not done

    await importing.take(block, await importing.begin(START, NOW), meanwhile, NOW)
    await routing[0]

    assert (
        await mugs.customer("u-1")
        == await mugs.customer("ada@example.com", "email")
        == await mugs.customer("b-1", "anonymous")
    )


@pytest.mark.parametrize(
    ("row", "field", "rule"),
    [
        ("u-1,not an address,,,,,,,,", "email", "must be an e-mail address"),
        (",,Ada,,,,,,,", "userId", "is missing: an event needs userId or anonymousId"),
        ("u-1,ada@example.com", "row", "has 2 cells, and the header 10"),
        ("u-1,,,,yesterday,,,,,", "timestamp", "must be a time in ISO 8601, such as 2026-01-31T12:00:00.000Z"),
        ("u-1,,,,,perhaps,,,,", "marketing_consent", "must be yes or no"),
        ("u-1,,,,,yes,,,form,", "consent_at", "is missing: evidence of consent needs its time"),
        ("u-1,,,,,yes,,2026-01-01,form,home", "consent_ip", "must be an IP address"),
        ("u-1,,,,,yes,,2026-01-01,identify,", "consent_source", "must not be 'identify': that has no evidence"),
        ("u-1,,,,,,,2026-01-01,form,", "consent_at", "is evidence of nothing: the row tells no consent"),
        (f"{'u' * 600},,,,,,,,,", "userId", "must not be longer than 512 characters"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_line_field_and_rule(row: str, field: str, rule: str, tmp_path: Path) -> None:
    """And costs only itself."""
    source = CustomerFile(written(tmp_path / "customers.csv", "u-0,ann@example.com,,,,,,,,", row))
    rows = [row for row, _ in source.rows()]
    good, bad = understood_rows(rows, source.header, Arrival(store_id="mugs", received_at=START))

    assert [row.line for row in good] == [2]
    assert bad == [BadRow(3, field, rule)]


@pytest.mark.parametrize("names", ["consent_at,consent_source", "Consent At,Consent Source", "consentAt,consentSource"])
def test_evidence_counts_in_any_spelling(names: str, tmp_path: Path) -> None:
    """Like every other name: else a consent would be kept without the proof that came with it."""
    row = "u-1,yes,2025-12-24T18:00:00Z,checkout"
    source = CustomerFile(written(tmp_path / "customers.csv", row, header=f"id,marketing_consent,{names}"))
    rows = [row for row, _ in source.rows()]
    (good,), bad = understood_rows(rows, source.header, Arrival(store_id="mugs", received_at=START))

    assert bad == []
    assert len(good.words) == 1
    assert good.evidence == Evidence(datetime(2025, 12, 24, 18, tzinfo=UTC), "checkout", ip=None)


def test_bad_rows_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Whichever step of reading found them."""
    rows = ["u-1,,,,perhaps", "u-2,no address", "u-3", "u-4,,,yesterday,yes", "u-5"]
    source = CustomerFile(
        written(tmp_path / "customers.csv", *rows, header="id,email,city,timestamp,marketing_consent")
    )
    read = [row for row, _ in source.rows()]
    good, bad = understood_rows(read, source.header, Arrival(store_id="mugs", received_at=START))

    assert good == []
    assert [(row.line, row.field) for row in bad] == [
        (2, "marketing_consent"), (3, "row"), (4, "row"), (5, "timestamp"), (6, "row"),
    ]  # fmt: skip


def test_a_line_without_an_end_is_one_bad_row(tmp_path: Path) -> None:
    """A dump written as one array, say, is not read into memory, and costs only its own line."""
    path = tmp_path / "customers.jsonl"
    longest = json.dumps({"id": 1, "city": ""})[:-2] + "x" * (LONGEST_LINE - 21) + '"}'
    endless = '{"id": 2, "city": "' + "x" * 10 * LONGEST_LINE
    path.write_text(f'{longest}\n{endless}\r{longest}y\r\n{{"id": 3}}', encoding="utf-8")
    source = CustomerFile(path)
    rows = [row for row, _ in source.rows()]
    good, bad = understood_rows(rows, None, Arrival(store_id="mugs", received_at=START))

    assert len(longest) == LONGEST_LINE
    assert max(len(row.content) for row in rows) == LONGEST_LINE + 1
    assert [(row.line, row.event.who.user_id) for row in good] == [(1, "1"), (4, "3")]
    rule = "must not be longer than 32,768 characters"
    assert bad == [BadRow(2, "row", rule), BadRow(3, "row", rule)]


def test_json_that_is_none_is_a_bad_row(tmp_path: Path) -> None:
    """A line is a row, and empty lines are none."""
    path = tmp_path / "customers.jsonl"
    lines = ['{"id": 1}', "", '{"id": ', "[1]", '{"id": 2, "email": 7}', '{"id": 3, "city": "\\ud800"}', "[" * 9_999]
    path.write_text("\n".join(lines), encoding="utf-8")
    source = CustomerFile(path)
    good, bad = understood_rows([r for r, _ in source.rows()], None, Arrival(store_id="mugs", received_at=START))

    assert [(row.line, row.event.who.user_id) for row in good] == [(1, "1")]
    assert [(row.line, row.field) for row in bad] == [
        (3, "row"), (4, "row"), (5, "email"), (6, "traits.city"), (7, "row"),
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00a", gzip.compress(b"id\n1\n", mtime=0)[:-4]])
def test_a_file_that_cannot_be_read_is_refused(content: bytes, tmp_path: Path) -> None:
    """With its name, and before or while anything is taken in."""
    path = tmp_path / "customers.csv"
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match=r"customers\.csv"):
        list(CustomerFile(path).rows())


async def test_the_command_imports_and_reports(
    store: Shop, database: str, engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Good rows are in, bad ones in a file of their own, and the exit code says that there were some."""
    monkeypatch.setenv("DATABASE_URL", database)
    path = written(tmp_path / "customers.csv", ROWS.strip(), "u-9,nobody,,,,,,,,", "u-1,ada@example.com,Augusta,,,,,,,")
    words = ["import", str(path), "--store", store.store_id, "--bad", str(tmp_path / "bad.csv"), "--jobs", "1"]
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(app, words)
    out, err = capsys.readouterr()

    assert ended.value.code == 1
    assert out == "7 rows: 5 new customers, 0 known already, 1 told as events, 1 bad\n"
    assert "line 8: email: must be an e-mail address" in err
    assert (tmp_path / "bad.csv").read_text(encoding="utf-8").splitlines()[1] == "8,email,must be an e-mail address"
    async with as_owner(engine) as connection:
        stored = (await connection.execute(select(events.c.type, events.c.user_id))).all()
    assert [tuple(row) for row in stored] == [("identify", "u-1")]
