"""Writing: all files of a change, or none."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from domain.errors import ConfigurationError

_FIXES = ("I001", "RUF022")
"""Imports and `__all__` in their order."""


def formatted(root: Path, file: str, source: str) -> str:
    """Format a Python file as the checkout's settings say.

    Raises:
        ConfigurationError: ruff is not installed, or cannot read the file.
    """
    if not file.endswith(".py"):
        return source
    fix = ["check", "--fix", "--quiet", "--exit-zero", "--select", ",".join(_FIXES)]
    for command in (fix, ["format", "--quiet"]):
        argv = [sys.executable, "-m", "ruff", *command, "--stdin-filename", file, "-"]
        done = subprocess.run(argv, input=source, capture_output=True, text=True, cwd=root, check=False)
        if done.returncode:
            raise ConfigurationError(f"{file} cannot be formatted: {done.stderr.strip()[-400:]}")
        source = done.stdout
    return source


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files; if one cannot be written, all are as they were.

    Raises:
        ConfigurationError: One cannot be written.
    """
    before = {file: (root / file).read_bytes() if (root / file).exists() else None for file in files}
    folders = {folder for file in files for folder in (root / file).parents if not folder.exists()}
    try:
        for file, text in files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(text, "utf-8")
    except BaseException as problem:
        for file, content in before.items():
            if content is not None:
                (root / file).write_bytes(content)
            elif (root / file).is_file():
                (root / file).unlink()
        for folder in sorted(folders, reverse=True):
            if folder.is_dir():
                folder.rmdir()
        if isinstance(problem, OSError):
            raise ConfigurationError(f"{problem.filename}: {problem.strerror}; nothing was written") from problem
        raise
