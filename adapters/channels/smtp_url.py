"""The SMTP URL: everything about a mail server in one setting."""

from typing import Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from domain.errors import ConfigurationError
from domain.values import Value

_PORTS = {"never": 25, "offered": 25, "required": 587, "wrapped": 465}
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class SmtpServer(Value):
    """A mail server and how to speak to it.

    Attributes:
        tls: `wrapped`: from the first byte (smtps); `required`: STARTTLS or nothing; `offered`: STARTTLS
            when the server offers it; `never`.
        verify: Check the server's certificate.
    """

    host: str
    port: int
    tls: Literal["wrapped", "required", "offered", "never"]
    verify: bool
    user: str | None = None
    password: str | None = None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read `smtp[s]://[user:password@]host[:port][?starttls=0|1][&verify=0|1]`.

        The certificate is checked unless `verify=0`; only where STARTTLS is optional and no password is sent is it
        not checked by default, because whoever can forge a certificate there could as well take the offer away.

        Raises:
            ConfigurationError: Says what is wrong; never repeats the URL, which may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            asked = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            flags = {name: _FLAGS[value.lower()] for name, value in asked.items()}
        except (ValueError, KeyError) as problem:
            raise ConfigurationError("SMTP_URL is not a URL, or an option in it is not 0 or 1") from problem
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ConfigurationError("SMTP_URL must be smtp://host[:port] or smtps://host[:port]")
        if unknown := flags.keys() - {"starttls", "verify"}:
            raise ConfigurationError(f"SMTP_URL has an unknown option {min(unknown)}; there are starttls and verify")
        tls = cls._tls(parts.scheme, flags.get("starttls"))
        user = unquote(parts.username) if parts.username else None
        return cls(
            host=parts.hostname,
            port=port or _PORTS[tls],
            tls=tls,
            verify=flags.get("verify", tls != "offered" or user is not None),
            user=user,
            password=unquote(parts.password) if parts.password else None,
        )

    @staticmethod
    def _tls(scheme: str, starttls: bool | None) -> Literal["wrapped", "required", "offered", "never"]:
        if scheme == "smtps":
            return "wrapped"
        if starttls is None:
            return "offered"
        return "required" if starttls else "never"
