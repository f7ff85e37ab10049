"""A customer's rights: to read what is known, and to be forgotten. With an API key that has the scope `admin`."""

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import ConfigDict

from adapters.postgres import audit, export, reports
from adapters.postgres.tenancy import as_store
from adapters.temporal.erasure import Erasure
from api.errors import documented
from api.keys import Administrator
from api.services import Wired
from domain import receipts

router = APIRouter(prefix="/api/v1/customers", tags=["admin"])

Customer = Annotated[
    str, Path(description="Our id of the customer, the shop's user id, an anonymous id or an e-mail address.")
]

_RECEIPT: dict[str, Any] = {
    "store_id": "shop",
    "customer_id": "0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a10",
    "erased_at": "2026-01-31T12:00:00Z",
    "by": "key:0197a1f2-0000-7c0f-9a3e-2f1f6f6f7a10",
    "rows": {"customers": 1, "events": 41, "identities": 3, "messages": 2, "orders": 1, "runs": 3},
    "runs_ended": 1,
    "keys_destroyed": 1,
    "signature": "5f0c1d0f6c8b4a3e9d7e2b1a0f9e8d7c6b5a49382716059f8e7d6c5b4a392817",
}


class Receipt(receipts.Receipt):
    """What was erased, signed; keep it: nothing else says any more that there was this customer."""

    model_config = ConfigDict(json_schema_extra={"example": _RECEIPT})


def _erasure(request: Request) -> Erasure:
    return cast("Erasure", request.app.state.erasure)


@router.delete(
    "/{customer:path}",
    summary="Erase a customer for good",
    responses=documented(401, 403, 404, 429, 503),
)
async def erase(customer: Customer, erasure: Annotated[Erasure, Depends(_erasure)], store: Administrator) -> Receipt:
    """End the customer's runs, delete what is about the customer, and destroy the key of the histories in Temporal."""
    done = await erasure.erase(store.store_id, customer, f"key:{store.key_id}")
    return Receipt.model_validate(done, from_attributes=True)


@router.get(
    "/{customer:path}/export",
    summary="All that is known about a customer",
    responses={
        200: {
            "description": "A ZIP file: `customer.json` with everything, and one CSV file for each table.",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **documented(401, 403, 404, 429, 503),
    },
    response_class=Response,
)
async def export_customer(customer: Customer, services: Wired, store: Administrator) -> Response:
    """Pack profile, identities, events, consents, orders, runs, decisions and messages as they are at one moment."""
    customer_id, _ = await reports.journeys_of(services.engine, store.store_id, customer)
    packed = export.bundle(await export.of_customer(services.engine, store.store_id, customer_id), services.clock())
    async with as_store(services.engine, store.store_id) as connection:
        await audit.write(
            connection, store.store_id, by=f"key:{store.key_id}", action="export",
            subject=f"customer:{customer_id}", detail={}, at=services.clock(),
        )  # fmt: skip
    headers = {"Content-Disposition": f'attachment; filename="{customer_id}.zip"', "Cache-Control": "no-store"}
    return Response(packed, media_type="application/zip", headers=headers)
