"""The settings: each by itself, before anything is asked with them."""

import ipaddress
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import ValidationError

from adapters.channels.smtp_url import SmtpServer
from adapters.settings import Settings
from cli.doctor.finding import Finding, ok, problem, warning
from domain.errors import ConfigurationError

_GUESSED = ("changeme", "change-me", "password", "secret", "example", "12345", "journeys", "test")
_RANDOM = "openssl rand -hex 32"
_TRACES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def read_settings() -> tuple[Settings | None, list[Finding]]:
    """Read the environment; with a setting that cannot be read there are none."""
    try:
        return Settings(), []
    except ValidationError as error:
        found = []
        for one in error.errors(include_input=False, include_url=False):
            name = str(one["loc"][0])
            variable = name if name.isupper() else f"JOURNEYS_{name.upper()}"
            found.append(problem(variable, one["msg"], "see the table of settings in README.md"))
        return None, found


def check_settings(settings: Settings) -> list[Finding]:
    """Check each setting by itself."""
    checks: Sequence[Callable[[Settings], list[Finding]]] = (
        _database_url, _smtp_url, _secret_keys, _master_keys, _public_url, _bounce_address, _log_level, _metrics,
    )  # fmt: skip
    return [finding for check in checks for finding in check(settings)]


def is_local(host: str) -> bool:
    """Tell whether a host is this machine or a network that nobody else reaches."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host  # a name of a container, too


def _database_url(settings: Settings) -> list[Finding]:
    try:
        _ = settings.sqlalchemy_url
    except ConfigurationError as error:
        return [problem("DATABASE_URL", str(error), "set it to postgresql://USER:PASSWORD@HOST:5432/NAME")]
    return [ok("DATABASE_URL", "is a Postgres URL")]


def _smtp_url(settings: Settings) -> list[Finding]:
    try:
        server = SmtpServer.from_url(settings.smtp_url)
    except ConfigurationError as error:
        return [problem("SMTP_URL", str(error), "set it to smtp://USER:PASSWORD@HOST:587?starttls=1")]
    if server.tls == "never" and server.user and not is_local(server.host):
        return [problem("SMTP_URL", "sends the password unencrypted", "use smtps:// or ?starttls=1")]
    if server.tls in {"never", "offered"} and not is_local(server.host):
        said = "mail may go out unencrypted: whoever sits on the way can take the offer of STARTTLS away"
        return [warning("SMTP_URL", said, "add ?starttls=1, or use smtps://")]
    if not server.verify and not is_local(server.host):
        return [warning("SMTP_URL", "the server's certificate is not checked", "leave out verify=0")]
    return [ok("SMTP_URL", f"{server.host}:{server.port}, TLS {server.tls}")]


def _secret_keys(settings: Settings) -> list[Finding]:
    name, fix = "JOURNEYS_SECRET_KEYS", f"put a new one in front, and keep the old: {_RANDOM}"
    try:
        secrets = settings.signing_secrets()
    except ConfigurationError as error:
        return [problem(name, str(error), _RANDOM)]
    if any(_weak(secret) for secret in secrets):
        return [warning(name, "one of them can be guessed, and with it every link in every mail be forged", fix)]
    return [ok(name, f"{_count(secrets)}; the first signs")]


def _master_keys(settings: Settings) -> list[Finding]:
    name = "JOURNEYS_MASTER_KEYS"
    try:
        secrets = settings.master_secrets()
    except ConfigurationError as error:
        return [problem(name, str(error), _RANDOM)]
    if not secrets:
        said = "is not set: Temporal keeps opaque ids in the open, and secrets of providers lie open in the database"
        return [warning(name, said, f"{_RANDOM} (docs/privacy.md)")]
    if any(_weak(secret) for secret in secrets):
        fix = f"put a new one in front ({_RANDOM}), run journeys privacy rewrap, and take the old one away"
        return [warning(name, "one of them can be guessed", fix)]
    return [ok(name, f"{_count(secrets)}; the first wraps")]


def _public_url(settings: Settings) -> list[Finding]:
    name, url = "JOURNEYS_PUBLIC_URL", urlsplit(settings.public_url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        return [problem(name, "is not a web address", "set it to https://HOST")]
    if is_local(url.hostname):
        said = f"{settings.public_url}: links in mails lead to this machine only"
        return [warning(name, said, "in production, set it to the https:// address at which readers reach the API")]
    if url.scheme == "http":
        said = "is not https: mail programs offer one-click unsubscribe only for https (RFC 8058 §3.1)"
        return [problem(name, said, "put a proxy with TLS in front of the API, and set it to https://…")]
    return [ok(name, settings.public_url)]


def _bounce_address(settings: Settings) -> list[Finding]:
    name = "JOURNEYS_BOUNCE_ADDRESS"
    if settings.bounce_address is None:
        return [ok(name, "is not set: what cannot be delivered comes back to each store's sender (docs/bounces.md)")]
    return [ok(name, settings.bounce_address)]


def _log_level(settings: Settings) -> list[Finding]:
    if settings.log_level.upper() not in logging.getLevelNamesMapping():
        return [warning("JOURNEYS_LOG_LEVEL", f"{settings.log_level!r} is no level, so it is INFO", "set it to INFO")]
    return [ok("JOURNEYS_LOG_LEVEL", settings.log_level.upper())]


def _metrics(settings: Settings) -> list[Finding]:
    environment: Mapping[str, str] = os.environ
    traces = "on" if any(environment.get(name) for name in _TRACES) else "off"
    if settings.metrics_port is None:
        fix = "set it, so that the alerts of deploy/alerts.yml can ring (docs/operating.md)"
        return [warning("JOURNEYS_METRICS_PORT", f"is not set: nobody measures; traces are {traces}", fix)]
    return [ok("JOURNEYS_METRICS_PORT", f"{settings.metrics_host}:{settings.metrics_port}; traces are {traces}")]


def _weak(secret: str) -> bool:
    return len(set(secret)) < 8 or any(word in secret.lower() for word in _GUESSED)


def _count(secrets: Sequence[str]) -> str:
    return "1 secret" if len(secrets) == 1 else f"{len(secrets)} secrets"
