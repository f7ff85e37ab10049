"""`journeys plan set` for runs under way, and `journeys journey`, on a real database."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from cli.main import app
from domain.errors import InvalidInput, InvalidPlan

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


def begin(database: str, store_id: str, journey: str, count: int, ago: timedelta) -> None:
    """Put runs under way into a store, that have sent nothing yet."""
    begun = datetime.now(UTC) - ago
    with psycopg.connect(database) as connection:
        for _ in range(count):
            connection.execute(
                "insert into runs (store_id, run_id, workflow_id, journey, customer_id, plan_version, since, begun_at, "
                "expires_at) values (%s, %s, %s, %s, %s, 0, %s, %s, %s)",
                [store_id, uuid4(), uuid4().hex, journey, uuid4(), begun, begun, begun + timedelta(days=400)],
            )


def test_a_dry_run_counts_the_runs_and_their_next_messages_and_changes_nothing(
    run: Run, store: Any, database: str
) -> None:
    """Before and after, by day; the plan keeps its version."""
    begin(database, store.store_id, "win-back", 3, timedelta(days=10))
    change = ("plan", "set", "win-back", '{"silence": "P60D"}', "--running", "retime", "--store", store.store_id)
    code, out, _ = run(*change, "--dry-run", "--json")
    seen = json.loads(out)

    assert code == 0
    assert (seen["runs"], seen["touched"], seen["changed"]) == (3, 3, 3)
    assert [(day["before"], day["after"]) for day in seen["days"]] == [(0, 3), (3, 0)]
    shift = datetime.fromisoformat(seen["before"]["earliest"]) - datetime.fromisoformat(seen["after"]["earliest"])
    assert shift == timedelta(days=30)
    assert "3 runs under way, 3 would get the plan (retime)" in run(*change, "--dry-run")[1]
    assert json.loads(run("plan", "show", "--store", store.store_id)[1])["win-back"]["version"] == 0


def test_a_dry_run_warns_of_a_burst_and_shows_what_a_spread_makes_of_it(run: Run, store: Any, database: str) -> None:
    """Whoever would be overdue by the new plan would get mail in the same minute."""
    begin(database, store.store_id, "win-back", 60, timedelta(days=40))
    change = ("plan", "set", "win-back", '{"silence": "P30D"}', "--running", "move", "--store", store.store_id)
    burst = run(*change, "--dry-run")
    spread = json.loads(run(*change, "--dry-run", "--json", "--spread", "P1D")[1])

    assert "60 messages would come due at once: use --spread PT4H" in burst[2]
    assert spread["after"]["at_once"] < 10
    assert run(*change, "--dry-run", "--spread", "tomorrow")[0] == 2


def test_a_pause_is_listed_and_cannot_be_begun_twice(run: Run, store: Any, database: str) -> None:
    """What is paused since when, with how many runs; a wrong name is told the right ones."""
    begin(database, store.store_id, "win-back", 2, timedelta(days=1))
    assert run("journey", "pause", "win-back", "--store", store.store_id)[:2] == (0, "win-back of mugs is paused\n")
    code, out, err = run("journey", "pause", "win-back", "--store", store.store_id)
    assert (code, out, err) == (1, "", "journeys: win-back of mugs is paused already\n")
    assert "there are welcome" in run("journey", "pause", "winback", "--store", store.store_id)[2]

    listed = {one["journey"]: one for one in json.loads(run("journey", "list", "--json", "--store", store.store_id)[1])}
    assert (listed["win-back"]["runs"], listed["win-back"]["held_up"]) == (2, 0)
    assert listed["win-back"]["paused_since"]
    assert listed["welcome"]["paused_since"] is None
    assert "win-back" in run("journey", "list", "--store", store.store_id)[1]


@pytest.mark.parametrize(
    "words",
    [("plan", "set", "welcome", "{}", "--running", "move"), ("journey", "resume", "welcome", "--policy", "spread")],
    ids=["plan set", "resume"],
)
def test_while_temporal_is_down_nothing_is_changed(store: Any, database: str, words: tuple[str, ...]) -> None:
    """A new plan whose runs never hear of it, or a pause that ends for nobody, would be worse than an error."""
    environment = os.environ | {"DATABASE_URL": database, "TEMPORAL_ADDRESS": "127.0.0.1:9"}
    argv = [sys.executable, "-m", "cli.main", *words, "--store", store.store_id]
    ended = subprocess.run(argv, check=False, env=environment, capture_output=True, text=True, timeout=300)

    assert ended.returncode == 1
    assert "Temporal does not answer" in ended.stderr
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from plans").fetchone() == (0,)


def test_a_plan_whose_template_does_not_exist_is_refused() -> None:
    """It would fail at the first customer; the answer names the step and the templates that there are."""
    plan = {"steps": [{"name": "only", "template": "no-such-thing", "topic": "newsletter"}]}
    done = CliRunner().invoke(app, ["plan", "set", "welcome", json.dumps(plan)])

    assert isinstance(done.exception, InvalidPlan)
    assert str(done.exception).startswith("steps.0.template: there is no template 'no-such-thing'")
    assert "welcome-best-sellers" in str(done.exception)


def test_a_store_needs_a_time_zone_that_exists() -> None:
    """Timelines and quiet hours are told in it."""
    card = ["--name", "Mugs", "--url", "https://m.test", "--sender-email", "a@m.test", "--address", "1 Kiln Lane"]
    done = CliRunner().invoke(app, ["store", "create", "mugs", *card, "--timezone", "Berlin"])

    assert isinstance(done.exception, InvalidInput)
    assert str(done.exception).startswith("timezone: 'Berlin' is no time zone")
