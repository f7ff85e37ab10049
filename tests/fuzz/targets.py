"""What strangers can send us, as functions of bytes: each returns whatever the bytes are, or shows a defect by failing.

A target takes any bytes. What it calls may refuse them with the error that its documentation names, and with nothing
else; what it accepts must be bounded and must fit into the database. `make fuzz` looks for bytes that break this, and
`test_corpus.py` replays all that were ever found.
"""

import base64
import hashlib
import hmac
import json
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import Request
from pydantic import TypeAdapter

from adapters.bounces import read
from adapters.providers import mailgun, postmark, sendgrid, ses
from adapters.providers.request import WebhookRequest
from adapters.providers.sns import SnsVerifier
from api.body import EVENT_LIMIT, json_object
from api.envelope import Arrival, understood
from cli.importing.preparing import block_of, events_of, understood_rows
from cli.importing.reading import CustomerFile
from domain.bounces import Feedback
from domain.decoding import facts
from domain.decoding.subject import shown, subject
from domain.errors import InvalidInput, InvalidToken, NotAuthorised, TooLarge, Unavailable
from domain.facts import AnyFact
from domain.tokens import Purpose, Signer
from domain.vocabulary import ALIASES

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
ARRIVAL = Arrival(store_id="mugs", received_at=NOON)
CORPUS = Path(__file__).parent / "corpus"

_MOST_FACTS = 10_000
_LONGEST_KEY = 100
_LONGEST_ADDRESS = 320
_SIGNER = Signer(["a secret for fuzzing only"])
_MAILGUN = "a key for fuzzing only"
_SENDGRID = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
_SENDGRID_KEY = base64.b64encode(
    _SENDGRID.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
_any_fact = TypeAdapter(list[AnyFact])
_Result = TypeVar("_Result")


def body(data: bytes) -> None:
    """The body of a request is a JSON object, or refused by name, however it is packed."""
    with suppress(InvalidInput, TooLarge):
        _asked(json_object(_request(data), EVENT_LIMIT))


def decoder(data: bytes) -> None:
    """An event is refused by name, or it means facts that fit their columns; and what it is about can be told."""
    try:
        raw = _asked(json_object(_request(data), EVENT_LIMIT))
        event = understood(raw, ARRIVAL)
    except (InvalidInput, TooLarge) as refused:
        _check_text([str(refused)])
        return
    _check_text([event.message_id, event.name, list(event.who), event.payload])
    told = [*facts(event), *shown(event, "EUR")]
    subject(event)
    assert len(told) <= _MOST_FACTS
    written = _any_fact.dump_json(told)
    assert _any_fact.validate_json(written) == told
    _check_text(json.loads(written))


def webhooks(data: bytes) -> None:
    """A webhook is not believed, not understood, or says what can be stored; proved or not."""
    shown_as = data[:30_000].decode("latin-1")
    names = ("authorization", sendgrid._SIGNATURE, sendgrid._TIMESTAMP)
    stranger = WebhookRequest(headers=dict.fromkeys(names, shown_as), body=data)
    with suppress(NotAuthorised, InvalidInput, Unavailable):
        _asked(ses.read(stranger, [_topic(data)], NOON, SnsVerifier(_no_certificate)))
    for reading in (_of_mailgun, _of_sendgrid, _of_postmark):
        with suppress(NotAuthorised, InvalidInput):
            reading(stranger)
            raise AssertionError(f"{reading.__name__} believed a stranger")
    proved = (_of_mailgun(_by_mailgun(data)), _of_sendgrid(_by_sendgrid(data)), _of_postmark(_by_postmark(data)))
    for read_it in proved:
        _check_feedback(read_it)
    with suppress(InvalidInput):
        told = stranger.parsed()
        _check_feedback(ses.translated(told if isinstance(told, dict) else {}))


def tokens(data: bytes) -> None:
    """A token is one that we wrote, letter by letter, or invalid."""
    token = data.decode("utf-8", "surrogateescape")
    for purpose in Purpose:
        with suppress(InvalidToken):
            claims = _SIGNER.claims(token, purpose)
            assert _SIGNER.token(claims.message_id, purpose, claims.link, claims.expires_at) == token


def bounces(data: bytes) -> None:
    """Any mail says something about at most a hundred recipients, or nothing, and the same each time."""
    told = read(data)
    _check_feedback(told)
    assert read(data) == told
    assert len(told) <= 100


def importer(data: bytes) -> None:
    """A file is refused as a whole, or each of its rows is taken or reported; what is taken can be told again."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with suppress(InvalidInput):
            source = CustomerFile(Path(file.name))
            rows = [row for row, _ in source.rows()]
            if not rows:
                return
            good, bad = understood_rows(rows, source.header, ARRIVAL)
            block, _ = block_of(rows, source.header, ARRIVAL)
            assert len(good) + len(bad) == len(rows)
            assert block.rows.count(b"\n") == len(good)
            _check_text([[one.field, one.rule] for one in bad])
            for row in good:
                for event in events_of(row, ARRIVAL):
                    _check_text(event.payload)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (body, decoder, webhooks, tokens, bounces, importer)
}
WORDS: Mapping[str, Sequence[str]] = {
    "body": ["\x1f\x8b\x08", "1e999", "\\ud800", "NaN"],
    "decoder": [*sorted(ALIASES), "identify", "alias", "\\u0000", "\\ud800", "1e999", "0001-01-01T00:00:00+14:00"],
    "webhooks": ["Permanent", "bounce", "dropped", "failed", "Delivery", "\\u0000", "\\ud800", "1e999"],
    "tokens": [],
    "bounces": ["Final-Recipient: rfc822; ", "message/rfc822", "text/rfc822-headers", "multipart/report", "utf-7"],
    "importer": ["consent_at", "marketing_consent", "timestamp", '{"', '"",', "yes", "2026-01-01"],
}
"""Words that a fuzzer would not find by itself."""


def _of_mailgun(request: WebhookRequest) -> list[Feedback]:
    return mailgun.read(request, [_MAILGUN], NOON)


def _of_sendgrid(request: WebhookRequest) -> list[Feedback]:
    return sendgrid.read(request, [_SENDGRID_KEY], NOON)


def _of_postmark(request: WebhookRequest) -> list[Feedback]:
    return postmark.read(request, ["user:password"])


def _by_mailgun(data: bytes) -> WebhookRequest:
    """Sign what is to be said as Mailgun does: beside it."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        event = {}
    timestamp = str(int(NOON.timestamp()))
    proof = hmac.new(_MAILGUN.encode(), f"{timestamp}token".encode(), hashlib.sha256).hexdigest()
    signature = {"timestamp": timestamp, "token": "token", "signature": proof}
    return WebhookRequest(headers={}, body=json.dumps({"signature": signature, "event-data": event}).encode())


def _by_sendgrid(data: bytes) -> WebhookRequest:
    timestamp, said = str(int(NOON.timestamp())), b"[" + data + b"]"
    if not _is_json(said):
        said = b"[]"
    proof = base64.b64encode(_SENDGRID.sign(timestamp.encode() + said, ec.ECDSA(SHA256()))).decode()
    return WebhookRequest(headers={sendgrid._SIGNATURE: proof, sendgrid._TIMESTAMP: timestamp}, body=said)


def _by_postmark(data: bytes) -> WebhookRequest:
    proof = "Basic " + base64.b64encode(b"user:password").decode()
    return WebhookRequest(headers={"authorization": proof}, body=data if _is_json(data) else b"{}")


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _topic(data: bytes) -> str:
    """Say the topic that a message claims, so that its signature is looked at."""
    with suppress(ValueError, RecursionError):
        message = json.loads(data)
        return str(message.get("TopicArn")) if isinstance(message, dict) else ""
    return ""


async def _no_certificate(_url: str) -> bytes:
    raise Unavailable


def _request(data: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def _asked(asking: Coroutine[Any, Any, _Result]) -> _Result:
    """Run what never waits, without a loop."""
    try:
        asking.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waited for something")


def _check_feedback(told: Sequence[Feedback]) -> None:
    for one in told:
        assert len(one.key) <= _LONGEST_KEY
        assert len(one.detail) <= _LONGEST_KEY
        assert one.recipient is None or 0 < len(one.recipient) <= _LONGEST_ADDRESS
        _check_text(one.model_dump(mode="json"))


def _check_text(value: object) -> None:
    """Make sure that JSON and Postgres can hold a value."""
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    written.encode()
    assert "\\u0000" not in written
