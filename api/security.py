"""Keys, the pages that may use a public one, and the audit log: who may do what in a store, and who did it."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.postgres import audit, keys, stores
from api import documents
from api.body import EVENT_LIMIT, json_object
from api.errors import documented
from api.keys import Administrator
from api.services import Wired
from domain.access import Grant, origins
from domain.errors import InvalidInput

router = APIRouter(prefix="/api/v1", tags=["security"])

DEFAULT_OVERLAP = timedelta(days=1)
_NAME = r"^[^\x00]*$"
"""What Postgres can look for."""
_KEY_ID, _NEW_ID = "0197a1f2-0000-7c0f-9a3e-2f1f6f6f7a10", "0197a1f2-0000-7c0f-9a3e-2f1f6f6f7a11"
_KEY: dict[str, Any] = {
    "key_id": _KEY_ID,
    "kind": "api",
    "scopes": ["read"],
    "name": "dashboard",
    "state": "ending",
    "created_at": "2026-01-31T12:00:00Z",
    "expires_at": "2026-03-01T12:00:00Z",
    "replaced_by": _NEW_ID,
    "revoked_at": None,
    "last_used_at": "2026-02-28T11:59:58Z",
    "limit": None,
}
_ENTRY: dict[str, Any] = {
    "audit_id": "5f0c1d0f-6c8b-5a3e-9d7e-2b1a0f9e8d7c",
    "at": "2026-02-28T12:00:00Z",
    "by": f"key:{_KEY_ID}",
    "action": "key_rotated",
    "subject": f"key:{_NEW_ID}",
    "detail": {"kind": "api", "scopes": ["read"], "name": "dashboard", "replaces": _KEY_ID, "until": "2026-03-01"},
}


class Keys(BaseModel):
    """All keys that a store ever had, oldest first; never their secrets."""

    model_config = ConfigDict(json_schema_extra={"example": {"keys": [_KEY]}})

    keys: list[keys.Key]


class NewKey(BaseModel):
    """A key just made. Its secret is shown this once, for only a hash is kept."""

    model_config = ConfigDict(json_schema_extra={"example": {"key_id": _NEW_ID, "key": "api_s3cr3t"}})

    key_id: UUID
    key: str


class Revoked(BaseModel):
    """The key is worth nothing any more; every process of the API knows within ten seconds."""

    model_config = ConfigDict(json_schema_extra={"example": {"key_id": _KEY_ID}})

    key_id: UUID


class Origins(BaseModel):
    """From whose pages browsers may use the store's write keys; null is any, an empty list none."""

    model_config = ConfigDict(json_schema_extra={"example": {"origins": ["https://shop.example"]}})

    origins: list[str] | None


class AuditLog(BaseModel):
    """What was done to a store, newest first; `next` is the `before` of the next page, null at the end."""

    model_config = ConfigDict(json_schema_extra={"example": {"entries": [_ENTRY], "next": None}})

    entries: list[audit.Entry]
    next: UUID | None


@router.get("/keys", summary="List the store's keys", responses=documented(401, 403, 429, 503))
async def list_keys(services: Wired, store: Administrator) -> Keys:
    """Tell what each key may do, whether it still works, and when it was last used."""
    return Keys(keys=await services.keys.listed(store.store_id))


@router.post(
    "/keys",
    summary="Make a key",
    status_code=201,
    responses=documented(400, 401, 403, 413, 415, 429, 503),
    openapi_extra=documents.described(
        documents.fields(
            ["kind"],
            kind={"enum": ["write", "api"], "description": "`write`: public, sends events. `api`: a secret."},
            scopes={
                "type": "array",
                "items": {"enum": ["read", "write", "admin"]},
                "description": "Of an API key, one or more; none of them includes another.",
            },
            name={"type": "string", "maxLength": 60, "description": "One line without an address."},
        ),
        {
            "for a dashboard": {"kind": "api", "scopes": ["read"], "name": "dashboard"},
            "for the pages of the shop": {"kind": "write"},
        },
    ),
)
async def create_key(request: Request, services: Wired, store: Administrator) -> NewKey:
    """Make a write key, or an API key with scopes."""
    try:
        grant = Grant.model_validate(await json_object(request, EVENT_LIMIT))
    except ValidationError as problem:
        first = problem.errors()[0]
        raise InvalidInput(".".join(map(str, first["loc"])) or "scopes", first["msg"]) from problem
    new = await services.keys.create(store.store_id, grant, by=f"key:{store.key_id}")
    return NewKey(key_id=new.key_id, key=new.secret)


@router.post(
    "/keys/{key_id}/rotate",
    summary="Replace a key by a new one",
    status_code=201,
    responses=documented(400, 401, 403, 404, 409, 429, 503),
)
async def rotate_key(
    key_id: UUID,
    services: Wired,
    store: Administrator,
    overlap: Annotated[timedelta, Query(description="For so long the old key still works.")] = DEFAULT_OVERLAP,
) -> NewKey:
    """Make a key that opens the same. The old one works on for the overlap, and then ends by itself."""
    new = await services.keys.rotate(store.store_id, key_id, overlap, by=f"key:{store.key_id}")
    return NewKey(key_id=new.key_id, key=new.secret)


@router.delete("/keys/{key_id}", summary="Revoke a key", responses=documented(400, 401, 403, 404, 429, 503))
async def revoke_key(key_id: UUID, services: Wired, store: Administrator) -> Revoked:
    """Make a key worthless at once; to repeat it does no harm. It may be the key that this request shows."""
    await services.keys.revoke(store.store_id, key_id, by=f"key:{store.key_id}")
    return Revoked(key_id=key_id)


@router.get("/origins", summary="Whose pages may send events", responses=documented(401, 403, 429, 503))
async def show_origins(services: Wired, store: Administrator) -> Origins:
    """Tell from whose pages browsers may use the store's write keys."""
    return Origins(origins=await stores.origins(services.engine, store.store_id))


@router.put(
    "/origins",
    summary="Set whose pages may send events",
    responses=documented(400, 401, 403, 413, 415, 429, 503),
    openapi_extra=documents.described(
        documents.fields(
            ["origins"],
            origins={
                "type": ["array", "null"],
                "items": {"type": "string"},
                "description": "As browsers write them: scheme, host, and the port where it is not the usual one.",
            },
        ),
        {"one shop": {"origins": ["https://shop.example"]}, "any page": {"origins": None}},
    ),
)
async def set_origins(request: Request, services: Wired, store: Administrator) -> Origins:
    """Replace the list; every process of the API knows within ten seconds."""
    try:
        told = Origins.model_validate(await json_object(request, EVENT_LIMIT)).origins
    except ValidationError as problem:
        raise InvalidInput("origins", "must be a list of origins, or null for any") from problem
    allowed = None if told is None else list(origins(told))
    by = f"key:{store.key_id}"
    await stores.set_origins(services.engine, store.store_id, allowed, services.clock(), by=by)
    return Origins(origins=allowed)


@router.get("/audit", summary="What was done, and by whom", responses=documented(400, 401, 403, 429, 503))
async def read_audit(
    services: Wired,
    store: Administrator,
    action: Annotated[str | None, Query(description="Only those, such as `key_created`.", pattern=_NAME)] = None,
    subject: Annotated[
        str | None, Query(description="Only those about it, such as `journey:welcome`.", pattern=_NAME)
    ] = None,
    before: Annotated[UUID | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=audit.MAX_ENTRIES)] = 100,
) -> AuditLog:
    """Read the audit log; it is append-only."""
    entries = await audit.listed(
        services.engine, store.store_id, action=action, subject=subject, before=before, limit=limit
    )
    return AuditLog(entries=entries, next=entries[-1].audit_id if len(entries) == limit else None)
