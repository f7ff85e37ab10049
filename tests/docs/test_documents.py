"""The documents say what is true: their links lead somewhere, their commands are accepted, their words exist."""

import ast
import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.settings import Settings
from api.app import create_app, system_clock
from domain.delivery import Result
from domain.plans import validated
from domain.runs import Outcome
from testing.inspection import as_owner
from tests.conftest import Shop

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "cli").rglob("*.md")]
    if ".venv" not in path.parts
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
PACKAGES = ("domain", "workflows", "activities", "adapters", "api", "worker", "cli")

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
CURL = re.compile(r"http://127\.0\.0\.1:8000(/v1/\w+) -d '(.*?)'", re.DOTALL)
TERM = re.compile(r"\*\*([^*]+)\*\*")
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|md|toml|yml|lock)))`")


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """A reader who follows a link arrives."""
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """`path/to/file.py` counts from the root; a bare name or a folder may also be relative to something said before."""
    names = {name for name in FILE.findall(prose(page)) if "/" in name.rstrip("/")}

    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def test_every_decision_is_in_the_index_under_its_own_title() -> None:
    """The index is how a decision is found."""
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| \[(\d{4})\]\(\1-[\w-]+\.md\) \| (.+) \|$", index, re.MULTILINE))
    titles = {}
    for page in DECISIONS:
        heading = page.read_text(encoding="utf-8").splitlines()[0]
        titles[page.name[:4]] = re.sub(r"^# \d+\.? ", "", heading)

    assert listed == titles
    assert [page.name[:4] for page in DECISIONS] == sorted(titles)


def test_every_decision_that_the_code_cites_was_written_down() -> None:
    """`ADR 0006` and `docs/adr/0006-….md` in a docstring lead somewhere."""
    numbers = {page.name[:4] for page in DECISIONS}
    sources = [path.read_text(encoding="utf-8") for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    cited = {number for source in sources for number in re.findall(r"ADR (\d{4})|adr/(\d{4})", source)}

    assert {first or second for first, second in cited} <= numbers


def test_the_readme_lists_every_setting_with_its_default() -> None:
    """The table and the settings class say the same, and nothing is missing on either side."""
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", README, re.MULTILINE))
    settings = {}
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if hasattr(field.default, "get_secret_value") else field.default
        variable = str(field.validation_alias or f"JOURNEYS_{name.upper()}")
        settings[variable] = f"`{default}`" if default != "" else "required"

    assert rows == settings


def test_the_readme_names_tests_for_each_guarantee() -> None:
    """G1 to G8, each with a link (whose target another test looks for)."""
    rows = re.findall(r"^\| (G\d) \| \*\*.+?\*\*.* \| (\[tests/.+) \|$", README, re.MULTILINE)

    assert [name for name, _ in rows] == [f"G{number}" for number in range(1, 9)]


def test_the_plan_of_the_readme_is_valid() -> None:
    """What a newcomer types first must not be refused."""
    plans = re.findall(r"journeys plan set ([\w-]+) '(.+?)'", README)

    assert plans
    assert [validated(journey, json.loads(settings)).enabled for journey, settings in plans] == [True] * len(plans)


def commands(page: str) -> set[tuple[str, ...]]:
    """The `journeys` commands that a page's shell blocks and inline code show, without their arguments."""
    shown = [re.sub(r"#.*", "", body) for language, body in CODE.findall(page) if language == "sh"]
    shown += re.findall(r"`(journeys [^`]+)`", CODE.sub("", page))
    found = re.findall(r"(?:^|[\s/])journeys ((?:[a-z]+ ?)+)", "\n".join(shown), re.MULTILINE)
    return {tuple(words.split()[:2]) for words in found}


def test_every_command_of_the_readme_exists() -> None:
    """A command that is renamed takes its documents along."""
    from typer.main import get_command

    from cli.main import app

    known: Any = get_command(app)
    unknown = []
    for words in commands(README):
        command = known.get_command(None, words[0])
        nested = getattr(command, "commands", None)
        if command is None or (nested is not None and (len(words) < 2 or words[1] not in nested)):
            unknown.append(words)

    assert commands(README) >= {("dev",), ("demo",), ("migrate",), ("plan", "set"), ("store", "create")}
    assert unknown == []


def test_every_target_of_make_that_the_readme_shows_exists() -> None:
    """The two commands, above all."""
    shown = set(re.findall(r"`make (\w+)|^make (\w+)", README, re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert {"demo", "test", "dev"} <= {first or second for first, second in shown} <= targets


def test_no_word_is_defined_twice_and_every_word_is_in_use() -> None:
    """A glossary that lists words nobody says, or says one thing twice, misleads."""
    terms = [term for line in GLOSSARY.splitlines() if line.startswith("- **") for term in TERM.findall(line)]
    pages = [page.read_text(encoding="utf-8") for page in PAGES if page.name != "glossary.md"]
    sources = [path.read_text(encoding="utf-8") for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    said = re.sub(r"[\s_-]+", " ", " ".join([*pages, *sources])).casefold()

    assert len(terms) == len({term.casefold() for term in terms})
    assert [term for term in terms if re.sub(r"[\s_-]+", " ", term).casefold() not in said] == []


def test_the_glossary_knows_every_outcome_and_every_delivery() -> None:
    """They are what a marketer reads."""
    said = {word.strip(" .,;`") for word in GLOSSARY.split()}

    assert [name for name in (*Outcome, *Result) if name not in {*said, "running"}] == []


def test_italics_of_the_glossary_refer_to_its_own_words() -> None:
    """*word* promises an entry."""
    terms = {form for term in TERM.findall(GLOSSARY) for form in (term, f"{term}s", f"{term}es", f"{term[:-1]}ies")}
    referred = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", GLOSSARY)

    assert referred
    assert [word for word in referred if word not in terms] == []


@pytest.fixture
def server(settings: Settings) -> Iterator[str]:
    """The API on a real socket."""
    config = uvicorn.Config(create_app(settings, system_clock), port=0, log_level="error", lifespan="on", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


async def stored(engine: AsyncEngine) -> list[tuple[Any, ...]]:
    """The stored events in order of arrival."""
    async with as_owner(engine) as connection:
        rows = await connection.execute(text("select user_id, type, name from events order by id"))
        return [tuple(row) for row in rows]


async def test_the_curl_calls_of_the_readme_are_accepted(server: str, store: Shop, engine: AsyncEngine) -> None:
    """As they stand there, content type of curl included."""
    calls = CURL.findall(README)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with httpx.AsyncClient(base_url=server, auth=(store.write_key, "")) as client:
        answers = [await client.post(path, content=body, headers=headers) for path, body in calls]

    assert [answer.json() for answer in answers] == [{"success": True}] * len(calls)
    assert await stored(engine) == [
        ("u-1001", "identify", None),
        ("u-1001", "track", "Product Added"),
        ("u-1001", "track", "Order Completed"),
    ]


async def test_the_python_of_the_readme_runs(
    server: str, store: Shop, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing set but what it reads from the environment."""
    (program,) = [body for language, body in CODE.findall(README) if language == "python"]
    monkeypatch.setenv("WRITE_KEY", store.write_key)
    monkeypatch.setenv("JOURNEYS_API", server)
    await asyncio.to_thread(exec, compile(ast.parse(program), "README.md", "exec"), {})

    assert await stored(engine) == [("u-1002", "identify", None), ("u-1002", "track", "Newsletter Subscribed")]
