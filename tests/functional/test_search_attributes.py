"""A worker makes sure of its search attributes, also where it may not list them (Temporal Cloud)."""

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest, ListSearchAttributesResponse
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal import client as module
from adapters.temporal.search_attributes import KEYWORDS
from domain.errors import ConfigurationError
from tests.functional.conftest import House


async def refuse(_: ListSearchAttributesRequest) -> ListSearchAttributesResponse:
    raise RPCError("Request unauthorized.", RPCStatusCode.PERMISSION_DENIED, b"")


async def test_attributes_that_may_not_be_listed_are_tried(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there pass; one that is not is named, before any workflow hangs on it."""
    monkeypatch.setattr(house.temporal.service_client.operator_service, "list_search_attributes", refuse)
    await module.check_search_attributes(house.temporal)

    monkeypatch.setattr(module, "KEYWORDS", (*KEYWORDS, "NobodyHasThis"))
    with pytest.raises(ConfigurationError, match="--name NobodyHasThis --type Keyword"):
        await module.check_search_attributes(house.temporal)
