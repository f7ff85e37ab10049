"""What a fuzzer of bytes hardly reaches: input that is well formed, of known fields, with values that nobody sends."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, TARGETS

STRANGE: tuple[object, ...] = (
    "\0", "\ud800", "9" * 5_000, 10**400, -(10**30), 1e308, float("nan"), float("inf"), True, None, "", [], {}, [[]],
    [{}], {"a": {}}, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "x@" * 400, "1e999", "=?punycode?q?99?=",
)  # fmt: skip
VALUES = st.sampled_from(STRANGE) | st.integers() | st.floats() | st.text(max_size=20)


def spoilt(whole: object) -> Iterator[object]:
    """Put each strange value into each place of what is well formed."""
    yield from STRANGE
    if isinstance(whole, dict | list):
        for place, part in whole.items() if isinstance(whole, dict) else enumerate(whole):
            for other in spoilt(part):
                copied = whole.copy()
                copied[place] = other  # type: ignore[index]
                yield copied


SEEDS = [path for name in ("webhooks", "importer") for path in sorted((CORPUS / name).glob("seed-*"))]


@pytest.mark.parametrize("path", SEEDS, ids=[path.name for path in SEEDS])
def test_a_strange_value_in_any_place_does_no_harm(path: Path) -> None:
    """Of a webhook or a file of customers that is otherwise well formed."""
    target, seed = TARGETS[path.parent.name], path.read_bytes()
    lines = seed.splitlines() if seed.startswith(b"{") else []
    for number, line in enumerate(lines):
        for other in spoilt(json.loads(line)):
            target(b"\n".join([*lines[:number], json.dumps(other).encode(), *lines[number + 1 :]]))


def objects(*names: str, **known: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Make objects of these fields, each known one as a provider sends it, or as nobody does."""
    told = dict.fromkeys(names, VALUES) | {name: sort | VALUES for name, sort in known.items()}
    return st.fixed_dictionaries({}, optional=told)


RECIPIENTS = st.lists(objects("emailAddress", "status", "diagnosticCode", "action") | VALUES, max_size=3)
SES = st.fixed_dictionaries(
    {"eventType": st.sampled_from(["Bounce", "Complaint", "Delivery"]) | VALUES},
    optional={
        "bounce": objects(
            "feedbackId", "timestamp", bounceType=st.sampled_from(["Permanent", "Transient"]),
            bounceSubType=st.sampled_from(["General", "NoEmail"]), bouncedRecipients=RECIPIENTS,
        ),
        "complaint": objects("feedbackId", "timestamp", "complaintFeedbackType", complainedRecipients=RECIPIENTS),
        "delivery": objects("timestamp", recipients=st.lists(VALUES, max_size=3)),
        "mail": objects(
            "messageId", headers=st.lists(objects("name", "value") | VALUES, max_size=3),
            commonHeaders=objects("messageId"),
        ),
    },
)  # fmt: skip
MAILGUN = objects(
    "id", "timestamp", "recipient", "reason", event=st.sampled_from(["failed", "delivered", "complained"]),
    severity=st.sampled_from(["permanent", "temporary"]), message=objects(headers=objects("message-id")) | VALUES,
    **{"delivery-status": objects("code", "enhanced-code", "message", "description") | VALUES},
)  # fmt: skip
SENDGRID = objects(
    "email", "timestamp", "smtp-id", "status", "reason", "type", "sg_event_id",
    event=st.sampled_from(["bounce", "dropped", "delivered", "deferred"]),
)  # fmt: skip
POSTMARK = objects(
    "ID", "MessageID", "Email", "Recipient", "BouncedAt", "DeliveredAt", "Content", "Metadata",
    RecordType=st.sampled_from(["Bounce", "Delivery", "SpamComplaint"]),
    Type=st.sampled_from(["HardBounce", "Blocked"]),
)  # fmt: skip
STRANGER = st.fixed_dictionaries(
    {"signature": objects("timestamp", "token", "signature")}, optional={"event-data": MAILGUN}
) | objects("Type", "TopicArn", "Message", "SignatureVersion", "Signature", "SigningCertURL", "SubscribeURL")


@given(SES | MAILGUN | SENDGRID | POSTMARK | STRANGER | VALUES)
def test_a_webhook_with_any_values_in_its_fields_says_what_can_be_stored(told: object) -> None:
    """Of each provider, proved or not; never an error but those that are documented."""
    TARGETS["webhooks"](json.dumps(told).encode())


COLUMNS = st.sampled_from(
    ["id", "userId", "anonymousId", "email", "First Name", "timestamp", "updated_at", "marketing_consent", "newsletter",
     "consent_at", "consent_source", "consent_ip", "sms_opt_in", "timezone", "locale", "traits", "city", "", "\ufeffid"]
)  # fmt: skip
PACKED: st.SearchStrategy[Callable[[bytes], bytes]] = st.sampled_from([bytes, lambda data: gzip.compress(data, 1)])


@given(st.lists(st.dictionaries(COLUMNS, VALUES, max_size=6), min_size=1, max_size=4), PACKED)
def test_rows_of_json_are_taken_or_reported(rows: list[dict[str, object]], packed: Callable[[bytes], bytes]) -> None:
    """Whatever stands in the fields of customers."""
    TARGETS["importer"](packed("\n".join(json.dumps(row) for row in rows).encode()))


CELLS = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        ["ada@example.com", "yes", "2026-01-10", '"two\nlines"', '"', "\0", "9999-12-31T23:59:59-14:00", "x" * 140_000]
    ),
)


@given(st.lists(COLUMNS, min_size=1, max_size=5), st.lists(st.lists(CELLS, max_size=6), max_size=4), PACKED)
def test_rows_of_csv_are_taken_or_reported(
    header: list[str], rows: list[list[str]], packed: Callable[[bytes], bytes]
) -> None:
    """Or the file is refused as a whole, when it is no CSV."""
    lines = [",".join(cells) for cells in (header, *rows)]
    TARGETS["importer"](packed("\n".join(lines).encode("utf-8", "surrogatepass")))


TYPES = st.sampled_from(
    ["text/plain", "text/html", "text/plain; charset=utf-7", "text/plain; charset=punycode", "message/delivery-status",
     "message/feedback-report", "message/rfc822", "text/rfc822-headers", "multipart/mixed; boundary=b",
     "multipart/report; boundary=b", "text/plain; charset=\0", "text/html; charset*=x''%00"]
)  # fmt: skip
LINES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "--b", "--b--", "Final-Recipient: rfc822; ada@example.com", "Action: failed", "Status: 5.1.1",
         "Diagnostic-Code: smtp; 550 no \x00 such =?utf-8?q?=ED=A0=80?= user", "Feedback-Type: abuse",
         "ada@example.com:", "550 5.1.1 user unknown", "<<< 550 no", "X-Failed-Recipients: ada@example.com",
         "Message-ID: <0198f2a4b1c27c3d8e4f5a6b7c8d9e0f@mugs.test>", "+2AA-", "Content-Transfer-Encoding: base64",
         "=?punycode?q?99999?=", "\x1b$B\x1b(B", "&#0;&#xd800;"]
    ),
    TYPES.map("Content-Type: {}".format),
)  # fmt: skip


@settings(max_examples=100)
@given(TYPES, st.lists(LINES, max_size=25))
def test_a_mail_of_any_lines_tells_what_can_be_stored(content_type: str, lines: list[str]) -> None:
    """However its parts are labelled and nested."""
    head = ["From: MAILER-DAEMON@mx.example.com", f"Content-Type: {content_type}"]
    TARGETS["bounces"]("\r\n".join([*head, *lines]).encode("utf-8", "surrogatepass"))


def test_a_mail_that_is_made_to_cost_time_costs_little() -> None:
    """Nested without end, of very many fields, parts or recipients: each took seconds or minutes once, or crashed."""
    daemon, longest = b"From: mailer-daemon@mx.example.com\r\n", 10.0
    many = range(20_000)
    for mail in (
        b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(1_200)),
        b"Content-Type: message/rfc822\r\n\r\n" * 5_000,
        b"Content-Type: text/plain; charset=punycode\r\n\r\na-" + b"99999999" * 15_000,
        b"Content-Type: text/html\r\n\r\n" + b"<style>" * 5_000,
        b"Content-Type: text/plain" + b"; a=b" * 200_000,
        b"Subject: " + b"=?utf-8?q?=41?= " * 60_000,
        b"X-Failed-Recipients: " + b", ".join(b"u%d@b.co" % n for n in many) + b"\r\n\r\n" + b"x y " * 8_000,
        b"\r\n" + b"".join(b"u%d@b.co: 550 5.1.1 user unknown\n" % n for n in many),
    ):
        begun = time.process_time()  # of this process alone, however busy the machine is
        TARGETS["bounces"](daemon + mail)
        assert time.process_time() - begun < longest
