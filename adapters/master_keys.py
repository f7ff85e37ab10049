"""Master keys: they wrap the data keys of customers, and nothing else.

The first wraps, all unwrap, so that a new one can be put in front, the data keys be wrapped anew, and the old one go.
"""

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.errors import ConfigurationError

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
