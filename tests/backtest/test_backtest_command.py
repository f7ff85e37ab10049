"""`journeys backtest` as it is typed: one object on standard output, two plans compared, and Ctrl-C at any moment."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli.main import app

HEADER = "ts,user,kind,item,value,order_id\n"
CARTS = HEADER + "".join(
    f"2024-03-{day:02}T10:00:00Z,{user},{kind},,,\n"
    for day, user, kind in [
        (1, "ada", "cart"),
        (1, "bob", "cart"),
        (2, "bob", "buy"),
        (20, "ada", "cart"),
        (29, "x", "view"),
    ]
)


def command(*words: object) -> list[str]:
    """The command in a process of its own."""
    return [sys.executable, "-m", "cli.main", "backtest", *(str(word) for word in words)]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing around: no database of the user's, no stack beside."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return tmp_path


def test_two_plans_are_compared_for_each_customer(alone: Path) -> None:
    """One JSON object, the totals of both, and who gets what otherwise."""
    (alone / "carts.csv").write_text(CARTS)
    (alone / "patient.json").write_text('{"quiet": "PT30H"}')
    words = ["cart-recovery", "--events", "carts.csv", "--plan", "patient.json", "--against", "current", "--json"]
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=300, check=True)
    found: dict[str, Any] = json.loads(done.stdout)

    assert done.stderr == ""
    assert (found["events"], found["customers"], found["runs"], found["complete"]) == (5, 3, 3, True)
    assert (found["triggers"], found["messages"], found["exits"]) == (2, 6, {"converted": 1, "completed": 2})
    assert (found["against"]["triggers"], found["against"]["messages"]) == (3, 8)
    assert (found["plan_source"], found["against"]["plan_source"]) == ("patient.json", "default")
    change = found["difference"]
    assert change["totals"]["messages"] == -2
    assert (change["more"], change["fewer"], change["other"], change["same"]) == (0, 1, 1, 0)
    (other, fewer) = sorted(change["changed"], key=lambda changed: changed["customer"])
    assert (other["customer"], other["change"]) == ("ada", "other")
    assert other["messages"][0] == "reminder-1 2024-03-02"
    assert other["against"][0] == "reminder-1 2024-03-01"
    assert (fewer["customer"], fewer["messages"]) == ("bob", [])
    assert fewer["against"] == ["reminder-1 2024-03-01", "reminder-2 2024-03-02"]


def test_ctrl_c_tells_what_is_known_so_far_and_leaves_nothing_running(alone: Path) -> None:
    """Exit code 130, one object that says that it is not complete, and no process and no directory left."""
    rows = "".join(
        f"2024-{1 + n // 2_000:02}-{1 + n // 80 % 25:02}T{n % 24:02}:00:00Z,u{n % 977},cart,,,\n" for n in range(9_000)
    )
    (alone / "many.csv").write_text(HEADER + rows)
    (alone / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(alone / "tmp")}
    words = ["cart-recovery", "--events", "many.csv", "--triggers-only", "--json", "--jobs", 1]
    with subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as running:
        deadline = time.monotonic() + 300
        while not any(int(p.read_text() or 0) > 20 for p in (alone / "tmp").rglob("*.progress")):
            assert running.poll() is None, running.stderr and running.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=300)
    found = json.loads(out)

    assert running.returncode == 130
    assert (found["complete"], found["events"]) == (False, 9_000)
    assert 0 < found["runs"] < 9_000
    assert found["actions"] > 0
    assert list((alone / "tmp").glob("journeys-*")) == []
    assert orphans(alone) == []


def orphans(directory: Path) -> list[str]:
    """Processes that still mention a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """What a command says that is refused."""
    with pytest.raises(SystemExit) as ended:
        app(["backtest", *(str(word) for word in words)])
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cart-recovery", "--events", "nowhere.csv"], "events: nowhere.csv: No such file"),
        (["dance", "--events", "carts.csv"], "there is no journey 'dance'"),
        (["follow-up/none", "--events", "carts.csv"], "follow-up/none has no plan here"),
        (["cart-recovery", "--events", "carts.csv", "--plan", "nowhere.json"], "plan: nowhere.json: No such file"),
        (["cart-recovery", "--events", "carts.csv", "--plan", "carts.csv"], "must be a JSON object"),
        (["cart-recovery", "--events", "carts.csv", "--plan", "wrong.json"], "quiet"),
        (["cart-recovery", "--events", "carts.csv", "--map", "kind"], "must be COLUMN=HEADER or kind:NAME=EVENT"),
        (["cart-recovery", "--events", "carts.csv", "--map", "kind:a=Dance"], "no event that is understood"),
        (["cart-recovery", "--events", "broken.csv"], "line 2, ts: must be a time"),
        (["cart-recovery", "--events", "carts.csv", "--json", "--csv"], "exclude each other"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line_before_anything_runs(
    alone: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Exit code 2, as for every input that breaks a rule."""
    (alone / "carts.csv").write_text(CARTS)
    (alone / "broken.csv").write_text(HEADER + "soon,u,cart,,,\n")
    (alone / "wrong.json").write_text('{"quiet": "PT-5H"}')
    code, err = refusal(capsys, *words)

    assert (code, err.count("\n")) == (2, 1)
    assert said in err


def test_a_recording_without_events_is_reported_as_csv(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Zeros, not an error; and nothing is started for it."""
    (alone / "empty.csv").write_text(HEADER)
    with pytest.raises(SystemExit) as ended:
        app(["backtest", "win-back", "--events", "empty.csv", "--csv"])
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    assert not ended.value.code
    assert {line["measure"]: line["value"] for line in lines}["runs"] == "0"
