"""A copy of this checkout, as it stands, for tests that write into one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NOT_COPIED = (".venv", ".journeys", "uv.lock", "tests/data", "cli/demo/data")


def copied(target: Path) -> Path:
    """Copy the files that belong to the project, and mypy's memory of them."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for file in files:
        if (ROOT / file).is_file() and not file.startswith(_NOT_COPIED):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, target / file)
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", target / ".mypy_cache", ignore_dangling_symlinks=True)
    return target


def run(checkout: Path, *argv: str, database_url: str = "") -> subprocess.CompletedProcess[str]:
    """Run a module of Python, such as `pytest` or `cli.main`, on the code of a checkout."""
    env = os.environ | {"PYTHONPATH": str(checkout), "DATABASE_URL_TEST": database_url, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", *argv], cwd=checkout, env=env, capture_output=True, text=True, check=False, timeout=300
    )
