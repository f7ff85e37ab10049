"""A taken port is said so before anything is started."""

import socket

import pytest

from cli.stack import ports
from cli.stack.local import Options, Stack
from domain.errors import ConfigurationError

FLAGS = ("--api-port", "--inbox-port", "--smtp-port", "--temporal-port", "--temporal-ui-port", "--postgres-port")
"""In the order of `Options`."""


def test_a_taken_port_is_named_with_its_flag() -> None:
    """The message says what to type."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(ConfigurationError, match=rf"port {port} is taken .* with --inbox-port PORT"):
            ports.reserve(port, "--inbox-port")


def test_zero_is_any_free_port() -> None:
    """Two stacks can run side by side without anybody choosing numbers."""
    port = ports.reserve(0, "--api-port")

    assert port > 0
    assert ports.reserve(port, "--api-port") == port


def test_a_port_is_found_once() -> None:
    """A stack finds all of its ports before it listens on one, and two of them must not be the same."""
    found = [ports.free() for _ in range(500)]

    assert len(set(found)) == len(found)


@pytest.mark.parametrize("flag", FLAGS)
def test_the_stack_names_the_flag_of_each_taken_port(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each port is checked, and nothing has been started when one is taken."""
    for name in ("DATABASE_URL", "SMTP_URL", "TEMPORAL_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    started: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        options = Options(None, *[other.getsockname()[1] if name == flag else 0 for name in FLAGS])

        with (
            pytest.raises(ConfigurationError, match=rf"taken .* with {flag} "),
            Stack(options, on_progress=started.append),
        ):
            pass
    assert started == []
