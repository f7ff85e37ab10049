"""Each part, as it must be and as it must not: the settings, Postgres, the mail server; Temporal is in functional/."""

import asyncio
import re
import ssl
from datetime import timedelta

import pytest
import trustme
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.channels.smtp_url import SmtpServer
from adapters.settings import Settings
from cli.doctor.database import check_database
from cli.doctor.finding import Finding, Level, examined, ok
from cli.doctor.mail import check_mail_server
from cli.doctor.settings import check_settings, read_settings
from cli.operate import system_now
from cli.stack import ports
from testing.inspection import as_owner
from tests.adapters.channels.mail_server import mail_server, scripted_server

RANDOM = "f1c9a80b7d6e5f43f1c9a80b7d6e5f43"
GOOD = {
    "database_url": "postgresql://journeys:pw@db.mugs.shop/journeys",
    "smtp_url": "smtp://u:p@mail.mugs.shop:587?starttls=1",
    "public_url": "https://journeys.mugs.shop",
    "secret_keys": RANDOM,
    "master_keys": RANDOM,
    "metrics_port": 9464,
}


def worst(findings: list[Finding], check: str) -> tuple[Level, str]:
    """The gravest finding of a check; whatever is not well comes with something to do."""
    assert all(bool(finding.fix) == (finding.level is not Level.OK) for finding in findings)
    mine = [finding for finding in findings if finding.check == check]
    order = (Level.PROBLEM, Level.WARNING, Level.OK)
    gravest = min(mine, key=lambda finding: order.index(finding.level))
    return gravest.level, gravest.said


class TestSettings:
    """Each setting by itself."""

    def test_good_settings_have_nothing_to_mend(self) -> None:
        """What README recommends for production."""
        assert {finding.level for finding in check_settings(Settings(**GOOD))} == {Level.OK}

    @pytest.mark.parametrize(
        ("changed", "variable", "level"),
        [
            ({"database_url": "mysql://db/journeys"}, "DATABASE_URL", Level.PROBLEM),
            ({"database_url": ""}, "DATABASE_URL", Level.PROBLEM),
            ({"smtp_url": "mail.mugs.shop"}, "SMTP_URL", Level.PROBLEM),
            ({"smtp_url": "smtp://u:p@mail.mugs.shop?starttls=0"}, "SMTP_URL", Level.PROBLEM),
            ({"smtp_url": "smtp://mail.mugs.shop"}, "SMTP_URL", Level.WARNING),
            ({"smtp_url": "smtps://mail.mugs.shop?verify=0"}, "SMTP_URL", Level.WARNING),
            ({"smtp_url": "smtp://127.0.0.1:1025"}, "SMTP_URL", Level.OK),
            ({"secret_keys": ""}, "JOURNEYS_SECRET_KEYS", Level.PROBLEM),
            ({"secret_keys": f"{RANDOM},short"}, "JOURNEYS_SECRET_KEYS", Level.PROBLEM),
            ({"secret_keys": "aaaaaaaaaaaaaaaaaaaaaaaa"}, "JOURNEYS_SECRET_KEYS", Level.WARNING),
            ({"secret_keys": f"{RANDOM},ChangeMe-{RANDOM}"}, "JOURNEYS_SECRET_KEYS", Level.WARNING),
            ({"master_keys": None}, "JOURNEYS_MASTER_KEYS", Level.WARNING),
            ({"master_keys": "too short"}, "JOURNEYS_MASTER_KEYS", Level.PROBLEM),
            ({"public_url": "http://journeys.mugs.shop"}, "JOURNEYS_PUBLIC_URL", Level.PROBLEM),
            ({"public_url": "journeys.mugs.shop"}, "JOURNEYS_PUBLIC_URL", Level.PROBLEM),
            ({"public_url": "http://127.0.0.1:8000"}, "JOURNEYS_PUBLIC_URL", Level.WARNING),
            ({"log_level": "LOUD"}, "JOURNEYS_LOG_LEVEL", Level.WARNING),
            ({"metrics_port": None}, "JOURNEYS_METRICS_PORT", Level.WARNING),
        ],
    )
    def test_each_setting_that_does_not_do_is_named(
        self, changed: dict[str, object], variable: str, level: Level
    ) -> None:
        """With what is wrong, and never with the secret itself."""
        findings = check_settings(Settings(**{**GOOD, **changed}))

        assert worst(findings, variable)[0] is level
        assert RANDOM not in str(findings)
        assert {finding.check for finding in findings if finding.level is not Level.OK} <= {variable}

    def test_settings_that_cannot_be_read_are_named_by_their_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As one types them."""
        monkeypatch.setenv("JOURNEYS_API_PORT", "eighty")
        monkeypatch.setenv("JOURNEYS_DEPLOYMENT", "a deployment")
        settings, findings = read_settings()

        assert settings is None
        assert {finding.check for finding in findings} == {"JOURNEYS_API_PORT", "JOURNEYS_DEPLOYMENT"}


class TestDatabase:
    """Postgres, and what is in it."""

    async def test_a_database_without_a_router_says_so(self, engine: AsyncEngine, settings: Settings) -> None:
        """Everything else is well: version, clock, tables, rights."""
        findings = await check_database(settings.psycopg_url, system_now)

        assert worst(findings, "router")[0] is Level.PROBLEM
        assert {finding.check for finding in findings if finding.level is Level.OK} == {
            "postgres", "clock", "migrations", "rights"
        }  # fmt: skip

    async def test_a_clock_that_is_wrong_is_found(self, settings: Settings) -> None:
        """By how much it differs from Postgres's."""
        a_bit = await check_database(settings.psycopg_url, lambda: system_now() + timedelta(seconds=15))
        much = await check_database(settings.psycopg_url, lambda: system_now() - timedelta(minutes=5))

        level, said = worst(a_bit, "clock")
        assert level is Level.WARNING
        assert abs(float(re.fullmatch(r"this machine and Postgres differ by ([\d.]+) s", said)[1]) - 15) < 10
        assert worst(much, "clock")[0] is Level.PROBLEM

    async def test_tables_of_another_release_no_tables_and_no_rights_are_told_apart(
        self, engine: AsyncEngine, settings: Settings
    ) -> None:
        """Each with its own way out; nothing of it is kept."""
        url = settings.psycopg_url
        async with as_owner(engine) as connection:
            newest = await connection.scalar(text("select version_num from alembic_version"))
            await connection.execute(text("create role reader login"))
        try:
            as_reader = url.replace("postgres:@", "reader:@")
            assert "alembic_version" in worst(await check_database(as_reader, system_now), "rights")[1]
            await self._now(engine, "grant select on alembic_version to reader")
            assert worst(await check_database(as_reader, system_now), "rights")[0] is Level.PROBLEM
            await self._now(engine, "update alembic_version set version_num = '0001'")
            assert "revision 0001" in worst(await check_database(url, system_now), "migrations")[1]
        finally:
            await self._now(engine, "drop owned by reader", "drop role reader")
            await self._now(engine, f"update alembic_version set version_num = '{newest}'")  # noqa: S608
        empty = url.rpartition("/")[0] + "/postgres"
        assert "no tables" in worst(await check_database(empty, system_now), "migrations")[1]

    async def test_a_database_that_does_not_answer_is_a_problem(self) -> None:
        """And not a stack trace."""
        findings = await check_database(f"postgresql://u:hidden@127.0.0.1:{ports.free()}/x", system_now)

        assert worst(findings, "postgres")[0] is Level.PROBLEM
        assert "hidden" not in str(findings)

    @staticmethod
    async def _now(engine: AsyncEngine, *statements: str) -> None:
        async with as_owner(engine) as connection:
            for statement in statements:
                await connection.execute(text(statement))


class TestMailServer:
    """A conversation with a real one."""

    @pytest.mark.parametrize(
        ("login", "query", "level", "said"),
        [
            ("", "?starttls=0", Level.OK, "not encrypted"),
            ("ada:p%40ss%2Fword@", "", Level.OK, "logged in"),
            ("ada:wrong@", "", Level.PROBLEM, "refuses the login"),
            ("", "?starttls=1", Level.PROBLEM, "does not offer STARTTLS"),
        ],
    )
    async def test_what_a_server_without_tls_answers(self, login: str, query: str, level: Level, said: str) -> None:
        """No mail is sent to find out."""
        async with mail_server(auth=True) as server:
            findings = await check_mail_server(SmtpServer.from_url(f"smtp://{login}localhost:{server.port}{query}"))

        assert worst(findings, "smtp")[0] is level
        assert said in worst(findings, "smtp")[1]
        assert server.envelopes == []

    async def test_starttls_is_tried_and_its_certificate_checked(self) -> None:
        """The name and the authority must be right."""
        authority = trustme.CA()
        its_tls, our_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(its_tls)
        authority.configure_trust(our_tls)
        async with mail_server(starttls=its_tls) as server:
            address = SmtpServer.from_url(f"smtp://localhost:{server.port}?starttls=1")
            good = await check_mail_server(address, tls=our_tls)
            bad = await check_mail_server(address)

        assert worst(good, "smtp") == (Level.OK, f"localhost:{server.port} answers, encrypted, without a login")
        assert "certificate" in worst(bad, "smtp")[1]

    async def test_what_is_no_mail_server_is_a_problem(self) -> None:
        """Nobody there, or somebody who says something else."""
        async with scripted_server(b"HTTP/1.1 400 Bad Request") as port:
            web = await check_mail_server(SmtpServer.from_url(f"smtp://localhost:{port}"), timeout_s=1)
        nobody = await check_mail_server(SmtpServer.from_url(f"smtp://localhost:{ports.free()}"))

        assert worst(web, "smtp")[0] is worst(nobody, "smtp")[0] is Level.PROBLEM


async def test_a_check_that_hangs_or_breaks_does_not_hide_the_others() -> None:
    """Each has its own patience, and they run side by side."""

    async def well() -> list[Finding]:
        return [ok("well", "it is")]

    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def breaks() -> list[Finding]:
        raise KeyError("ada@example.com")

    findings = await examined({"hangs": hangs, "well": well, "breaks": breaks}, patience_s=0.05)

    assert [(finding.check, finding.level) for finding in findings] == [
        ("hangs", Level.PROBLEM), ("well", Level.OK), ("breaks", Level.PROBLEM)
    ]  # fmt: skip
    assert "ada" not in str(findings)
