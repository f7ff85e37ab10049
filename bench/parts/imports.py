"""The import: a million customers through `journeys import`, from CSV and from JSON lines, against a bare COPY."""

import asyncio
import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from bench.environment import Processes
from bench.result import times_baseline
from bench.runner import Run, part
from bench.stage import database
from cli.stack.keys import DEMO_STORE, ensured
from cli.stack.postgres import temporary_dir

_TABLES = ("customers", "identities", "consents")
_HEADER = (
    "user_id", "email", "first_name", "last_name", "locale", "timezone", "city", "timestamp", "marketing_consent",
    "consent_at", "consent_source", "consent_ip",
)  # fmt: skip


@part("imports", "customers imported from a file, with consent and its evidence", minutes=20)
async def imports(run: Run) -> None:
    """Import a CSV, copy the rows that it made by COPY alone, and import as many customers as JSON lines elsewhere."""
    count = run.of(small=20_000, full=1_000_000)
    baseline_is = "COPY of the finished rows into tables alike, with their indexes, one table after the other"
    with temporary_dir() as directory:
        files = {"csv": directory / "customers.csv", "jsonl": directory / "customers.jsonl"}
        await asyncio.to_thread(_write, files, count)
        run.say(f"{count:,} customers written, {files['csv'].stat().st_size / 2**20:.0f} MB as CSV")
        with _store() as url:
            took, cpu = await _imported(files["csv"], url)
            run.say(f"CSV imported in {took:.1f} s")
            bare = await asyncio.to_thread(_copied, url)
            run.found(
                "customers from CSV", count / took, "customers/s", baseline=count / bare, goal=times_baseline(0.3),
                baseline_is=baseline_is, detail={"seconds": round(took, 1), "processors_used": cpu},
            )  # fmt: skip
        with _store() as url:
            took, cpu = await _imported(files["jsonl"], url)
            run.found(
                "customers from JSON lines", count / took, "customers/s", baseline=count / bare,
                goal=times_baseline(0.3), baseline_is=baseline_is,
                detail={"seconds": round(took, 1), "processors_used": cpu},
            )  # fmt: skip
            took, _ = await _imported(files["jsonl"], url)
            run.found(
                "the same file again: nothing changes", count / took, "customers/s", detail={"seconds": round(took, 1)}
            )


@contextmanager
def _store() -> Iterator[str]:
    """Run a Postgres with a store of which nobody has heard; it cannot be emptied, for consents only grow."""
    with temporary_dir() as directory, database() as url:
        ensured(directory / "keys.json", url, DEMO_STORE)
        yield url


def _write(files: dict[str, Path], count: int) -> None:
    with files["csv"].open("w", newline="", encoding="utf-8") as rows, files["jsonl"].open("w") as lines:
        table = csv.writer(rows)
        table.writerow(_HEADER)
        for number in range(count):
            row = (
                f"u-{number}", f"customer{number}@mail{number % 50}.example.com", "Ada", f"Lovelace {number % 999}",
                "en-GB", "Europe/London", "London", "2026-01-10T08:30:00Z", "true" if number % 3 else "false",
                "2025-11-28T18:00:00Z", "checkout", f"192.0.2.{number % 250}",
            )  # fmt: skip
            table.writerow(row)
            # Customers of their own; the two files are imported into an emptied store one after the other.
            lines.write(json.dumps(dict(zip(_HEADER, row, strict=True))) + "\n")


async def _imported(file: Path, url: str) -> tuple[float, dict[str, float]]:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "import", str(file), env={**os.environ, "DATABASE_URL": url},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    watched = Processes(**{"import": process.pid})
    cpu = 0.0
    while process.returncode is None:
        cpu = max(cpu, watched.cpu_seconds()["import"])  # at the last look those that read rows may be gone
        try:
            async with asyncio.timeout(0.5):
                await process.wait()
        except TimeoutError:
            continue
    took = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(f"the import ended with {process.returncode}")
    return took, {"import": round(cpu / took, 2)}


def _copied(url: str) -> float:
    """Copy the rows of the import into empty tables alike; return the seconds that writing them took."""
    took = 0.0
    with psycopg.connect(url, autocommit=True) as reader, psycopg.connect(url, autocommit=True) as writer:
        for name in _TABLES:
            table, bare = sql.Identifier(name), sql.Identifier(f"bare_{name}")
            writer.execute(sql.SQL("create table {} (like {} including all)").format(bare, table))
            with reader.cursor().copy(sql.SQL("copy {} to stdout").format(table)) as out:
                blocks = list(out)
            began = time.monotonic()
            with writer.cursor().copy(sql.SQL("copy {} from stdin").format(bare)) as into:
                for block in blocks:
                    into.write(block)
            took += time.monotonic() - began
            writer.execute(sql.SQL("drop table {}").format(bare))
    return took
