"""Master keys: they wrap the data keys of customers, and seal what providers let us prove ourselves with.

The first wraps, all unwrap, so that a new one can be put in front, the data keys be wrapped anew, and the old one go.
"""

import base64
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.errors import ConfigurationError

SEALED = "sealed:"
"""How a sealed text begins; what follows names its master key."""
NONCE_BYTES = 12
"""Random nonces of this length are safe for 2^32 messages of one key (NIST SP 800-38D §8.3)."""


class MasterKeys:
    """Wrap and unwrap data keys (AES-256-GCM).

    Args:
        secrets: The newest first; each is stretched to a key of its own.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ValueError("there must be a master key")
        derived = [HKDF(SHA256(), 32, salt=None, info=b"journeys master key").derive(s.encode()) for s in secrets]
        self._keys = {hashlib.sha256(key).hexdigest()[:16]: AESGCM(key) for key in derived}
        self.newest = next(iter(self._keys))

    def wrap(self, key: bytes, owner: str) -> bytes:
        """Wrap a data key with the newest master key, so that it opens for its owner only."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._keys[self.newest].encrypt(nonce, key, owner.encode())

    def unwrap(self, wrapped: bytes, owner: str, master: str) -> bytes:
        """Return a data key.

        Raises:
            ConfigurationError: The master key that wrapped it is not among ours, or the row was tampered with.
        """
        if master not in self._keys:
            raise ConfigurationError(f"JOURNEYS_MASTER_KEYS lacks the key {master} that wrapped a data key")
        try:
            return self._keys[master].decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], owner.encode())
        except InvalidTag as problem:
            raise ConfigurationError("a data key was not wrapped for its owner") from problem

    def seal(self, secret: str, owner: str) -> str:
        """Encrypt a secret for a column of text, so that it opens for its owner only."""
        wrapped = base64.urlsafe_b64encode(self.wrap(secret.encode(), owner)).decode()
        return f"{SEALED}{self.newest}:{wrapped}"

    def sealed_with_newest(self, kept: str) -> bool:
        """Tell whether a kept secret needs no other seal."""
        return kept.startswith(f"{SEALED}{self.newest}:")

    def unseal(self, kept: str, owner: str) -> str:
        """Return a secret; one that was kept before there was a master key is returned as it is.

        Raises:
            ConfigurationError: The master key that sealed it is not among ours, or the row was tampered with.
        """
        if not kept.startswith(SEALED):
            return kept
        master, wrapped = kept.removeprefix(SEALED).split(":", 1)
        return self.unwrap(base64.urlsafe_b64decode(wrapped), owner, master).decode()
