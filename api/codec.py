"""The codec server: shows the Temporal UI and CLI what they cannot read, to those who may (Temporal's own protocol).

An API key with the scope `read` opens the payloads of its store's runs. Any other payload, and that of an erased
customer, goes back as it came.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send
from temporalio.api.common.v1 import Payload, Payloads

from adapters.temporal.codec import CustomerCodec, encrypted_for
from api.body import json_object
from api.keys import Reader
from api.services import Wired
from domain.errors import InvalidInput, NotFound

router = APIRouter(prefix="/codec", include_in_schema=False)

LIMIT = 8 << 20
"""A page of the UI asks for many payloads at once; Temporal itself keeps none over 2 MB."""


@router.get("")
async def sign_in(store: Reader) -> PlainTextResponse:
    """Make a browser ask for the key, as the user name; from then on it shows it for the Temporal UI as well."""
    return PlainTextResponse(f"This browser may now read what Temporal keeps of the runs of {store.store_id}.")


@router.post("/decode")
async def decode(request: Request, services: Wired, store: Reader) -> Mapping[str, Any]:
    """Decrypt the payloads of the store's runs."""
    try:
        payloads = ParseDict(await json_object(request, LIMIT), Payloads(), ignore_unknown_fields=True).payloads
    except ParseError as problem:
        raise InvalidInput("payloads", "must be payloads as Temporal writes them") from problem
    shown = [await _shown(services.codec, payload, store.store_id) for payload in payloads]
    return MessageToDict(Payloads(payloads=shown))


async def _shown(codec: CustomerCodec | None, payload: Payload, store_id: str) -> Payload:
    owner = encrypted_for(payload.metadata)
    if codec is None or owner is None or owner.store_id != store_id:
        return payload
    try:
        [plain] = await codec.decode([payload])
    except NotFound:
        return payload
    return plain


class UiAccess(CORSMiddleware):
    """Let the pages of our Temporal UI ask, with what the browser knows of the operator; no others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope.get("path", "").startswith("/codec"):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
