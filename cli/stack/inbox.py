"""An inbox for development: an SMTP server that delivers nothing and shows everything (PyPI package `sendria`)."""

import sysconfig
from pathlib import Path

from cli.stack import ports
from cli.stack.processes import Program
from domain.errors import ConfigurationError


class LocalInbox:
    """An inbox.

    Args:
        data_dir: Holds the received mail and the log.
        smtp_port: Where mail is handed in.
        port: Where a browser reads it; `GET /api/messages/` for programs.
    """

    def __init__(self, data_dir: Path, smtp_port: int, port: int) -> None:
        self._binary = str(Path(sysconfig.get_path("scripts")) / "sendria")
        if not Path(self._binary).exists():
            raise ConfigurationError("sendria is not installed; run `make setup` or set SMTP_URL")
        self._data_dir, self._smtp_port, self._port = data_dir, smtp_port, port

    @property
    def url(self) -> str:
        """Where a browser reads the mail."""
        return ports.url(self._port)

    @property
    def smtp_url(self) -> str:
        """Where mail is handed in."""
        return f"smtp://{ports.HOST}:{self._smtp_port}"

    @property
    def program(self) -> Program:
        """The program to run."""
        argv = [
            self._binary, "--foreground", "--no-quit", "--db", str(self._data_dir / "inbox.db"),
            "--smtp-ip", ports.HOST, "--smtp-port", str(self._smtp_port),
            "--http-ip", ports.HOST, "--http-port", str(self._port),
        ]  # fmt: skip
        return Program(
            name="inbox",
            argv=argv,
            env={"HOME": str(self._data_dir), "NO_COLOR": "1"},
            log=self._data_dir / "inbox.log",
            ready=lambda: ports.answers(self._smtp_port) and ports.answers(self._port),
        )
