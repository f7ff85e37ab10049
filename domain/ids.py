"""Every identifier and dedup key, built in one place so that a format can never drift and send twice.

The literal forms are pinned by tests/domain/test_ids.py. Ids are opaque: no name or address is ever part
of one (G8).
"""

import base64
import hashlib
import re
import uuid
from datetime import UTC, datetime, timedelta
from uuid import UUID

_NAMESPACE = UUID("6f1c7a52-0d0e-5b7a-9a54-6a6f75726e79")
_RETURN_PATH = re.compile(r"[^@+]*\+(?:(?P<message>[a-z2-7]{26})\.)?(?P<store>[a-z0-9][a-z0-9-]{0,39})@[^@]+")
SHARDS = 64
"""How many ordered lanes the events of all stores are spread over."""
_ABOUT_NOBODY = ("stock-waves", "rollout")
RETENTION = "journeys-retention"
"""The one schedule, whose workflows are about all stores; Temporal appends the time to their names."""
NO_STORE = "-"
"""What stands for the store where a workflow belongs to none; no store can have that id."""
_EPOCH = datetime.fromtimestamp(0, UTC)


def run_id(workflow_id: str, trigger: str) -> UUID:
    """Derive the id of a run from what caused it, so that a repeated event asks for the same run.

    Args:
        workflow_id: `{store}/{journey}/{customer}[/{product}]`.
        trigger: What began the run: an order id, an event id.
    """
    return uuid.uuid5(_NAMESPACE, f"run:{workflow_id}:{trigger}")


def workflow_id(store_id: str, journey: str, customer_id: UUID | str, product_id: str | None = None) -> str:
    """Name the one workflow that a customer can have in a journey (and about a product)."""
    parts = [store_id, journey, str(customer_id)]
    if product_id is not None:
        parts.append(_opaque(product_id))
    return "/".join(parts)


def waves_id(store_id: str, product_id: str) -> str:
    """Name the one workflow that releases the waiting customers of a product."""
    return f"{store_id}/stock-waves/{_opaque(product_id)}"


def rollout_id(store_id: str, journey: str, what: str) -> str:
    """Name the one workflow that tells a journey's runs of a change: of a plan (`v4`) or of the end of a pause."""
    return f"{store_id}/rollout/{journey}/{what}"


def about(workflow_id: str) -> tuple[str, UUID | None]:
    """Tell which store a workflow belongs to, and which customer it is about; waves and rollouts are about none.

    A run that was joined from another identity keeps the name, and so the customer, that it began with. A workflow
    whose name has no parts belongs to no store.
    """
    store_id, slash, rest = workflow_id.partition("/")
    if not slash:
        return NO_STORE, None
    parts = rest.split("/")
    position = 2 if parts[0] == "follow-up" else 1
    if parts[0] in _ABOUT_NOBODY or len(parts) <= position:
        return store_id, None
    try:
        return store_id, UUID(parts[position])
    except ValueError:
        return store_id, None


def first_made_at(moment: datetime) -> UUID:
    """Return the smallest id that can be made at a moment: ids of ours begin with their millisecond (RFC 9562 §5.7)."""
    return UUID(int=max((moment - _EPOCH) // timedelta(milliseconds=1), 0) << 80)


def made_at(made: UUID) -> datetime:
    """Tell when an id of ours was made (UUIDv7), or where `first_made_at` points."""
    return _EPOCH + timedelta(milliseconds=made.int >> 80)


def about_no_store(workflow_id: str) -> bool:
    """Tell whether a workflow is one of the schedule's; the same name before a slash would be a store's."""
    return workflow_id.startswith(RETENTION) and "/" not in workflow_id


def message_id(run: UUID, step: str) -> UUID:
    """Derive the id of the one message that a run may send at a step (G3)."""
    return uuid.uuid5(_NAMESPACE, f"message:{run}:{step}")


def rfc_message_id(message: UUID, domain: str) -> str:
    """Build the Message-ID header: the same for every attempt at one message (RFC 5322 §3.6.4)."""
    return f"<{message.hex}@{domain}>"


def return_path(bounce_address: str, store_id: str, message: UUID) -> str:
    """Build the address that a message comes back to: it names the store and the message (VERP).

    A local part has at most 64 characters (RFC 5321 §4.5.3.1.1): where the store's id is very long, it stands alone.
    """
    local, _, host = bounce_address.rpartition("@")
    named = f"{local}+{base64.b32encode(message.bytes).decode().rstrip('=').lower()}.{store_id}"
    return f"{named if len(named) <= 64 else f'{local}+{store_id}'}@{host}"


def returned_to(address: str) -> tuple[str, UUID | None] | None:
    """Read the store and the message out of the address that a mail came back to; None if it is no such address."""
    match = _RETURN_PATH.fullmatch(address.lower())
    if match is None:
        return None
    named = match["message"]
    return match["store"], None if named is None else UUID(bytes=base64.b32decode(f"{named.upper()}======"))


def internal_message_id(what: str, message: UUID, detail: str = "") -> str:
    """Build the `messageId` of an event that we record ourselves (open, click, unsubscribe)."""
    digest = hashlib.sha256(detail.encode()).hexdigest()[:16]
    return f"{what}:{message.hex}:{digest}"


def shard(store_id: str, identity: str) -> int:
    """Choose the lane whose order an event keeps: the same for the same identity of the same store."""
    digest = hashlib.sha256(f"{store_id}\0{identity}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % SHARDS


def lock_key(store_id: str, kind: str, value: str) -> int:
    """Name an identity for an advisory lock: a signed 64-bit number."""
    digest = hashlib.sha256(f"{store_id}\0{kind}\0{value}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _opaque(name: str) -> str:
    """Keep short, plain names readable; hash what could break a path or carry more than an id."""
    plain = all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)
    return name if plain and 0 < len(name) <= 64 else hashlib.sha256(name.encode()).hexdigest()[:32]
