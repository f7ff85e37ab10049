"""Child processes that never outlive us: own session, logs in files, stopped in reverse order."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from domain.errors import Unavailable

_POLL = 0.02
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


@dataclass(frozen=True)
class Owner:
    """The unprivileged user that a program runs as, when we are root and it must not be."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """What to run and how to end it.

    Attributes:
        name: What people call it; also the name of its log.
        log: Standard output and error are appended here.
        stop_signal: Asks for a clean end.
        orphan_signal: Sent by the kernel when we die without a chance to stop it (Linux).
        grace: Seconds after which a process that was asked to end is killed.
        cwd: The directory it runs in; None for ours.
    """

    name: str
    argv: Sequence[str | Path]
    env: Mapping[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    grace: float = 10.0
    owner: Owner | None = None
    cwd: Path | None = None


class Child:
    """A running program, or one that can be started again.

    Start it from a thread that stays: the kernel takes the end of that thread for the end of the parent.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.program.name

    @property
    def pid(self) -> int | None:
        """The process id, None when it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.pid is not None

    def start(self) -> None:
        """Start the program; a running one is left alone."""
        if self.running:
            return
        program, owner = self.program, self.program.owner
        with program.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in program.argv],
                env=dict(program.env),
                cwd=program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches us alone and we decide the order
                preexec_fn=_die_with(os.getpid(), program.orphan_signal),  # noqa: PLW1509  (runs C calls only)
                user=owner.uid if owner else None,
                group=owner.gid if owner else None,
                extra_groups=[] if owner else None,
            )

    def stop(self) -> None:
        """Ask it to end, and kill it and its children when it takes longer than its grace."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(self.program.stop_signal)
        try:
            process.wait(self.program.grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and its children at once with SIGKILL, as a crash would."""
        process = self._process
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until the program does its work.

        Raises:
            Unavailable: It ended, or was not ready in time; the message carries the end of its log.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} was not ready after {timeout:.0f} s{self._log_tail()}")
            time.sleep(_POLL)

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            Unavailable: It ended by itself; the message carries the end of its log.
        """
        if self._process is not None and (code := self._process.poll()) is not None:
            raise Unavailable(f"{self.name} ended with exit code {code}{self._log_tail()}")

    def _log_tail(self, lines: int = 15) -> str:
        try:
            tail = self.program.log.read_text(errors="replace").splitlines()[-lines:]
        except OSError:
            tail = []
        return "".join(f"\n  | {line}" for line in tail) + f"\n  (log: {self.program.log})"


@dataclass
class Supervisor:
    """The children of one stack, in the order they were started."""

    children: dict[str, Child] = field(default_factory=dict)

    def start(self, program: Program, ready: Callable[[], bool], timeout: float = 60.0) -> Child:
        """Start a program and wait until it is ready.

        Raises:
            Unavailable: It ended or was not ready in time.
        """
        child = self.children[program.name] = Child(program)
        child.start()
        child.wait_until(ready, timeout)
        return child

    def check(self) -> None:
        """Make sure that every child still runs.

        Raises:
            Unavailable: Names the first one that does not.
        """
        for child in self.children.values():
            child.check()

    def stop_all(self) -> None:
        """Stop every child, the last started first. Ctrl-C does not interrupt it."""
        with uninterrupted():
            while self.children:
                self.children.popitem()[1].stop()


class Stopped(KeyboardInterrupt):
    """We were asked to end; not an error, and not to be caught as one."""


_ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def until_asked_to_end() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into `Stopped` inside the block: once, so that cleaning up is left in peace."""

    def ask(number: int, _: FrameType | None) -> None:
        _handle_with(signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    before = _handle_with(ask)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore the signals that ask us to end, for a block that cleans up."""
    before = _handle_with(signal.SIG_IGN)
    try:
        yield
    finally:
        _restore(before)


def _handle_with(handler: Handler) -> dict[signal.Signals, Handler]:
    if threading.current_thread() is not threading.main_thread():
        return {}  # only the main thread is interrupted by signals
    return {number: signal.signal(number, handler) for number in _ASKED_TO_END}


def _restore(handlers: Mapping[signal.Signals, Handler]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _die_with(parent: int, orphan_signal: signal.Signals) -> Callable[[], None]:
    def prepare() -> None:
        if _LIBC is not None:
            # After the change of user: the kernel forgets the wish when credentials change.
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return prepare
