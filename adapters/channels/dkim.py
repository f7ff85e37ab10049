"""DKIM: sign the bytes of a mail, so that its reader's server knows that the shop stands behind it.

RFC 6376, relaxed/relaxed; RSA with SHA-256, and Ed25519 (RFC 8463). Not a library, because the one there is signs with
RSA in pure Python (docs/adr/0030-dkim.md); it is the verifier in our tests instead.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from domain.values import Value

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]

SIGNED = (
    "from", "to", "subject", "date", "message-id", "mime-version", "content-type",
    "list-id", "feedback-id", "auto-submitted", "list-unsubscribe", "list-unsubscribe-post",
)  # fmt: skip
"""The headers that a signature covers where they exist; RFC 8058 §4 wants the last two among them."""
_SEALED = ("from", "to", "subject", "date", "message-id", "list-unsubscribe", "list-unsubscribe-post")
"""Named once more than they exist, so that nobody can add another one (RFC 6376 §8.15)."""
_RSA_BITS = 2048  # 4096 does not fit into the 512 bytes of a plain DNS answer


class SigningKey(Value):
    """A key that signs for a domain.

    Attributes:
        private: PKCS #8, DER.
    """

    domain: str
    selector: str
    algorithm: Algorithm
    private: bytes


class KeyPair(Value):
    """A new key.

    Attributes:
        private: PKCS #8, DER.
        public: As it stands in DNS, base64.
    """

    private: bytes
    public: str


class SigningKeys(Protocol):
    """The keys that sign (adapters/postgres/dkim_keys.py)."""

    async def signing(self, store_id: str, host: str) -> Sequence[SigningKey]:
        """Return the keys that sign a store's mail from a host. Raises Unavailable, ConfigurationError."""
        ...


def new_key(algorithm: Algorithm) -> KeyPair:
    """Make a key."""
    encoding, subject = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == "rsa-sha256":
        key = rsa.generate_private_key(65537, _RSA_BITS)
        public = key.public_key().public_bytes(encoding.DER, subject)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()  # the key alone (RFC 8463 §4.2)
    private = key.private_bytes(encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(private=private, public=base64.b64encode(public).decode())


def record(algorithm: Algorithm, public: str) -> str:
    """Return what must stand in DNS at `{selector}._domainkey.{domain}` (RFC 6376 §3.6.1)."""
    return f"v=DKIM1; k={algorithm.partition('-')[0]}; p={public}"


def signed(raw: bytes, keys: Sequence[SigningKey], at: int) -> bytes:
    """Put a signature of each key before a mail.

    Args:
        raw: The mail as it goes over the wire, lines ended by CRLF.
        keys: None leave the mail as it is.
        at: The time of the signature, in seconds since 1970.
    """
    if not keys:
        return raw
    head, _, body = raw.partition(b"\r\n\r\n")
    headers = _headers(head)
    digest = base64.b64encode(hashlib.sha256(_relaxed_body(body)).digest()).decode()
    return b"".join(_signature(key, headers, digest, at) for key in keys) + raw


def _signature(key: SigningKey, headers: Sequence[tuple[str, bytes]], digest: str, at: int) -> bytes:
    present = {name for name, _ in headers}
    names = [name for name in SIGNED if name in present] + [name for name in _SEALED if name in present]
    fields = (
        f"v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain}; s={key.selector}; t={at};",
        f"h={':'.join(names)};",
        f"bh={digest};",
        "b=",
    )
    unsigned = "DKIM-Signature: " + "\r\n\t".join(fields)
    data = b"".join(_chosen(headers, names)) + _relaxed_header(unsigned.encode())
    signature = base64.b64encode(_sign(key, data)).decode()
    return (unsigned + "\r\n\t".join(_pieces(signature))).encode() + b"\r\n"


def _sign(key: SigningKey, data: bytes) -> bytes:
    private = _opened(key.private)
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, padding.PKCS1v15(), SHA256())
    return private.sign(hashlib.sha256(data).digest())  # RFC 8463 §3: the hash is what is signed


@lru_cache(maxsize=256)  # opening a key costs more than signing with it
def _opened(private: bytes) -> rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey:
    key = serialization.load_der_private_key(private, password=None)
    if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise TypeError(f"no DKIM key: {type(key).__name__}")
    return key


def _headers(head: bytes) -> list[tuple[str, bytes]]:
    """Split the head into its fields, folded as they are."""
    fields = re.split(rb"\r\n(?![ \t])", head)
    return [(field.partition(b":")[0].strip().lower().decode("ascii", "replace"), field) for field in fields]


def _chosen(headers: Sequence[tuple[str, bytes]], names: Sequence[str]) -> list[bytes]:
    """Choose the fields that are signed: of several with one name the last first (RFC 6376 §5.4.2)."""
    left = list(headers)
    chosen = []
    for name in names:
        place = next((i for i in range(len(left) - 1, -1, -1) if left[i][0] == name), None)
        if place is not None:
            chosen.append(_relaxed_header(left.pop(place)[1]) + b"\r\n")
    return chosen


def _relaxed_header(field: bytes) -> bytes:
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + _single_spaced(value.replace(b"\r\n", b"")).strip(b" ")


def _relaxed_body(body: bytes) -> bytes:
    lines = _single_spaced(body + b"\r\n").replace(b" \r\n", b"\r\n").split(b"\r\n")
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def _single_spaced(text: bytes) -> bytes:
    """Return a text with one space for each run of spaces and tabs. A pattern would call for each single space."""
    text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text


def _pieces(text: str, width: int = 72) -> list[str]:
    return [text[n : n + width] for n in range(0, len(text), width)]
