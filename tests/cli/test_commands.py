"""The commands that act on a database, on a real one."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from cli.main import app
from domain.plans import PLANS, CartRecoveryPlan
from tests.follow_ups import EXAMPLES, FOLLOW_UPS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the test's database; return its exit code, output and error output."""
    monkeypatch.setenv("DATABASE_URL", database)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app([str(word) for word in words])
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


@pytest.fixture
def park(database: str) -> Callable[[str], UUID]:
    """Put a parked event into a store."""

    def park(store_id: str) -> UUID:
        event_id = uuid4()
        with psycopg.connect(database) as connection:
            connection.execute(
                "insert into events (store_id, id, message_id, type, name, user_id, payload, at, received_at, shard, "
                "state, attempts, error) values (%s, %s, %s, 'track', 'Order Completed', 'u-1', '{}', now(), now(), 0, "
                "'parked', 6, 'KeyError: order_id')",
                [store_id, event_id, str(event_id)],
            )
        return event_id

    return park


def state(database: str, event_id: UUID) -> tuple[str, int]:
    """Return an event's state and attempts."""
    with psycopg.connect(database) as connection:
        row = connection.execute("select state, attempts from events where id = %s", [event_id]).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("journey", EXAMPLES)
def test_a_documented_follow_up_can_be_set_and_is_listed_beside_the_others(run: Run, store: Any, journey: str) -> None:
    """From its file; and what is shown can be set again."""
    file = FOLLOW_UPS / f"{journey.removeprefix('follow-up/')}.json"
    code, _, err = run("plan", "show", journey, "--store", store.store_id)
    assert (code, f"has no {journey}" in err) == (1, True)

    assert run("plan", "set", journey, f"@{file}", "--store", store.store_id)[1].endswith("version 1\n")
    shown = run("plan", "show", journey, "--store", store.store_id)[1]
    assert run("plan", "set", journey, shown, "--store", store.store_id)[1].endswith("version 2\n")
    listed = json.loads(run("plan", "show", "--store", store.store_id)[1])
    assert listed[journey] == {"version": 2, "plan": json.loads(shown)}
    assert list(listed)[: len(PLANS)] == list(PLANS)


def test_a_plan_that_was_shown_can_be_set_again(run: Run, store: Any, tmp_path: Path) -> None:
    """Show, edit, set: what one command prints, the other takes; each setting is a new version."""
    code, shown, version = run("plan", "show", "cart-recovery", "--store", store.store_id)
    file = tmp_path / "plan.json"
    file.write_text(shown)

    assert (code, version) == (0, "version 0\n")
    assert json.loads(shown) == CartRecoveryPlan().model_dump(mode="json")
    assert run("plan", "set", "cart-recovery", f"@{file}", "--store", store.store_id)[1].endswith("version 1\n")
    assert run("plan", "set", "cart-recovery", '{"quiet": "PT2H"}', "--store", store.store_id)[1].endswith(
        "version 2\n"
    )
    plans = json.loads(run("plan", "show", "--store", store.store_id)[1])
    assert plans["cart-recovery"]["version"] == 2
    assert plans["cart-recovery"]["plan"]["quiet"] == "PT2H"
    assert plans["welcome"]["version"] == 0


@pytest.mark.parametrize(
    ("journey", "given", "complaint"),
    [
        ("cart-recovery", '{"quiet": "-PT1H"}', "quiet"),
        ("cart-recovery", '{"quite": "PT1H"}', "quite"),
        ("cart-recovery", "[1]", "must be a JSON object"),
        ("cart-recovery", "{", "must be a JSON object"),
        ("cart-recovery", "", "must be a JSON object"),
        ("cart-recovery", "@/no/such/file", "/no/such/file"),
        ("no-such-journey", "{}", "there is no journey 'no-such-journey'"),
    ],
)
def test_a_plan_that_breaks_a_rule_is_refused_in_one_line(
    run: Run, store: Any, journey: str, given: str, complaint: str
) -> None:
    """The line names the field; nothing is stored, and no stack trace is shown."""
    code, out, err = run("plan", "set", journey, given, "--store", store.store_id)

    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_parked_events_are_listed_and_put_back(
    run: Run, store: Any, database: str, park: Callable[[str], UUID]
) -> None:
    """What was given up is visible with its reason, and can be tried again: one, or all."""
    first, second = park(store.store_id), park(store.store_id)
    listed = run("events", "parked", "--store", store.store_id)[1]

    assert str(first) in listed
    assert "KeyError: order_id" in listed
    assert run("events", "retry", "--id", first, "--store", store.store_id)[1] == "1 event back in the queue\n"
    assert (state(database, first), state(database, second)) == (("pending", 0), ("parked", 6))
    assert run("events", "retry", "--store", store.store_id)[1] == "1 event back in the queue\n"
    assert state(database, second) == ("pending", 0)
    assert run("events", "retry", "--id", first, "--store", store.store_id)[0] == 1


def test_a_store_touches_only_its_own_events(run: Run, store: Any, database: str, park: Callable[[str], UUID]) -> None:
    """G7: neither seen nor retried from another store."""
    theirs = park(store.store_id)
    run("store", "create", "other", "--name", "Other", "--url", "https://other.test",
        "--sender-email", "hello@other.test", "--address", "2 Kiln Lane")  # fmt: skip

    assert str(theirs) not in run("events", "parked", "--store", "other")[1]
    assert run("events", "retry", "--store", "other")[1] == "0 events back in the queue\n"
    assert run("events", "retry", "--id", theirs, "--store", "other")[0] == 1
    assert state(database, theirs) == ("parked", 6)


def test_a_new_store_gets_keys_and_a_revoked_key_is_known_by_its_id(run: Run, database: str) -> None:
    """A secret is printed once, and only its hash is kept."""
    create = ("store", "create", "mugs", "--name", "Mugs", "--url", "https://mugs.test",
              "--sender-email", "hello@mugs.test", "--address", "1 Kiln Lane")  # fmt: skip
    printed = json.loads(run(*create)[1])
    made = json.loads(run("key", "create", "write", "--store", "mugs")[1])
    run("key", "revoke", made["id"], "--store", "mugs")
    with psycopg.connect(database) as connection:
        rows = connection.execute("select kind, hash, revoked_at is not null from keys").fetchall()

    hashes = {hashlib.sha256(key.encode()).hexdigest() for key in (printed["write_key"], printed["admin_key"])}
    revoked = hashlib.sha256(made["key"].encode()).hexdigest()
    assert {value for _, value, gone in rows if not gone} == hashes
    assert [(kind, value) for kind, value, gone in rows if gone] == [("write", revoked)]
    assert run(*create)[0] == 2
    assert run("key", "revoke", uuid4(), "--store", "mugs")[0] == 1


def test_sending_rules_are_shown_as_they_are_set_and_a_new_store_has_the_recommended_ones(run: Run, store: Any) -> None:
    """What `store show` prints, `store set` takes; a rule that is not known changes nothing."""
    run("store", "create", "new", "--name", "New", "--url", "https://new.test",
        "--sender-email", "hello@new.test", "--address", "2 Kiln Lane")  # fmt: skip
    recommended = run("store", "show", "--store", "new")[1]
    assert json.loads(recommended)["quiet_hours"]["email"]["start"] == "21:00:00"
    assert json.loads(run("store", "show", "--store", store.store_id)[1])["quiet_hours"] == {}

    assert run("store", "set", recommended, "--store", store.store_id)[0] == 0
    assert run("store", "show", "--store", store.store_id)[1] == recommended
    code, _, err = run("store", "set", '{"quiet": {}}', "--store", store.store_id)
    assert (code, "quiet" in err) == (2, True)
    assert run("store", "show", "--store", store.store_id)[1] == recommended


def test_codes_are_imported_into_a_pool_and_counted(run: Run, store: Any, tmp_path: Path) -> None:
    """Safe to repeat; a file with a line that is no code adds nothing."""
    file = tmp_path / "codes.csv"
    file.write_text("Code,Value\nSPRING-1,10\nSPRING-2,10\n")
    imported = ("discounts", "import", file, "--pool", "spring", "--store", store.store_id)
    assert run(*imported)[1] == "spring of mugs: 2 codes added, 0 were there already\n"
    assert run(*imported)[1] == "spring of mugs: 0 codes added, 2 were there already\n"
    file.write_text("Code,Value\nSPRING-3,10\n,10\n")
    assert run(*imported)[0] == 2
    assert [word for word in run("discounts", "show", "--store", store.store_id)[1].split() if word.isdigit()] == list(
        "200"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "show"),
        ("store", "show"),
        ("store", "set", "{}"),
        ("discounts", "show"),
        ("plan", "set", "welcome", "{}"),
        ("events", "parked"),
        ("events", "retry"),
        ("key", "create", "write"),
    ],
)
def test_an_unknown_store_is_an_error(run: Run, words: tuple[str, ...]) -> None:
    """A typing mistake must not look like an empty store, nor make a plan for nobody."""
    code, out, err = run(*words, "--store", "mistyped")

    assert (code, out, err) == (1, "", "journeys: there is no store 'mistyped'\n")


def test_without_a_database_the_message_says_where_one_could_come_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Beside a running stack no setting is needed; without one, the command says so."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        app(["events", "parked", "--data-dir", str(tmp_path)])

    assert ended.value.code == 1
    assert "start `journeys dev`, or set DATABASE_URL" in capsys.readouterr().err


def test_a_database_that_does_not_answer_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No stack trace, whatever is wrong."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/nowhere")
    for words in (["events", "parked"], ["migrate"]):
        with pytest.raises(SystemExit) as ended:
            app(words)

        assert ended.value.code == 1
        assert capsys.readouterr().err.startswith("journeys: the database ")


def test_a_database_without_tables_names_the_command_that_makes_them(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first command of a new installation must not be a riddle."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    with pytest.raises(SystemExit) as ended:
        app(["plan", "show"])

    assert ended.value.code == 1
    assert "run `journeys migrate`" in capsys.readouterr().err
