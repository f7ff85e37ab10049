"""TCP ports on this machine: which are free, and a clear word when one is not."""

import contextlib
import itertools
import random
import socket

from domain.errors import ConfigurationError, Unavailable

HOST = "127.0.0.1"


_CHOICE = range(20_000, 32_768)
"""Below what Linux hands out by itself: Temporal's server asks the system for ports of its own, and has died of being
given the one that it was about to listen on."""
_candidates = itertools.cycle(random.sample(_CHOICE, len(_CHOICE)))
"""In an order of this process's own, none twice: several are found before the first is listened on."""


def free() -> int:
    """Find a port that nobody uses now.

    Raises:
        Unavailable: None of a hundred was free.
    """
    for port in itertools.islice(_candidates, 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind((HOST, port))
            return port
    raise Unavailable(f"no free port on {HOST}")


def reserve(port: int, flag: str) -> int:
    """Make sure that a port can be used.

    Args:
        port: The wanted port; 0 for any free one.
        flag: The command-line option that chose it, for the message.

    Raises:
        ConfigurationError: Another program has the port; names the port and the flag.
    """
    if port == 0:
        return free()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except PermissionError:
            raise ConfigurationError(f"port {port} needs more rights; choose another with {flag} PORT") from None
        except OSError:
            raise ConfigurationError(
                f"port {port} is taken by another program; choose another with {flag} PORT (0 takes any free port)"
            ) from None
    return port


def url(port: int) -> str:
    """Return the web address of a port of this machine."""
    return f"http://{HOST}:{port}"


def answers(port: int) -> bool:
    """Tell whether somebody accepts connections on a port of this machine."""
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex((HOST, port)) == 0
