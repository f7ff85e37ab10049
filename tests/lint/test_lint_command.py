"""`journeys lint` on the command line, and its page in the documentation."""

import json
import re
from pathlib import Path

import pytest

from cli.lint import command
from cli.lint.report import RULES
from cli.main import app
from tests.lint import violations

ROOT = Path(__file__).parents[2]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        app(["lint", *words])
    out, err = capsys.readouterr()
    return (ended.value.code if isinstance(ended.value.code, int) else 0), out, err


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop with one bad journey."""
    monkeypatch.setattr(command, "JOURNEYS", (violations.ForgetsThePurchase,))


@pytest.mark.usefixtures("careless")
def test_a_finding_names_the_file_the_rule_and_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    """And the command fails, so that `make check` does."""
    code, out, err = run(capsys)

    assert code == 1
    assert re.match(r"\S+violations\.py: J004 forgets-the-purchase: .+\n    Put .+`ends`.+\.\n$", out)
    assert "1 journeys, 8 rules: 1 finding" in err


@pytest.mark.usefixtures("careless")
def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs."""
    code, out, _ = run(capsys, "--json")

    assert code == 1
    (finding,) = json.loads(out)["findings"]
    assert set(finding) == {"code", "file", "journey", "problem", "fix"}
    assert finding["code"] == "J004"


def test_a_plan_is_linted_before_it_is_set(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its message says no topic, and the finding names the plan's file (J002)."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"steps": [{"name": "one", "template": "cart-reminder"}]}))

    code, out, _ = run(capsys, "--plan", f"cart-recovery={plan}")

    assert code == 1
    assert f"{plan}: J002 cart-recovery: message one has no consent topic" in out


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("cart-recovery", "must be JOURNEY=FILE"),
        ("cart-recovery=no-such-file.json", "No such file"),
        ("cart-recovery={plan}", "must be a JSON object"),
        ("no-such-journey={empty}", "there is no journey"),
    ],
)
def test_a_plan_that_cannot_be_read_is_told_plainly(
    option: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2: the command was wrong, not the journeys."""
    (tmp_path / "plan.json").write_text("[]")
    (tmp_path / "empty.json").write_text("{}")
    option = option.format(plan=tmp_path / "plan.json", empty=tmp_path / "empty.json")

    code, _, err = run(capsys, "--plan", option)

    assert (code, says in err) == (2, True), err


def test_the_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Stable codes, each with what it finds."""
    code, out, _ = run(capsys, "--rules")

    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [rule.code for rule in RULES]


def test_the_page_lists_the_rules_that_there_are() -> None:
    """docs/linting.md and the code say the same."""
    rows = re.findall(r"^\| (J\d+) \| (.+) \| (.+) \|$", (ROOT / "docs" / "linting.md").read_text(), re.MULTILINE)

    assert rows == [(rule.code, rule.forbids, rule.because) for rule in RULES]
    assert [rule.code for rule in RULES] == sorted({rule.code for rule in RULES})
