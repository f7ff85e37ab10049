"""Child processes that never outlive us: own session, logs in files, stopped in reverse order."""

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
from typing import Protocol

from domain.errors import Unavailable

_POLL = 0.02
_LAUNCH = Path(__file__).with_name("launch.py")

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


@dataclass(frozen=True)
class Owner:
    """The unprivileged user that a program runs as, when we are root and it must not be."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """What to run, when it is ready, and how to end it.

    Attributes:
        name: What people call it.
        log: Standard output and error are appended here.
        ready: Tells whether it does its work; or the words of its log that tell it.
        patience: Seconds that it may take to be ready.
        stop_signal: Asks for a clean end.
        orphan_signal: Sent by the kernel when we die without a chance to stop it (Linux).
        grace: Seconds after which a process that was asked to end is killed.
        cwd: The directory it runs in; None for ours.
    """

    name: str
    argv: Sequence[str | Path]
    env: Mapping[str, str]
    log: Path
    ready: Callable[[], bool] | str
    patience: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    grace: float = 10.0
    owner: Owner | None = None
    cwd: Path | None = None


class Part(Protocol):
    """A part of a stack that can be started, stopped and started again."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def pid(self) -> int | None:
        """The process id, None when it is not running."""
        ...

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            Unavailable: It ended or was not ready in time.
        """
        ...

    def stop(self) -> None:
        """End it cleanly."""
        ...

    def kill(self) -> None:
        """End it as a crash would."""
        ...

    def check(self) -> None:
        """Make sure that it did not end by itself.

        Raises:
            Unavailable: It did.
        """
        ...


class Child:
    """A program that we run.

    Start it from a thread that stays: the kernel takes the end of that thread for the end of the parent.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        if self.pid is None:
            self.launch()
            self.wait()

    def launch(self) -> None:
        """Start the program without waiting for it."""
        program, owner = self.program, self.program.owner
        user = f"{owner.uid}:{owner.gid}" if owner else "-"
        launch = [sys.executable, "-I", "-S", _LAUNCH, os.getpid(), program.orphan_signal.value, user]
        with program.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [str(part) for part in (*launch, *program.argv)],
                env=dict(program.env),
                cwd=program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches us alone and we decide the order
            )

    def wait(self) -> None:
        """Wait until the program is ready.

        Raises:
            Unavailable: It ended or was not ready in time.
        """
        patience = self.program.patience
        deadline = time.monotonic() + patience
        while not self._ready():
            self.check()
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} was not ready after {patience:.0f} s{self._log_tail()}")
            time.sleep(_POLL)
        self.check()  # else something that was there before us answered

    def stop(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(self.program.stop_signal)
            try:
                process.wait(self.program.grace)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._process = None

    def check(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            raise Unavailable(f"{self.name} ended with exit code {code}{self._log_tail()}")

    def _ready(self) -> bool:
        ready = self.program.ready
        return ready in self._said() if isinstance(ready, str) else ready()

    def _said(self) -> str:
        with self.program.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _log_tail(self, lines: int = 15) -> str:
        tail = self._said().splitlines()[-lines:]
        return "".join(f"\n  | {line}" for line in tail) + f"\n  (log: {self.program.log})"


@dataclass
class Supervisor:
    """The parts of one stack, in the order they were started."""

    parts: dict[str, Part] = field(default_factory=dict)

    def start(self, part: Part) -> None:
        """Start a part and wait until it is ready.

        Raises:
            Unavailable: It ended or was not ready in time.
        """
        self.parts[part.name] = part
        part.start()

    def launch(self, children: Sequence[Child]) -> None:
        """Start programs that do not need each other, without waiting for them."""
        for child in children:
            self.parts[child.name] = child
            child.launch()

    def check(self) -> None:
        """Make sure that no part ended by itself.

        Raises:
            Unavailable: Names the first one that did.
        """
        for part in self.parts.values():
            part.check()

    def stop_all(self) -> None:
        """Stop every part, the last started first. Ctrl-C does not interrupt it."""
        with uninterrupted():
            while self.parts:
                self.parts.popitem()[1].stop()


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
