"""`journeys dev`, the whole command: the real parts, started and stopped as a user would."""

import json
import os
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg

from cli.stack.local import StackInfo
from cli.stack.postgres import temporary_dir

JOURNEYS = Path(sysconfig.get_path("scripts")) / "journeys"
PORTS = ("--api-port", "--inbox-port", "--smtp-port", "--temporal-port", "--temporal-ui-port", "--postgres-port")


def environment(**settings: str) -> dict[str, str]:
    """Return our environment without anything that would configure a stack."""
    ours = ("DATABASE_URL", "SMTP_URL", "TEMPORAL_", "JOURNEYS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | settings


@contextmanager
def dev(data_dir: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], StackInfo]]:
    """Run `journeys dev --json`; what it prints is one line, and it ends well on SIGTERM."""
    flags = [part for flag in PORTS for part in (flag, "0")]
    command = [JOURNEYS, "dev", "--json", "--data-dir", data_dir, *flags, *more]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd="/"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, StackInfo.model_validate(json.loads(line))
        finally:
            process.send_signal(signal.SIGTERM)
            rest, said = process.communicate(timeout=300)
    assert (process.returncode, rest) == (0, ""), said
    assert said.endswith("Stopped.\n")


def track(info: StackInfo) -> None:
    """Send an event with the write key."""
    event = {"userId": "u-1", "event": "Product Viewed", "messageId": "m-1"}
    answer = httpx.post(f"{info.api}/v1/track", json=event, auth=(info.write_key, ""), timeout=60)

    assert (answer.status_code, answer.json()) == (200, {"success": True})


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def test_the_stack_answers_everywhere_and_keeps_its_data_and_keys() -> None:
    """One line of JSON says where everything is; it is private; a second start has the same keys and events."""
    with temporary_dir() as directory:
        with dev(directory / "data") as (process, first):
            started = children(process.pid)
            urls = [f"{first.api}/docs", f"{first.api}/api/health", first.inbox, first.temporal_ui]
            assert [httpx.get(str(url), timeout=60).status_code for url in urls] == [200, 200, 200, 200]
            track(first)
            env = environment(DATABASE_URL=first.database_url, TEMPORAL_ADDRESS=first.temporal_address)
            env["JOURNEYS_API_PORT"] = first.api.rpartition(":")[2]
            health = [
                subprocess.run([JOURNEYS, "health", name], env=env, check=False).returncode
                for name in ("api", "worker", "router")
            ]
            beside = subprocess.run(
                [JOURNEYS, "plan", "set", "welcome", "{}", "--data-dir", directory / "data"],
                env=environment(), capture_output=True, text=True, check=False,
            )  # fmt: skip
            again = subprocess.run(
                [JOURNEYS, "dev", "--data-dir", directory / "data"],
                env=environment(), capture_output=True, text=True, check=False,
            )  # fmt: skip
            private = [(directory / "data" / name).stat().st_mode & 0o777 for name in ("keys.json", "stack.json")]

        assert len(started) == 6
        assert health == [0, 0, 0]
        assert beside.stdout == "welcome of demo: version 1\n"
        assert (again.returncode, again.stderr.count("\n")) == (1, 1)
        assert "in use by another stack" in again.stderr
        assert private == [0o600, 0o600]
        assert not (directory / "data" / "stack.json").exists()
        assert not any(Path(f"/proc/{pid}").exists() for pid in started)

        with dev(directory / "data") as (_, second), psycopg.connect(second.database_url) as connection:
            stored = connection.execute("select message_id from events").fetchall()
        assert (second.write_key, second.admin_key) == (first.write_key, first.admin_key)
        assert stored == [("m-1",)]


def test_a_taken_port_is_told_in_a_line() -> None:
    """The command ends with 1 and says what to type."""
    with socket.create_server(("127.0.0.1", 0)) as other, temporary_dir() as directory:
        command = [JOURNEYS, "dev", "--data-dir", directory, "--api-port", str(other.getsockname()[1])]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "--api-port PORT" in done.stderr


def test_a_wrong_command_is_a_usage_error() -> None:
    """2 is for usage, 1 for what went wrong."""
    done = subprocess.run([JOURNEYS, "no-such-command"], env=environment(), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert "no-such-command" in done.stderr
