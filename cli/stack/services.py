"""Our own processes: the API, the worker and the router, as the stack runs them."""

import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.stack import ports
from cli.stack.processes import Program

READY = '"event": "ready"'
"""What the worker and the router log when they begin to work."""

OURS = ("api", "worker", "router")
"""Our processes, in the order in which they are started."""


@dataclass(frozen=True)
class Connections:
    """Where the parts of a stack find each other.

    Attributes:
        temporal_address: None when the user's own `TEMPORAL_*` settings say where Temporal is.
    """

    database_url: str
    smtp_url: str
    public_url: str
    api_port: int
    secret_keys: str
    temporal_address: str | None

    def environment(self) -> dict[str, str]:
        """Return the settings of our processes, in the names that `adapters.settings` and Temporal read."""
        settings = {
            "DATABASE_URL": self.database_url,
            "SMTP_URL": self.smtp_url,
            "JOURNEYS_PUBLIC_URL": self.public_url,
            "JOURNEYS_API_PORT": str(self.api_port),
            "JOURNEYS_SECRET_KEYS": self.secret_keys,
        }
        if self.temporal_address is not None:
            settings["TEMPORAL_ADDRESS"] = self.temporal_address
        return settings


def programs(data_dir: Path, connections: Connections) -> list[Program]:
    """Describe our processes in the order in which they are started."""
    inherited: Mapping[str, str] = os.environ
    if connections.temporal_address is not None:  # what belongs to another cluster must not reach ours
        # ... nor make our worker one of its builds, which nobody would promote here.
        theirs = ("TEMPORAL_", "JOURNEYS_BUILD_ID")
        inherited = {name: value for name, value in inherited.items() if not name.startswith(theirs)}
    env = {**inherited, **connections.environment(), "PYTHONUNBUFFERED": "1"}

    def program(name: str, ready: Callable[[], bool] | str, grace: float) -> Program:
        argv = [sys.executable, "-P", "-m", "cli.main", name]  # -P: not from the directory we are in
        own = {**env, **_ports_of_its_own(env, OURS.index(name))}
        return Program(name=name, argv=argv, env=own, log=data_dir / f"{name}.log", ready=ready, grace=grace)

    # Each finishes the work it has begun. Whoever presses Ctrl-C does not wait for a mail server as long as the worker
    # would (worker/main.py): what it leaves behind then is what a crash would leave.
    return [
        program("api", lambda: _healthy(connections.api_port), grace=18.0),
        program("worker", READY, grace=25.0),
        program("router", READY, grace=15.0),
    ]


def _ports_of_its_own(env: Mapping[str, str], place: int) -> dict[str, str]:
    """Give each process on this machine the next port for its metrics, counted from the one that is asked for."""
    asked = {name: env.get(name, "") for name in ("JOURNEYS_METRICS_PORT", "JOURNEYS_TEMPORAL_METRICS_PORT")}
    return {name: str(int(port) + place) for name, port in asked.items() if port.isdecimal()}


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"{ports.url(port)}/api/health", timeout=2) as answer:  # noqa: S310  (http, ours)
            return bool(answer.status == 200)
    except OSError:
        return False
