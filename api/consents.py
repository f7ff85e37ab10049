"""What a customer allowed and refused, word by word, and what follows from it. The scope is `admin`."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from adapters.postgres import consents, reports
from api.errors import documented
from api.keys import Administrator
from api.privacy import Customer
from api.services import Wired
from domain.facts import Topic

router = APIRouter(prefix="/api/v1/customers", tags=["admin"])

_EXAMPLE: dict[str, Any] = {
    "customer_id": "0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a10",
    "allowed": {topic.value: True for topic in Topic},
    "awaiting": [],
    "ledger": [
        {
            "channel": "email",
            "topic": "marketing_emails",
            "granted": True,
            "confirmation": "awaited",
            "source": "newsletter",
            "at": "2026-01-31T12:00:00Z",
            "recorded_at": "2026-01-31T12:00:00.040000Z",
            "ip": "192.0.2.7",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
            "wording": "footer-3",
        },
        {
            "channel": "email",
            "topic": "marketing_emails",
            "granted": True,
            "confirmation": "given",
            "source": "double_opt_in",
            "at": "2026-01-31T12:04:11Z",
            "recorded_at": "2026-01-31T12:04:11.040000Z",
            "ip": "192.0.2.7",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
            "wording": "confirm/en/2f1f6f6f7a10",
        },
    ],
}


class CustomerConsents(BaseModel):
    """A customer's consent ledger, oldest line first, and what it comes to.

    Attributes:
        allowed: What may be sent by e-mail now, by topic; whether the address is suppressed is another matter.
        awaiting: Topics that the customer agreed to, and has yet to confirm.
    """

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    customer_id: UUID
    allowed: dict[Topic, bool]
    awaiting: list[Topic]
    ledger: list[consents.Line]


@router.get(
    "/{customer:path}/consents",
    summary="What a customer allowed and refused, with the evidence",
    responses=documented(401, 403, 404, 429, 503),
)
async def customer_consents(customer: Customer, services: Wired, store: Administrator) -> CustomerConsents:
    """Read the ledger: each word with its time, source, IP address, user agent and the version of the text."""
    customer_id, _ = await reports.journeys_of(services.engine, store.store_id, customer)
    ledger, allowed, awaiting = await consents.ledger(services.engine, store.store_id, customer_id)
    return CustomerConsents(customer_id=customer_id, allowed=allowed, awaiting=sorted(awaiting), ledger=ledger)
