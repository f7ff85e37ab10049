"""Webhooks of mail providers: proved on the raw bytes, understood, and stored once."""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from fastapi import FastAPI
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.provider_secrets import ProviderSecrets
from adapters.postgres.tables import customers, messages
from adapters.providers.sns import SnsVerifier
from domain.errors import Unavailable
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock

DATA = Path(__file__).parents[3] / "shared" / "data" / "webhooks"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mugs-feedback"
ISSUER = "http://crt.r2m01.amazontrust.com/r2m01.cer"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"

Stored = Callable[[], Awaitable[list[Any]]]


@pytest.fixture
async def message_id(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> UUID:
    """A message to Ada that was sent."""
    message_id, customer_id = uuid4(), uuid4()
    person = {"store_id": "mugs", "customer_id": customer_id, "email": "ada@example.com", "created_at": clock()}
    row = {
        "store_id": "mugs", "message_id": message_id, "run_id": uuid4(), "customer_id": customer_id,
        "journey": "cart-recovery", "step": "reminder-1", "template": "cart-reminder", "transactional": False,
        "state": "sent", "address": "ada@example.com", "claimed_at": clock(),
    }  # fmt: skip
    async with as_owner(engine) as connection:
        await connection.execute(insert(customers).values(person))
        await connection.execute(insert(messages).values(row))
    return message_id


@pytest.fixture
def secret(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> Callable[..., Awaitable[None]]:
    """Give the store what proves a provider."""

    async def keep(provider: str, secret: str) -> None:
        await ProviderSecrets(engine, ()).add("mugs", provider, secret, clock, by="test")

    return keep


def facts(rows: list[Any]) -> list[tuple[str, Any, Any]]:
    """Say of each stored event what it is called, what it means and which message it is about."""
    told = [(row.name, row.payload["properties"]) for row in rows]
    return [(name, about.get("bounce"), about.get("message_id")) for name, about in told]


class TestMailgun:
    """HMAC-SHA256 of a timestamp and a token."""

    @staticmethod
    def body(event: dict[str, Any], at: datetime, key: str = "mailgun-key") -> dict[str, Any]:
        """Sign an event."""
        timestamp, token = str(int(at.timestamp())), "8a1b" * 12
        signature = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
        return {"signature": {"token": token, "timestamp": timestamp, "signature": signature}, "event-data": event}

    def failure(self, message_id: UUID, **more: Any) -> dict[str, Any]:
        """Write an event in Mailgun's form."""
        return {
            "id": "G9Bn5sl1TC6nu79C8C0bwg", "timestamp": 1521233195.375624, "event": "failed", "severity": "permanent",
            "reason": "bounce", "recipient": "ada@example.com",
            "delivery-status": {"code": 550, "enhanced-code": "5.1.1", "message": "No Such User Here"},
            "message": {"headers": {"message-id": f"{message_id.hex}@mugs.test"}},
        } | more  # fmt: skip

    async def test_a_bounce_is_stored_once_for_its_message(
        self, anyone: httpx.AsyncClient, secret: Any, clock: SteppedClock, message_id: UUID, stored: Stored
    ) -> None:
        """Mailgun repeats what was not answered in time, signed anew."""
        await secret("mailgun", "mailgun-key")
        for _ in range(2):
            body = self.body(self.failure(message_id), clock.advance(timedelta(minutes=1)))
            assert (await anyone.post("/webhooks/mailgun/mugs", json=body)).status_code == 200

        (row,) = await stored()
        assert facts([row]) == [("Email Bounced", "gone", str(message_id))]
        assert "ada@example.com" not in json.dumps(row.payload)

    @pytest.mark.parametrize("wrong", ["key", "old", "future", "unsigned", "tampered"])
    async def test_a_wrong_signature_is_401_and_stores_nothing(
        self, anyone: httpx.AsyncClient, secret: Any, clock: SteppedClock, message_id: UUID, stored: Stored, wrong: str
    ) -> None:
        """Also one that was right an hour ago."""
        await secret("mailgun", "mailgun-key")
        skew = {"old": -timedelta(hours=1), "future": timedelta(hours=1)}.get(wrong, timedelta(0))
        body = self.body(self.failure(message_id), clock() + skew, "other" if wrong == "key" else "mailgun-key")
        if wrong == "unsigned":
            del body["signature"]
        if wrong == "tampered":
            body["signature"]["token"] += "0"
        answer = await anyone.post("/webhooks/mailgun/mugs", json=body)

        assert answer.status_code == 401
        assert await stored() == []

    @pytest.mark.skipif(not DATA.exists(), reason="the payloads are not beside the project")
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("permanent_failure", [("Email Bounced", "gone")]),
            ("temporary_failure", []),
            ("spam_complaints", [("Email Complained", "complained")]),
            ("clicks", []),
        ],
    )
    async def test_mailgun_s_own_payloads_are_understood(
        self, anyone: httpx.AsyncClient, secret: Any, clock: SteppedClock, stored: Stored, engine: AsyncEngine,
        store: Shop, name: str, expected: Any,
    ) -> None:  # fmt: skip
        """Signed here with a key of our own; Alice is a customer who was never written to."""
        await secret("mailgun", "mailgun-key")
        person = {"store_id": "mugs", "customer_id": uuid4(), "email": "alice@example.com", "created_at": clock()}
        async with as_owner(engine) as connection:
            await connection.execute(insert(customers).values(person))
        told = json.loads((DATA / f"mailgun_{name}.json").read_bytes())["event-data"]
        answer = await anyone.post("/webhooks/mailgun/mugs", json=self.body(told, clock()))

        assert answer.status_code == 200
        assert [(name, kind) for name, kind, _ in facts(await stored())] == expected


class TestSendGrid:
    """ECDSA over the timestamp and the raw body."""

    key = ec.generate_private_key(ec.SECP256R1())

    def public(self) -> str:
        """Show the key as SendGrid does."""
        der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def headers(self, body: bytes, at: datetime) -> dict[str, str]:
        """Sign a body."""
        timestamp = str(int(at.timestamp()))
        signature = self.key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        return {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }

    async def test_a_batch_is_understood_event_by_event(
        self, anyone: httpx.AsyncClient, secret: Any, clock: SteppedClock, message_id: UUID, stored: Stored
    ) -> None:
        """A body ends as SendGrid ends it; the signature covers that too. Each event is stored once."""
        await secret("sendgrid", self.public())
        common = {"email": "ada@example.com", "timestamp": 1600112492, "smtp-id": f"<{message_id.hex}@mugs.test>"}
        told = [
            {**common, "event": "processed", "sg_event_id": "a"},
            {**common, "event": "delivered", "sg_event_id": "b"},
            {**common, "event": "bounce", "sg_event_id": "c", "status": "5.1.1", "reason": "550 5.1.1 user unknown"},
            {**common, "event": "bounce", "type": "blocked", "sg_event_id": "d", "reason": "550 5.1.1 blocked"},
            {**common, "event": "dropped", "sg_event_id": "e", "reason": "Bounced Address"},
            {**common, "event": "spamreport", "sg_event_id": "f"},
            "nonsense",
        ]
        body = json.dumps(told).encode() + b"\r\n"
        for _ in range(2):
            answer = await anyone.post("/webhooks/sendgrid/mugs", content=body, headers=self.headers(body, clock()))
            assert answer.status_code == 200

        assert facts(await stored()) == [
            ("Email Delivered", "delivered", str(message_id)),
            ("Email Bounced", "gone", str(message_id)),
            ("Email Bounced", "refused", str(message_id)),
            ("Email Bounced", "gone", str(message_id)),
            ("Email Complained", "complained", str(message_id)),
        ]

    async def test_a_body_that_was_changed_is_401(
        self, anyone: httpx.AsyncClient, secret: Any, clock: SteppedClock, stored: Stored
    ) -> None:
        """One blank more is another body; so are no signature, another timestamp and an old one."""
        await secret("sendgrid", self.public())
        body = b'[{"event":"bounce","email":"ada@example.com","sg_event_id":"c"}]'
        good, old = self.headers(body, clock()), self.headers(body, clock() - timedelta(days=3))
        moved = {**good, "X-Twilio-Email-Event-Webhook-Timestamp": str(int(clock().timestamp()) + 1)}
        for content, headers in ((body + b" ", good), (body, {}), (body, moved), (body, old)):
            answer = await anyone.post("/webhooks/sendgrid/mugs", content=content, headers=headers)
            assert answer.status_code == 401
        assert await stored() == []


class TestPostmark:
    """Basic authentication; there is no signature."""

    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            ({"RecordType": "Bounce", "Type": "HardBounce"}, [("Email Bounced", "gone")]),
            ({"RecordType": "Bounce", "Type": "SoftBounce"}, [("Email Bounced", "not_now")]),
            ({"RecordType": "Bounce", "Type": "AutoResponder"}, []),
            ({"RecordType": "SpamComplaint", "Type": "SpamComplaint"}, [("Email Complained", "complained")]),
            ({"RecordType": "Open"}, []),
        ],
    )
    async def test_a_record_is_understood(
        self, anyone: httpx.AsyncClient, secret: Any, message_id: UUID, stored: Stored, told: Any, expected: Any
    ) -> None:
        """Postmark gives messages ids of its own, so the address finds the newest message to it."""
        await secret("postmark", "hook:a-long-password")
        body = {"ID": 42, "Email": "Ada@Example.com", "BouncedAt": "2026-01-15T11:00:00.1234567Z", **told}
        answer = await anyone.post("/webhooks/postmark/mugs", json=body, auth=("hook", "a-long-password"))

        assert answer.status_code == 200
        assert facts(await stored()) == [(name, kind, str(message_id)) for name, kind in expected]

    async def test_a_wrong_password_is_401(self, anyone: httpx.AsyncClient, secret: Any, stored: Stored) -> None:
        """So is none."""
        await secret("postmark", "hook:a-long-password")
        body = {"RecordType": "Bounce", "Type": "HardBounce", "Email": "ada@example.com"}
        for auth in (None, ("hook", "wrong"), ("a-long-password", "hook")):
            assert (await anyone.post("/webhooks/postmark/mugs", json=body, auth=auth)).status_code == 401
        assert await stored() == []


class Amazon:
    """SNS with an authority of its own."""

    key = rsa.generate_private_key(65537, 2048)

    def __init__(self, name: str = "sns.amazonaws.com", authority: "Amazon | None" = None) -> None:
        self.root_key = authority.root_key if authority else ec.generate_private_key(ec.SECP256R1())
        self.root = (
            authority.root if authority else self._issue("Root", self.root_key.public_key(), None, self.root_key)
        )
        self.between_key = ec.generate_private_key(ec.SECP256R1())
        self.between = self._issue("Between", self.between_key.public_key(), self.root, self.root_key)
        self.certificate = self._issue(name, self.key.public_key(), self.between, self.between_key)
        self.fetched: list[str] = []
        self.down = False

    def _issue(self, name: str, key: Any, issuer: x509.Certificate | None, by: Any) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        above, authority = issuer.subject if issuer else subject, "." not in name
        builder = x509.CertificateBuilder(above, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(datetime(2025, 6, 1)).not_valid_after(datetime(2026, 6, 1))  # noqa: DTZ001
        signs, certifies = not authority, authority
        usage = x509.KeyUsage(signs, False, False, False, False, certifies, certifies, False, False)
        known = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
        builder = builder.add_extension(usage, critical=True).add_extension(known, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        if authority:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        else:
            where = x509.UniformResourceIdentifier(ISSUER)
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(by, SHA256())

    async def get(self, url: str) -> bytes:
        """Serve a certificate, or note that a subscription was confirmed."""
        if self.down:
            raise Unavailable
        self.fetched.append(url)
        return self.between.public_bytes(Encoding.DER) if url == ISSUER else self.certificate.public_bytes(Encoding.PEM)

    def verifier(self) -> SnsVerifier:
        """Trust this authority only."""
        return SnsVerifier(self.get, [self.root])

    def signed(self, version: str = "1", **fields: str) -> dict[str, str]:
        """Sign a message as SNS does."""
        message = {
            "Type": "Notification", "MessageId": "22b80b92", "TopicArn": TOPIC, "Message": "{}",
            "Timestamp": "2026-01-15T12:00:00.000Z", "SignatureVersion": version, "SigningCertURL": CERTIFICATE,
        } | fields  # fmt: skip
        names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), SHA1() if version == "1" else SHA256())  # noqa: S303
        return message | {"Signature": base64.b64encode(signature).decode()}


@pytest.fixture(scope="module")
def keys_of_amazon() -> Amazon:
    """Made once: RSA keys take their time."""
    return Amazon()


@pytest.fixture
def amazon(app: FastAPI, keys_of_amazon: Amazon) -> Amazon:
    """SNS, trusted by the API of the test."""
    keys_of_amazon.fetched, keys_of_amazon.down = [], False
    app.state.services = replace(app.state.services, sns=keys_of_amazon.verifier())
    return keys_of_amazon


def ses(message_id: UUID, **bounce: Any) -> str:
    """Write a bounce in the form of SES."""
    recipient = {"emailAddress": "Ada <ada@example.com>", "status": "5.1.1", "diagnosticCode": "smtp; 550 user unknown"}
    about = {
        "feedbackId": "0100-1", "bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": [recipient],
        "timestamp": "2026-01-15T11:59:00.000Z",
    } | bounce  # fmt: skip
    headers = [{"name": "Message-ID", "value": f"<{message_id.hex}@mugs.test>"}]
    return json.dumps({"notificationType": "Bounce", "bounce": about, "mail": {"messageId": "0", "headers": headers}})


class TestSes:
    """Through SNS, whose certificate is verified too."""

    @pytest.mark.parametrize("version", ["1", "2"])
    async def test_a_bounce_is_stored_once(
        self, anyone: httpx.AsyncClient, secret: Any, amazon: Amazon, message_id: UUID, stored: Stored, version: str
    ) -> None:
        """Both versions of the signature; the certificate is fetched once for many messages."""
        await secret("ses", TOPIC)
        for subject in ({}, {"Subject": "Amazon SES Email Event Notification"}):
            body = json.dumps(amazon.signed(version, Message=ses(message_id), **subject))
            answer = await anyone.post("/webhooks/ses/mugs", content=body, headers={"content-type": "text/plain"})
            assert answer.status_code == 200

        assert facts(await stored()) == [("Email Bounced", "gone", str(message_id))]
        assert amazon.fetched == [CERTIFICATE, ISSUER]

    @pytest.mark.parametrize(
        ("bounce", "kind"),
        [
            ({"bounceType": "Transient", "bounceSubType": "MailboxFull"}, "not_now"),
            ({"bounceType": "Transient", "bounceSubType": "ContentRejected"}, "refused"),
            ({"bounceSubType": "OnAccountSuppressionList"}, "gone"),
            (
                {"bouncedRecipients": [{"emailAddress": "ada@example.com", "status": "5.7.1",
                                        "diagnosticCode": "smtp; 554 5.7.1 <ada@example.com>: Relay access denied"}]},
                "refused",
            ),
        ],
    )  # fmt: skip
    async def test_what_ses_calls_permanent_may_not_be_the_address(
        self, anyone: httpx.AsyncClient, secret: Any, amazon: Amazon, message_id: UUID, stored: Stored, bounce: Any,
        kind: str,
    ) -> None:  # fmt: skip
        """The words of the recipient's server decide."""
        await secret("ses", TOPIC)
        await anyone.post("/webhooks/ses/mugs", json=amazon.signed(Message=ses(message_id, **bounce)))

        assert facts(await stored()) == [("Email Bounced", kind, str(message_id))]

    async def test_a_subscription_to_our_topic_is_confirmed(
        self, anyone: httpx.AsyncClient, secret: Any, amazon: Amazon, stored: Stored
    ) -> None:
        """By following the link, if it leads to Amazon."""
        await secret("ses", TOPIC)
        link = f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336"
        for url, status in ((link, 200), ("https://evil.test/?Action=ConfirmSubscription&Token=1", 401)):
            asked = {"Type": "SubscriptionConfirmation", "Token": "2336", "SubscribeURL": url}
            answer = await anyone.post("/webhooks/ses/mugs", json=amazon.signed(**asked))
            assert answer.status_code == status

        assert amazon.fetched == [CERTIFICATE, ISSUER, link]
        assert await stored() == []

    @pytest.mark.parametrize(
        "change",
        [
            {"Message": '{"notificationType":"Bounce"}'},
            {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:another"},
            {
                "SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.test/SimpleNotificationService-0123456789abcdef.pem"
            },
            {"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"},
            {"SignatureVersion": "3"},
            {"Signature": "bm90IGE="},
            {"Type": "Something"},
        ],
    )
    async def test_what_sns_did_not_write_is_401(
        self, anyone: httpx.AsyncClient, secret: Any, amazon: Amazon, stored: Stored, change: Any
    ) -> None:
        """A changed message, a foreign topic, a certificate from elsewhere."""
        await secret("ses", TOPIC)
        answer = await anyone.post("/webhooks/ses/mugs", json=amazon.signed() | change)

        assert answer.status_code == 401
        assert await stored() == []

    async def test_a_certificate_that_has_run_out_is_401(
        self, anyone: httpx.AsyncClient, secret: Any, amazon: Amazon, clock: SteppedClock
    ) -> None:
        """By the clock of the server, not by the message's own word."""
        await secret("ses", TOPIC)
        clock.advance(timedelta(days=200))

        assert (await anyone.post("/webhooks/ses/mugs", json=amazon.signed())).status_code == 401

    @pytest.mark.parametrize("name", ["sns.amazonaws.com", "evil.test"])
    async def test_a_certificate_of_another_authority_or_for_another_name_is_401(
        self, anyone: httpx.AsyncClient, secret: Any, amazon: Amazon, app: FastAPI, name: str
    ) -> None:
        """Whoever can put a certificate on Amazon's host has not yet got Amazon's name on it."""
        await secret("ses", TOPIC)
        stranger = Amazon() if name == "sns.amazonaws.com" else Amazon(name, amazon)
        app.state.services = replace(app.state.services, sns=SnsVerifier(stranger.get, [amazon.root]))

        assert (await anyone.post("/webhooks/ses/mugs", json=stranger.signed())).status_code == 401

    async def test_a_certificate_that_cannot_be_fetched_now_is_503(
        self, anyone: httpx.AsyncClient, secret: Any, amazon: Amazon
    ) -> None:
        """SNS repeats after a 5xx, and gives up after a 4xx."""
        await secret("ses", TOPIC)
        amazon.down = True

        assert (await anyone.post("/webhooks/ses/mugs", json=amazon.signed())).status_code == 503


async def test_a_store_without_a_secret_takes_nothing(anyone: httpx.AsyncClient, store: Shop, stored: Stored) -> None:
    """Neither does a store or a provider that there is not."""
    answers = [await anyone.post(f"/webhooks/{where}", json={}) for where in ("postmark/mugs", "ses/pots", "acme/mugs")]

    assert [answer.status_code for answer in answers] == [401, 401, 400]
    assert await stored() == []


async def test_what_is_about_nobody_we_know_is_taken_and_forgotten(
    anyone: httpx.AsyncClient, secret: Any, stored: Stored
) -> None:
    """Providers tell of all mail of an account, of other systems too."""
    await secret("postmark", "hook:a-long-password")
    body = {"RecordType": "Bounce", "Type": "HardBounce", "Email": "stranger@example.com", "ID": 1}
    answer = await anyone.post("/webhooks/postmark/mugs", json=body, auth=("hook", "a-long-password"))

    assert answer.status_code == 200
    assert await stored() == []


async def test_a_client_cannot_say_that_a_message_came_back(
    client: httpx.AsyncClient, engine: AsyncEngine, message_id: UUID, stored: Stored
) -> None:
    """A write key is public; the event is stored like any other, and means nothing."""
    from domain.decoding import facts as decoded
    from domain.events import Event, Who

    body = {"event": "Email Bounced", "userId": "ada", "messageId": "feedback:forged",
            "properties": {"message_id": str(message_id), "bounce": "gone", "address": "ada@example.com"}}  # fmt: skip
    assert (await client.post("/v1/track", json=body)).status_code == 200

    (row,) = await stored()
    assert row.customer_id is None
    event = Event(
        store_id="mugs", id=row.id, message_id=row.message_id, type="track", name=row.name, who=Who(user_id="ada"),
        payload=row.payload, at=datetime(2026, 1, 15, tzinfo=UTC), received_at=datetime(2026, 1, 15, tzinfo=UTC),
    )  # fmt: skip
    assert decoded(event) == []
