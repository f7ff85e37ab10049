"""A copy of this checkout, as it stands, for tests that write into one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NOT_COPIED = (".git", ".venv", ".journeys", ".*_cache", ".hypothesis", "__pycache__", "data", "uv.lock")


def copied(target: Path, *, with_types: bool = False) -> Path:
    """Copy the files of the project, and if asked what mypy remembers of them."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*_NOT_COPIED), dirs_exist_ok=True)
    if with_types and (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", target / ".mypy_cache")
    return target


def run(checkout: Path, *argv: str, database_url: str = "") -> subprocess.CompletedProcess[str]:
    """Run a module of Python, such as `pytest` or `cli.main`, on the code of a checkout."""
    env = os.environ | {"PYTHONPATH": str(checkout), "DATABASE_URL_TEST": database_url, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", *argv], cwd=checkout, env=env, capture_output=True, text=True, check=False, timeout=900
    )
