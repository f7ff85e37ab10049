"""What a store's own people may ask, with an API key that has the scope `read`."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from adapters.postgres import reports
from api.errors import documented
from api.keys import Reader
from api.services import Wired

router = APIRouter(prefix="/api/v1", tags=["admin"])

_EXAMPLE: dict[str, Any] = {
    "customer_id": "0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a10",
    "journeys": [
        {
            "run_id": "3c1e9df2-5b4b-5f0e-8a55-0a4f0c9a5a11",
            "journey": "cart-recovery",
            "workflow_id": "shop/cart-recovery/0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a10",
            "plan_version": 0,
            "since": "2026-01-31T12:00:00Z",
            "outcome": "converted",
            "ended_at": "2026-02-01T09:30:00Z",
            "because": "order 1001",
            "step": "reminder-1",
            "messages": [
                {
                    "step": "reminder-1",
                    "template": "cart-reminder",
                    "channel": "email",
                    "state": "sent",
                    "claimed_at": "2026-01-31T13:00:00Z",
                    "settled_at": "2026-01-31T13:00:01Z",
                    "clicked_at": "2026-02-01T09:12:00Z",
                    "converted_at": "2026-02-01T09:30:00Z",
                    "order_id": "1001",
                    "order_value_minor": 2500,
                }
            ],
        }
    ],
}


class CustomerJourneys(BaseModel):
    """A customer's journeys, oldest first; amounts in minor units."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    customer_id: UUID
    journeys: list[reports.Passage]


@router.get(
    "/customers/{customer:path}/journeys",
    summary="Which journeys a customer is in, and what was sent or withheld and why",
    responses=documented(401, 403, 404, 429, 503),
)
async def customer_journeys(customer: str, services: Wired, store: Reader) -> CustomerJourneys:
    """Find a customer by our id, the shop's user id, an anonymous id or an e-mail address."""
    customer_id, passages = await reports.journeys_of(services.engine, store.store_id, customer)
    return CustomerJourneys(customer_id=customer_id, journeys=passages)
