"""No child outlives the stack, however the stack ends. The children are real, tiny processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.settings import Settings
from cli.stack.local import Options, Stack
from cli.stack.processes import Child, Program, Supervisor
from domain.errors import Unavailable

ROOT = Path(__file__).parents[2]

POLITE = """
import signal, sys
def end(*_):
    print("asked", sys.argv[1], flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True: signal.pause()
"""
PARENT = f"""
import json, pathlib, sys, time
from cli.stack.processes import Child, Program, Stopped, Supervisor, until_asked_to_end
folder, polite = pathlib.Path(sys.argv[1]), {POLITE!r}
supervisor = Supervisor()
try:
    with until_asked_to_end():
        for name in ("first", "second"):
            argv = [sys.executable, "-I", "-S", "-c", polite, name]
            supervisor.start(Child(Program(name=name, argv=argv, env={{}}, log=folder / "log", ready="up")))
        print(json.dumps([part.pid for part in supervisor.parts.values()]), flush=True)
        time.sleep(60)
except Stopped as why:
    supervisor.stop_all()
    print("stopped by", why, flush=True)
"""


def program(
    folder: Path, name: str, code: str, *, ready: Callable[[], bool] | str = "up", grace: float = 10
) -> Program:
    """Describe a tiny child."""
    argv = [sys.executable, "-I", "-S", "-c", code, name]
    return Program(name=name, argv=argv, env={}, log=folder / "log", ready=ready, patience=60, grace=grace)


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is more than a zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip() != "" and not state.startswith("Z")


def until_gone(*pids: int) -> None:
    """Wait for the end of processes.

    Raises:
        TimeoutError: One is still there.
    """
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still running: {pids}")
        time.sleep(0.02)


def test_children_are_stopped_in_reverse_order(tmp_path: Path) -> None:
    """Who was started later may need who was started earlier, until the end."""
    supervisor = Supervisor()
    for name in ("first", "second", "third"):
        supervisor.start(Child(program(tmp_path, name, POLITE)))
    supervisor.stop_all()

    said = [line for line in (tmp_path / "log").read_text().splitlines() if line != "up"]
    assert said == ["asked third", "asked second", "asked first"]


def test_a_stubborn_child_is_killed_after_its_grace(tmp_path: Path) -> None:
    """An end that is asked for comes, sooner or later."""
    child = Child(program(tmp_path, "stubborn", STUBBORN, grace=0.2))
    child.start()
    pid = child.pid
    assert pid is not None
    child.stop()

    assert not is_alive(pid)


def test_a_child_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    """The reader of the message must not have to look for the reason."""
    child = Child(program(tmp_path, "broken", "import sys; sys.exit('no such luck')"))

    with pytest.raises(Unavailable, match=r"(?s)broken ended with exit code 1.*no such luck.*log: "):
        child.start()


def test_a_child_that_dies_later_is_reported_and_one_that_was_stopped_is_not(tmp_path: Path) -> None:
    """Only an end that nobody asked for is a fault."""
    supervisor = Supervisor()
    for name in ("stopped", "dying"):
        supervisor.start(Child(program(tmp_path, name, POLITE)))
    supervisor.parts["stopped"].stop()
    supervisor.check()
    pid = supervisor.parts["dying"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until_gone(pid)

    with pytest.raises(Unavailable, match="dying ended with exit code -9"):
        supervisor.check()
    supervisor.stop_all()


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda asked: asked.name)
def test_a_signal_to_the_parent_stops_every_child(tmp_path: Path, asked: signal.Signals) -> None:
    """Ctrl-C, `kill`, and a terminal that is closed all end the stack cleanly."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        parent.send_signal(asked)
        assert parent.stdout.read() == f"stopped by {asked.name}\n"

    assert parent.returncode == 0
    assert not any(is_alive(pid) for pid in pids)
    assert (tmp_path / "log").read_text().endswith("asked second\nasked first\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_a_killed_parent_takes_its_children_along(tmp_path: Path) -> None:
    """Kill -9 leaves no time to clean up."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        parent.kill()

    until_gone(*pids)


def test_a_failure_half_way_stops_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not answer is noticed when Temporal and the inbox run already: they must not stay."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    launched: list[int] = []
    launch = Child.launch

    def noted(child: Child) -> None:
        launch(child)
        launched.append(child.pid or 0)

    monkeypatch.setattr(Child, "launch", noted)
    settings = Settings(database_url="postgresql://postgres@127.0.0.1:1/nowhere", smtp_url="")

    with pytest.raises(Unavailable, match="the database cannot be used"), Stack(Options.throwaway(), settings):
        pass
    assert len(launched) == 2
    assert not any(is_alive(pid) for pid in launched)
