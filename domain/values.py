"""The base of every typed value that crosses a boundary, and the two scalar kinds they share."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen, additive-only value: unknown fields are ignored so that old code reads new payloads."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]
"""An aware datetime, normalised to UTC."""
