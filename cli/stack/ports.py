"""TCP ports on this machine: which are free, and a clear word when one is not."""

import socket

from domain.errors import ConfigurationError

HOST = "127.0.0.1"


def free() -> int:
    """Find a port that nobody uses now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


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
