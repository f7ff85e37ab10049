"""The mail server: a conversation as far as the login, and no mail."""

import ssl

import aiosmtplib

from adapters.channels.smtp_url import SmtpServer
from cli.doctor.finding import Finding, ok, problem, warning
from cli.doctor.settings import is_local

_NAME = "smtp"


async def check_mail_server(
    server: SmtpServer, timeout_s: float = 5.0, tls: ssl.SSLContext | None = None
) -> list[Finding]:
    """Say hello to the mail server, switch encryption on, log in, and say goodbye.

    Args:
        server: Where it is and how to speak to it.
        timeout_s: How long each answer may take.
        tls: The TLS context, for a private certificate authority.
    """
    place = f"{server.host}:{server.port}"
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        timeout=timeout_s,
        use_tls=server.tls == "wrapped",
        start_tls=False,
        validate_certs=server.verify,
        tls_context=tls,
    )
    try:
        await client.connect()
        return await _talk(client, server, place)
    except ssl.SSLError as error:
        fix = "use the name that stands in its certificate, or have it renewed"
        return [problem(_NAME, f"{place}: TLS failed: {error.reason or type(error).__name__}", fix)]
    except (aiosmtplib.SMTPException, OSError) as error:
        fix = "see whether it is up, whether SMTP_URL is right, and whether your host blocks the port"
        return [problem(_NAME, f"{place} does not answer as a mail server: {type(error).__name__}", fix)]
    finally:
        client.close()


async def _talk(client: aiosmtplib.SMTP, server: SmtpServer, place: str) -> list[Finding]:
    await client.ehlo()
    encrypted = server.tls == "wrapped"
    found: list[Finding] = []
    if server.tls in {"required", "offered"}:
        if client.supports_extension("starttls"):
            try:
                await client.starttls(validate_certs=server.verify)
            except (aiosmtplib.SMTPException, ssl.SSLError, OSError):
                fix = "use the name that stands in its certificate; ?verify=0 only for a server of your own network"
                return [problem(_NAME, f"{place}: STARTTLS failed: its certificate is not good for this name", fix)]
            encrypted = True
        elif server.tls == "required":
            fix = "use another port (465 with smtps://, 587), or leave out ?starttls=1"
            return [problem(_NAME, f"{place} does not offer STARTTLS, which SMTP_URL insists on", fix)]
        elif not is_local(server.host):
            found.append(warning(_NAME, f"{place} offers no STARTTLS: mail goes out readable", "use a port that does"))
    if server.user is not None:
        try:
            await client.login(server.user, server.password or "")
        except aiosmtplib.SMTPAuthenticationError as error:
            fix = "compare user and password in SMTP_URL with the provider's; special characters are %-encoded"
            return [problem(_NAME, f"{place} refuses the login: {error.code}", fix)]
        except aiosmtplib.SMTPException:
            fix = "leave user and password out of SMTP_URL, or use its port for clients"
            return [problem(_NAME, f"{place} offers no login", fix)]
    login = "logged in" if server.user is not None else "without a login"
    found.append(ok(_NAME, f"{place} answers, {'encrypted' if encrypted else 'not encrypted'}, {login}"))
    await client.quit()
    return found
