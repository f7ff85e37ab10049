"""`journeys new`: what it writes passes every check and its own test, and what it refuses leaves nothing behind."""

import ast
from pathlib import Path

import pytest

from cli.checkout import checkout
from cli.new.choice import FACTS, exits
from cli.new.command import new
from cli.new.journey import edited_files, new_files
from cli.new.naming import Name
from cli.new.registration import with_import, with_member
from cli.new.writing import write
from domain.errors import ConfigurationError, InvalidInput
from domain.facts import SignedUp
from tests.checkout import copied, run

NEVER_MORE_LINES = 60


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout into which tests write side by side."""
    return copied(tmp_path_factory.mktemp("checkout"), with_types=True)


def state(root: Path) -> dict[str, bytes]:
    """Every file of a checkout that a new journey could touch."""
    folders = ("domain", "workflows", "templates", "tests", "rehearsal")
    files = (path for folder in folders for path in (root / folder).rglob("*"))
    return {str(path): path.read_bytes() for path in files if path.is_file() and "__pycache__" not in path.parts}


def test_a_new_journey_passes_every_check_and_its_own_test(fresh: Path, database_url: str) -> None:
    """As generated: nothing has to be edited first."""
    made = run(fresh, "cli.main", "new", "first-visit", "--ends-by", "CartChanged")
    assert made.returncode == 0, made.stderr
    files = [line.split()[1] for line in made.stdout.splitlines()]
    python = [file for file in files if file.endswith(".py")]
    packages = ["-p", "domain", "-p", "workflows", "-p", "rehearsal"]

    assert {"workflows/first_visit.py", "workflows/registry.py", "templates/first-visit-2/body.mjml"} <= set(files)
    assert len((fresh / "workflows" / "first_visit.py").read_text().splitlines()) <= NEVER_MORE_LINES
    for check in (
        ("ruff", "check", *python),
        ("ruff", "format", "--check", *python),
        ("mypy", *packages),
        ("importlinter.cli", "lint"),
        ("pytest", "tests/workflows/test_first_visit.py"),
        ("pytest", "tests/adapters/rendering/test_templates.py", "tests/workflows/test_registry.py", "-k", "first"),
    ):
        done = run(fresh, *check, database_url=database_url)
        assert done.returncode == 0, f"{' '.join(check)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert "first-visit" not in run(fresh, "cli.main", "lint").stdout


def test_a_journey_can_be_entered_by_every_fact_that_it_offers(tmp_path: Path, database_url: str) -> None:
    """Its own test sees the customer enter by the fact, and leave by a purchase."""
    root = copied(tmp_path)
    for fact in FACTS:
        name = Name.checked(f"after-{fact.__name__.lower()}")
        ends = exits(fact, [])
        write(root, {**new_files(name, fact, ends), **edited_files(root, name, fact)})
    tests = [str(path.relative_to(root)) for path in (root / "tests" / "workflows").glob("test_after_*.py")]
    done = run(root, "pytest", *tests, database_url=database_url)

    assert done.returncode == 0, done.stdout[-4000:]
    assert f"{2 * len(FACTS)} passed" in done.stdout


def test_the_generated_tests_have_at_most_ten_lines() -> None:
    """The kit is pleasant, or nobody writes tests."""
    ends = exits(SignedUp, [])
    source = new_files(Name("first-visit"), SignedUp, ends)["tests/workflows/test_first_visit.py"]
    tests = [node for node in ast.parse(source).body if isinstance(node, ast.AsyncFunctionDef)]

    assert len(tests) == 2
    assert [test.name for test in tests if (test.end_lineno or 0) - test.lineno > 10] == []


@pytest.mark.parametrize(
    ("name", "entered_by", "ends_by", "problem"),
    [
        ("First-Visit", "SignedUp", [], "must be up to 38 of a-z"),
        ("first--visit", "SignedUp", [], "must be up to 38 of a-z"),
        ("2nd-visit", "SignedUp", [], "begin with a letter"),
        ("x" * 39, "SignedUp", [], "must be up to 38 of a-z"),
        ("../etc", "SignedUp", [], "must be up to 38 of a-z"),
        ("import", "SignedUp", [], "means something else in the code; say more: import-reminder"),
        ("order-placed", "SignedUp", [], "means something else in the code"),
        ("pinned", "SignedUp", [], "means something else in the code"),
        ("welcome", "SignedUp", [], "there is a journey 'welcome' already"),
        ("registry", "SignedUp", [], "workflows/registry.py would be overwritten"),
        ("gate", "SignedUp", [], "tests/domain/test_gate.py would be overwritten"),
        ("first-visit", "SigndUp", [], "did you mean SignedUp?"),
        ("first-visit", "StockArrived", [], "there is no fact 'StockArrived' for it"),
        ("first-visit", "SignedUp", ["Nothing"], "--ends-by: there is no fact 'Nothing'"),
        ("first-visit", "SignedUp", ["SignedUp"], "SignedUp begins the journey, so it cannot end it"),
    ],
)
def test_what_cannot_become_a_journey_is_refused_with_the_reason(
    name: str, entered_by: str, ends_by: list[str], problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And nothing is written."""
    root = house(tmp_path)
    monkeypatch.chdir(root)
    before = state(root)

    with pytest.raises(InvalidInput) as refused:
        new(name, entered_by, ends_by)
    assert problem in str(refused.value)
    assert state(root) == before


def house(root: Path) -> Path:
    """The few files of a checkout that the generator reads."""
    this = checkout(Path(__file__).parent)
    for file in (
        "pyproject.toml", "domain/plans/__init__.py", "workflows/registry.py", "rehearsal/passages.py",
        "tests/domain/test_gate.py",
    ):  # fmt: skip
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes((this / file).read_bytes())
    (root / "tests" / "workflows").mkdir(parents=True)
    return root


def test_outside_a_checkout_it_says_where_journeys_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package has no source to add to."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError, match="is not in a checkout of Journeys"):
        new("first-visit", "SignedUp", [])


def test_a_registry_without_its_list_is_an_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody moved it; a journey that is registered nowhere would be worse than none."""
    root = house(tmp_path)
    registry = root / "workflows" / "registry.py"
    registry.write_text(registry.read_text().replace("JOURNEYS: tuple", "ALL: tuple"))
    monkeypatch.chdir(root)
    before = state(root)

    with pytest.raises(ConfigurationError, match=r"workflows/registry.py: there is no list JOURNEYS"):
        new("first-visit", "SignedUp", [])
    assert state(root) == before


def test_a_file_that_cannot_be_written_takes_the_others_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing: a half-done journey breaks every check."""
    root = house(tmp_path)
    (root / "templates").mkdir()
    (root / "templates" / "first-visit-2").write_text("in the way")
    monkeypatch.chdir(root)
    before = state(root)

    with pytest.raises(ConfigurationError, match="nothing was written"):
        new("first-visit", "SignedUp", [])
    assert state(root) == before
    assert not (root / "templates" / "first-visit").exists()


def test_members_are_added_wherever_the_list_ends() -> None:
    """On one line, on many, with and without a comma at the end, with words that are not ASCII."""
    assert with_member('A = ("ä", b)\n', "A", "c", "a.py") == 'A = ("ä", b, c)\n'
    assert with_member("A: list[int] = [\n    1,\n]\n", "A", "2", "a.py") == "A: list[int] = [\n    1, 2,\n]\n"
    assert with_member('A = {"x": f(1)}  # fmt: skip\n', "A", '"y": 2', "a.py") == 'A = {"x": f(1), "y": 2}\n'
    with pytest.raises(ConfigurationError):
        with_member("A = ()\n", "A", "1", "a.py")
    with pytest.raises(ConfigurationError):
        with_import("A = 1\n", "import b", "a.py")
