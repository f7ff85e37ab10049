"""Receipts: what an erasure did, signed, so that a store can show years later that it was done and when."""

import hashlib
import hmac
from collections.abc import Sequence
from uuid import UUID

from pydantic import ValidationError

from domain.errors import InvalidInput
from domain.operations import Operator
from domain.values import UtcTime, Value


class Receipt(Value):
    """One erasure; it names the customer by our opaque id only.

    Attributes:
        rows: How many rows were deleted or stripped of the person, by table.
        runs_ended: Workflows that were under way.
        keys_destroyed: Keys without which the histories in Temporal are noise; 0 where nothing was encrypted.
        signature: HMAC-SHA256 over all the rest.
    """

    store_id: str
    customer_id: UUID
    erased_at: UtcTime
    by: Operator
    rows: dict[str, int]
    runs_ended: int
    keys_destroyed: int
    signature: str = ""


class Notary:
    """Sign receipts, and tell whether one was signed here; the first secret signs, all verify."""

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ValueError("there must be a signing secret")
        self._secrets = [secret.encode() for secret in secrets]

    def signed(self, receipt: Receipt) -> Receipt:
        """Return a receipt with its signature."""
        return receipt.model_copy(update={"signature": _mac(self._secrets[0], receipt)})

    def verified(self, written: str | bytes) -> Receipt:
        """Read a receipt.

        Raises:
            InvalidInput: It is none, was changed, or was not signed with any of our secrets.
        """
        try:
            receipt = Receipt.model_validate_json(written)
        except ValidationError as problem:
            raise InvalidInput("receipt", "is not a receipt") from problem
        shown = receipt.signature.encode()
        if not any(hmac.compare_digest(shown, _mac(secret, receipt).encode()) for secret in self._secrets):
            raise InvalidInput("receipt", "was not signed here, or was changed")
        return receipt


def _mac(secret: bytes, receipt: Receipt) -> str:
    unsigned = receipt.model_copy(update={"signature": "", "rows": dict(sorted(receipt.rows.items()))})
    return hmac.new(secret, b"journeys-receipt\0" + unsigned.model_dump_json().encode(), hashlib.sha256).hexdigest()
