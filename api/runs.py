"""One run: why it wrote or did not, and what an operator may do to it. The scopes are `read` to ask, `write` to act."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.postgres import why
from adapters.temporal import operator
from api import documents
from api.body import EVENT_LIMIT, json_object
from api.errors import documented
from api.keys import Reader, Writer
from api.services import Wired
from domain.errors import InvalidInput
from domain.operations import Reason
from domain.plans import StepName

router = APIRouter(prefix="/api/v1/runs", tags=["admin"])

Run = Annotated[str, Path(description="Its `run_id`, or the Workflow ID that the Temporal UI shows (its newest run).")]
_RUN_ID = "3c1e9df2-5b4b-5f0e-8a55-0a4f0c9a5a11"
_WHY: dict[str, Any] = {
    "run_id": _RUN_ID,
    "workflow_id": "shop/cart-recovery/0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a10",
    "journey": "cart-recovery",
    "customer_id": "0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a10",
    "product_id": None,
    "order_id": None,
    "plan_version": 4,
    "began": {
        "fact": "cart changed",
        "since": "2026-01-31T12:00:00Z",
        "decided_at": "2026-01-31T12:00:00.020000Z",
        "event": "0197a1f2-8a11-7b0c-8c1d-0d6f5e4c3b2a",
        "event_type": "track",
        "event_name": "Product Added",
    },
    "decisions": [
        {
            "step": "reminder-1",
            "plan_version": 4,
            "due": "2026-01-31T13:00:00Z",
            "decided_at": "2026-01-31T13:00:00.110000Z",
            "result": "sent",
            "rule": "consent",
            "because": "consent",
            "until": None,
            "inputs": {
                "ask": 1,
                "gap": "PT0S",
                "requires": [{"kind": "cart_quiet", "quiet": "PT1H"}],
                "topic": "abandoned_cart_emails",
                "transactional": False,
                "waited_from": "2026-01-31T12:00:00.020000Z",
                "ended": None,
                "pauses": [],
                "unsubscribed": False,
                "suppressed": None,
                "consented": True,
                "cart_lines": 1,
                "cart_changed_at": "2026-01-31T12:00:00Z",
                "address_known": True,
            },
        }
    ],
    "messages": [
        {
            "step": "reminder-1",
            "template": "cart-reminder",
            "state": "sent",
            "because": "consent",
            "claimed_at": "2026-01-31T13:00:00.110000Z",
            "sending_at": "2026-01-31T13:00:00.140000Z",
            "settled_at": "2026-01-31T13:00:00.300000Z",
            "retry_at": None,
            "opened_at": None,
            "clicked_at": None,
            "converted_at": None,
        }
    ],
    "operations": [],
    "ended": None,
    "paused_since": None,
    "next": {
        "step": "reminder-2",
        "template": "cart-reminder-2",
        "due": "2026-02-01T12:00:00.110000Z",
        "waits_for": None,
    },
}


class Why(why.Why):
    """A run with all that led it to where it is, and what it does next."""

    model_config = ConfigDict(json_schema_extra={"example": _WHY})


class Skipped(operator.Skipped):
    """The wait is over."""

    model_config = ConfigDict(json_schema_extra={"example": {"run_id": _RUN_ID, "skipped": "before reminder-2"}})


class Left(operator.Left):
    """The run is over; nothing more is sent by it."""

    model_config = ConfigDict(json_schema_extra={"example": {"run_id": _RUN_ID, "outcome": "left"}})


class Leaving(BaseModel):
    """Why the customer is taken out of the run."""

    because: Reason


@router.get(
    "/{run:path}/why",
    summary="Why a customer got a message, or did not",
    responses=documented(401, 403, 404, 429, 503),
)
async def explain(run: Run, services: Wired, store: Reader) -> Why:
    """Tell what began a run, each decision with its inputs, what operators did, and what ended it or comes next."""
    return Why.model_validate(await why.why(services.engine, store.store_id, run), from_attributes=True)


@router.post(
    "/{run:path}/skip-wait",
    summary="End the wait that a run is in",
    responses=documented(400, 401, 403, 404, 409, 429, 503),
)
async def skip_wait(
    run: Run,
    services: Wired,
    store: Writer,
    step: Annotated[StepName | None, Query(description="The step whose wait is meant, such as `reminder-2`.")] = None,
) -> Skipped:
    """Let a run ask at once; the gate still decides. A request that names its step skips nothing more if repeated."""
    done = await services.operator.skip_wait(store.store_id, run, f"key:{store.key_id}", step)
    return Skipped.model_validate(done, from_attributes=True)


@router.post(
    "/{run:path}/leave",
    summary="Take the customer out of a run",
    responses=documented(400, 401, 403, 404, 409, 413, 415, 429, 503),
    openapi_extra=documents.described(
        documents.fields(
            ["because"],
            because={
                "type": "string",
                "maxLength": 200,
                "description": "One line, without an address: it stands in the audit log and in Temporal.",
            },
        ),
        {"leave": {"because": "asked the shop not to be reminded"}},
    ),
)
async def leave(run: Run, request: Request, services: Wired, store: Writer) -> Left:
    """End a run with the outcome `left`; once this answers, nothing more is sent by it."""
    try:
        body = Leaving.model_validate(await json_object(request, EVENT_LIMIT))
    except ValidationError as problem:
        raise InvalidInput("because", "must be one line of up to 200 characters, without an @") from problem
    done = await services.operator.leave(store.store_id, run, f"key:{store.key_id}", body.because)
    return Left.model_validate(done, from_attributes=True)
