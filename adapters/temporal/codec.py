"""The payload codec: what Temporal keeps of a run is encrypted with the key of the run's customer.

Inputs, results, signals, updates, queries, memos, summaries, details and failures all pass through here; ids, types,
search attributes and names of timers do not (ADR 0007 keeps personal data out of those). A payload says which key it
needs, and its ciphertext is bound to that key's name. What was not encrypted is passed on as it is, so histories from
before, and those recorded for replay, stay readable.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from adapters.master_keys import NONCE_BYTES, MasterKeys
from adapters.postgres.customer_keys import CustomerKeys, Owner
from adapters.settings import Settings
from domain import ids
from domain.errors import InvalidInput
from domain.ports import Clock

ENCODING: Final = b"binary/encrypted"
KEY_ID: Final = "encryption-key-id"
_NOBODY = Owner(store_id="-")


class Keys(Protocol):
    """Where the codec has its keys from (adapters.postgres.customer_keys.CustomerKeys)."""

    async def made(self, owner: Owner) -> bytes:
        """Return a key to encrypt with."""
        ...

    async def existing(self, owner: Owner) -> bytes:
        """Return a key to decrypt with."""
        ...


class CustomerCodec(PayloadCodec, WithSerializationContext):
    """Encrypt with the key of whoever the workflow is about (AES-256-GCM).

    Args:
        keys: Reads and makes keys.
        owner: Whose key encrypts; the SDK gives it with each workflow (`with_context`). None: nothing is encrypted.
    """

    def __init__(self, keys: Keys, owner: Owner | None = _NOBODY) -> None:
        self._keys = keys
        self._owner = owner

    def with_context(self, context: SerializationContext) -> Self:
        """Return the codec of one workflow."""
        if not isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
            return self
        if context.workflow_id is None:
            return self
        if ids.about_no_store(context.workflow_id):
            # It counts rows of every store and names nobody, and no store's key may open what is another's.
            return type(self)(self._keys, None)
        return type(self)(self._keys, owner_of(context.workflow_id))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt; an erased customer's key is gone, and with it the way to write anything about them."""
        if not payloads or self._owner is None:
            return list(payloads)
        name = self._owner.name.encode()
        cipher = AESGCM(await self._keys.made(self._owner))
        return [_encrypted(payload, cipher, name) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt what is encrypted.

        Raises:
            NotFound: It was about a customer who has been erased.
            InvalidInput: It was tampered with.
        """
        return [await self._decoded(payload) for payload in payloads]

    async def _decoded(self, payload: Payload) -> Payload:
        owner = encrypted_for(payload.metadata)
        if owner is None:
            return payload
        nonce, ciphertext = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        cipher = AESGCM(await self._keys.existing(owner))
        try:
            return Payload.FromString(cipher.decrypt(nonce, ciphertext, owner.name.encode()))
        except (InvalidTag, DecodeError, ValueError) as problem:
            raise InvalidInput("payload", "is not what was encrypted") from problem


def customer_codec(settings: Settings, engine: AsyncEngine, clock: Clock) -> CustomerCodec | None:
    """Make the codec that the settings ask for; None without master keys: nothing is encrypted then."""
    secrets = settings.master_secrets()
    return CustomerCodec(CustomerKeys(engine, MasterKeys(secrets), clock)) if secrets else None


def encrypted_for(metadata: Mapping[str, bytes]) -> Owner | None:
    """Tell whose key a payload needs; None if it is not encrypted.

    Raises:
        InvalidInput: It names no key of ours.
    """
    if metadata.get("encoding") != ENCODING:
        return None
    try:
        store_id, _, customer = metadata.get(KEY_ID, b"").decode().rpartition("/")
        return Owner(store_id=store_id, customer_id=None if customer == "-" else UUID(customer))
    except ValueError as problem:
        raise InvalidInput("payload", "names no key of ours") from problem


def owner_of(workflow_id: str) -> Owner:
    """Tell whose key encrypts what a workflow is about."""
    store_id, customer_id = ids.about(workflow_id)
    return Owner(store_id=store_id, customer_id=customer_id)


def _encrypted(payload: Payload, cipher: AESGCM, name: bytes) -> Payload:
    nonce = os.urandom(NONCE_BYTES)
    data = nonce + cipher.encrypt(nonce, payload.SerializeToString(), name)
    return Payload(metadata={"encoding": ENCODING, KEY_ID: name}, data=data)
