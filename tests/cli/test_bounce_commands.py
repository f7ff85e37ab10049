"""`journeys bounces`, `suppression` and `provider`, on a real database."""

import json
import mailbox
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from cli.main import app

Run = Callable[..., tuple[int, str, str]]

BOUNCE = """\
Return-Path: <>
From: MAILER-DAEMON@mx.example.com
To: hello@mugs.test
Subject: Undelivered Mail Returned to Sender
Message-ID: <{number}@mx.example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.mugs.test

Final-Recipient: rfc822; {address}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown

--b--
"""


@pytest.fixture
def run(database: str, store: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the test's database, for its store; return its exit code, output and error output."""
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("JOURNEYS_STORE", "mugs")

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app([str(word) for word in words])
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


@pytest.fixture
def ada(database: str, store: object) -> None:
    """A customer."""
    with psycopg.connect(database) as connection:
        values = ["mugs", uuid4(), "ada@example.com"]
        connection.execute(
            "insert into customers (store_id, customer_id, email, created_at) values (%s, %s, %s, now())", values
        )


def events(database: str) -> list[tuple[str, str]]:
    """Return the stored events and the addresses they are about."""
    with psycopg.connect(database) as connection:
        rows = connection.execute("select name, payload from events order by id").fetchall()
    return [(name, payload["properties"]["address"]) for name, payload in rows]


@pytest.mark.parametrize("form", ["file", "directory", "maildir", "mbox"])
def test_returned_mail_is_read_from_wherever_it_lies(
    run: Run, database: str, ada: None, tmp_path: Path, form: str
) -> None:
    """Read again it changes nothing; what is about strangers, or no bounce, is counted and left."""
    mine = BOUNCE.format(number=1, address="ada@example.com")
    others = [BOUNCE.format(number=2, address="bob@example.com"), "From: bob@example.com\nSubject: Hi\n\nHello\n"]
    path = tmp_path / "mail"
    match form:
        case "file":
            path, others = tmp_path / "one.eml", []
            path.write_text(mine)
        case "directory":
            path.mkdir()
            for number, mail in enumerate([mine, *others]):
                (path / f"{number}.eml").write_text(mail)
        case "maildir":
            box: mailbox.Maildir | mailbox.mbox = mailbox.Maildir(path)
            for mail in [mine, *others]:
                box.add(mail)
        case "mbox":
            path = tmp_path / "mail.mbox"
            box = mailbox.mbox(path)
            for mail in [mine, *others]:
                box.add(mail)
            box.close()

    assert run("bounces", "import", path, "--dry-run")[0] == 0
    assert events(database) == []
    first, again = run("bounces", "import", path), run("bounces", "import", path)
    assert first[0] == again[0] == 0
    assert (f"{1 + len(others)} mails" in first[1], "1 new" in first[1], "0 new" in again[1]) == (True, True, True)
    assert events(database) == [("Email Bounced", "ada@example.com")]


def test_an_operator_suppresses_and_lifts_but_never_an_unsubscribe(run: Run, database: str, tmp_path: Path) -> None:
    """What a customer said is the customer's; and the audit log holds no address (G8)."""
    listing = tmp_path / "list.csv"
    listing.write_text("\ufeffname,email\nBob,Bob@Example.com\nnobody,\n")
    assert run("suppression", "add", "ada@example.com", "--days", 30)[0] == 0
    assert run("suppression", "import", listing)[1] == "1 suppressed\n"
    out = run("suppression", "list")[1]
    assert ("ada@example.com  manual" in out, "bob@example.com  imported" in out, "for good" in out) == (True,) * 3

    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into suppressions (store_id, channel, address, reason, at) "
            "values ('mugs', 'email', 'ada@example.com', 'unsubscribed', now())"
        )
    assert run("suppression", "remove", "ADA@example.com")[1] == "lifted: manual\n"
    assert run("suppression", "remove", "ada@example.com")[0] == 1
    assert "unsubscribed" in run("suppression", "list", "--address", "ada@example.com")[1]
    with psycopg.connect(database) as connection:
        query = "select action, detail from audit where subject = 'suppressions' order by at"
        noted = connection.execute(query).fetchall()
    assert [action for action, _ in noted] == ["suppress", "suppress", "unsuppress"]
    assert "@" not in json.dumps([detail for _, detail in noted])


@pytest.mark.parametrize("address", ["", "ada", "ada@", "a da@example.com", "<ada@example.com>"])
def test_what_is_no_address_is_not_suppressed(run: Run, address: str) -> None:
    """A typing error would suppress nobody and look as if it had."""
    assert run("suppression", "add", address)[0] == 2


@pytest.mark.parametrize(
    ("provider", "secret", "code"),
    [("mailgun", "key", 0), ("postmark", "hook:s3cret", 0), ("postmark", "s3cret", 2), ("sendgrid", "nonsense", 1)],
)
def test_a_secret_is_read_from_the_standard_input_and_checked(
    run: Run, monkeypatch: pytest.MonkeyPatch, provider: str, secret: str, code: int
) -> None:
    """A secret on the command line would stand in the process list."""
    import io

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{secret}\n".encode())))
    ended, out, err = run("provider", "set", provider)

    assert ended == code
    assert secret not in out + err
    assert run("provider", "forget", provider)[0] == (0 if code == 0 else 1)
