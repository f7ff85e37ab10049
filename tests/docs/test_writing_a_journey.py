"""docs/writing-a-journey.md is executed: from top to bottom, in a copy of this checkout."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.main import get_command

from cli.main import app
from domain.plans import PLANS
from tests.checkout import copied, run
from tests.conftest import Shop

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-journey.md"
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = "shop-tests"
"""The folder that stands for another project."""
RUN = ("new", "lint", "backtest", "cost", "history", "plan")
"""Commands that are run as they stand; `deploy` and `why` need a cluster and are held against the command line."""
TYPED = re.compile(r"\b[A-Z_]{3,}\b")
"""What a reader puts in, such as WORKFLOW_ID; a command with it cannot be run as it stands."""


class Block(NamedTuple):
    """A block of code: its language, the file that it is, and what stands in it."""

    language: str
    file: str
    body: str


def blocks() -> list[Block]:
    found = ((info.partition(" "), body) for info, body in BLOCK.findall(PAGE.read_text("utf-8")))
    return [Block(language, file, body) for (language, _, file), body in found]


def shell_lines() -> list[str]:
    return [line for block in blocks() if block.language == "sh" for line in block.body.splitlines() if line.strip()]


def test_every_block_is_a_file_or_a_command() -> None:
    """So that each is executed by the test below, or by the checks of the command line."""
    assert [block for block in blocks() if (block.language == "sh") == bool(block.file)] == []
    assert {shlex.split(line)[0] for line in shell_lines()} == {"journeys", "pytest"}


def test_the_fences_are_even() -> None:
    """A fence that is not closed would hide blocks from these tests."""
    assert PAGE.read_text("utf-8").count("\n```") == 2 * len(blocks())


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("journeys")])
def test_every_command_is_one_that_the_command_line_takes(line: str) -> None:
    """Names, options and the number of arguments."""
    command, words = get_command(app), shlex.split(line, comments=True)[1:]
    while hasattr(command, "get_command"):
        name, *words = words
        command = command.get_command(None, name)
    command.make_context(command.name or "", list(words)).close()


def test_the_page_works_from_top_to_bottom(tmp_path: Path, store: Shop, database: str, database_url: str) -> None:
    """Files are written, commands are run, and what they say is what the page promises."""
    root, other = copied(tmp_path / "checkout"), tmp_path / "other"
    settings = {"DATABASE_URL": database, "DATABASE_URL_TEST": database_url, "JOURNEYS_STORE": store.store_id}
    said: dict[str, str] = {}
    for block in blocks():
        if block.file:
            target = (other if block.file.startswith(ELSEWHERE) else root) / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.body, "utf-8")
            continue
        for line in block.body.splitlines():
            program, *words = shlex.split(line, comments=True)
            if program == "journeys" and (words[0] not in RUN or TYPED.search(line)):
                continue
            outside = program == "pytest" and words[0].startswith(ELSEWHERE)
            module = "cli.main" if program == "journeys" else program
            # Another project has no checkout beside it, only the package.
            env = os.environ | settings | ({} if outside else {"PYTHONPATH": str(root)})
            done = subprocess.run(
                [sys.executable, "-m", module, *words], cwd=other if outside else root, env=env,
                capture_output=True, text=True, check=False, timeout=900,
            )  # fmt: skip
            assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            said[line] = done.stdout

    tests = [output for line, output in said.items() if line.startswith("pytest")]
    assert len(tests) == 2
    assert all(" passed" in output for output in tests)
    played = json.loads(said["journeys backtest first-order --events signups.jsonl --json"])
    assert (played["runs"], played["messages"]) == (2, 3)
    assert "first-order" in said["journeys cost first-order"]
    assert (root / "tests/workflows/histories/first-order/1.json").exists()
    python = [block.file for block in blocks() if block.file.endswith(".py") and not block.file.startswith(ELSEWHERE)]
    for check in ("check", "format --check"):
        done = run(root, "ruff", *check.split(), *python)
        assert done.returncode == 0, done.stdout


def test_no_test_of_the_page_has_more_than_ten_lines() -> None:
    """Pleasant is what fits on a card."""
    tests = [
        node
        for block in blocks()
        if "test_" in block.file
        for node in ast.parse(block.body).body
        if isinstance(node, ast.AsyncFunctionDef)
    ]

    assert len(tests) >= 3
    assert [test.name for test in tests if (test.end_lineno or 0) - test.body[0].lineno > 10] == []


def test_the_journey_of_the_page_has_at_most_sixty_lines_and_is_not_ours() -> None:
    """It promises so in its first paragraph."""
    journey = next(block for block in blocks() if block.file == "workflows/first_order.py")

    assert len(journey.body.splitlines()) <= 60
    assert "first-order" not in PLANS
