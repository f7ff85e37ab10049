"""Messages of Amazon SNS, verified (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).

A signature proves nothing before its certificate does: it is fetched only from Amazon's own hosts over TLS, must have
been issued to a host name of SNS by an authority that browsers trust, and must be valid now.
"""

import re
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import certifi
import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from domain.errors import NotAuthorised, Unavailable

Fetch = Callable[[str], Awaitable[bytes]]

_HOST = r"https://sns\.[a-z0-9-]{3,30}\.amazonaws\.com(?:\.cn)?"
# Newer regions sign under names of their own.
_NAME = re.compile(r"sns(?:-signing)?(?:[.-][a-z0-9-]{3,30})?\.amazonaws\.com(?:\.cn)?")
_CERTIFICATE = re.compile(rf"{_HOST}/SimpleNotificationService-[0-9a-f]{{16,64}}\.pem")
_SUBSCRIBE = re.compile(rf"{_HOST}/\?Action=ConfirmSubscription&[\w=&%:.-]+")
_ISSUER = re.compile(r"http://(?:crt|crl)\.[a-z0-9.]{0,30}amazontrust\.com/[\w./-]+\.(?:cer|crt|pem)")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - version 1 is what SNS signs with unless it is told otherwise
_KEPT_S = 3600.0


async def fetch(url: str) -> bytes:
    """Get a page of Amazon's, without following it elsewhere.

    Raises:
        Unavailable: It cannot be had now.
    """
    try:
        async with httpx.AsyncClient(timeout=5, follow_redirects=False) as client:
            answer = await client.get(url)
            answer.raise_for_status()
    except httpx.HTTPError as problem:
        raise Unavailable("Amazon SNS does not answer; send it again") from problem
    return answer.content


class SnsVerifier:
    """Verify messages; certificates are kept for an hour."""

    def __init__(self, get: Fetch = fetch, roots: list[x509.Certificate] | None = None) -> None:
        """Wire the verifier.

        Args:
            get: Fetches a certificate.
            roots: The authorities to trust; None for those that browsers trust.
        """
        self._get = get
        self._roots = roots
        self._kept: dict[str, tuple[rsa.RSAPublicKey, float]] = {}

    async def verify(self, message: dict[str, Any], now: datetime) -> None:
        """Make sure that SNS wrote a message.

        Raises:
            NotAuthorised: It did not, or that cannot be proved.
            Unavailable: The certificate cannot be fetched now.
        """
        names = _SIGNED.get(str(message.get("Type")))
        digest = _HASHES.get(str(message.get("SignatureVersion")))
        url = message.get("SigningCertURL")
        if names is None or digest is None or not isinstance(url, str) or not _CERTIFICATE.fullmatch(url):
            raise NotAuthorised
        signed = "".join(f"{name}\n{message[name]}\n" for name in names if isinstance(message.get(name), str))
        key = await self._key(url, now)
        try:
            signature = b64decode(str(message.get("Signature")), validate=True)
            key.verify(signature, signed.encode(), padding.PKCS1v15(), digest)
        except (InvalidSignature, ValueError) as problem:
            raise NotAuthorised from problem

    async def confirm(self, message: dict[str, Any]) -> None:
        """Confirm a subscription whose message has been verified.

        Raises:
            NotAuthorised: The link leads elsewhere.
            Unavailable: SNS does not answer now.
        """
        url = message.get("SubscribeURL")
        if not isinstance(url, str) or not _SUBSCRIBE.fullmatch(url):
            raise NotAuthorised
        await self._get(url)

    async def _key(self, url: str, now: datetime) -> rsa.RSAPublicKey:
        key, until = self._kept.get(url, (None, 0.0))
        if key is not None and until > time.monotonic():
            return key
        key = await self._verified(await self._get(url), now)
        self._kept = {url: (key, time.monotonic() + _KEPT_S)} | {
            k: v for k, v in list(self._kept.items())[-8:] if k != url
        }
        return key

    async def _verified(self, pem: bytes, now: datetime) -> rsa.RSAPublicKey:
        try:
            leaf, *between = x509.load_pem_x509_certificates(pem)
            trusted = self._roots or x509.load_pem_x509_certificates(certifi.contents().encode())
            policy = PolicyBuilder().store(Store(trusted)).time(now)
            if not between:  # SNS serves the certificate alone; it names where its issuer's is
                between = await self._issuers(leaf)
            named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            name = next((name for name in named.get_values_for_type(x509.DNSName) if _NAME.fullmatch(name)), "")
            policy.build_server_verifier(x509.DNSName(name)).verify(leaf, between)
        except (ValueError, x509.ExtensionNotFound, VerificationError) as problem:
            raise NotAuthorised from problem
        key = leaf.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise NotAuthorised
        return key

    async def _issuers(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        try:
            access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        except x509.ExtensionNotFound:
            return []
        urls = [
            one.access_location.value
            for one in access
            if isinstance(one.access_location, x509.UniformResourceIdentifier)
        ]
        return [x509.load_der_x509_certificate(await self._get(url)) for url in urls if _ISSUER.fullmatch(url)]
