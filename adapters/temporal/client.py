"""Connect to Temporal as the environment says (`TEMPORAL_*`, temporalio.envconfig), and check what we rely on."""

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.converter import PayloadCodec
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from adapters import tracing
from adapters.temporal.plugin import journeys_plugin
from adapters.temporal.search_attributes import KEYWORDS
from domain.errors import ConfigurationError

_MAY_NOT_LIST = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED}


async def connect(
    *,
    address: str = "localhost:7233",
    lazy: bool = False,
    codec: PayloadCodec | None = None,
    runtime: Runtime | None = None,
) -> Client:
    """Connect to the cluster of the environment.

    Args:
        address: Where it is if the environment does not say.
        lazy: Connect with the first call, so that the caller can start while Temporal is down.
        codec: Encrypts what Temporal keeps; whoever reads or writes payloads needs it (adapters/temporal/codec.py).
        runtime: The threads of Temporal's SDK, with its own logs and metrics; None: those that the process has.
    """
    config = {"target_host": address, **ClientConfig.load_client_connect_config()}
    return await Client.connect(
        **config,  # type: ignore[arg-type]
        plugins=[journeys_plugin(codec)],
        interceptors=tracing.temporal_interceptors(),
        lazy=lazy,
        runtime=runtime,
    )


async def check_search_attributes(client: Client) -> None:
    """Refuse to work without our search attributes: a workflow that sets an unknown one hangs for ever.

    A key for one namespace, as Temporal Cloud gives it, may not list them; then each is tried in a query.

    Raises:
        ConfigurationError: Names those that are missing and the command that adds them.
    """
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        known = (await client.operator_service.list_search_attributes(request)).custom_attributes
        missing = [name for name in KEYWORDS if known.get(name) != IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD]
    except RPCError as refusal:
        if refusal.status not in _MAY_NOT_LIST:
            raise
        missing = [name for name in KEYWORDS if not await _can_be_searched(client, name)]
    if missing:
        add = " ".join(f"--name {name} --type Keyword" for name in missing)
        raise ConfigurationError(
            f"Temporal namespace {client.namespace!r} lacks search attributes; run: "
            f"temporal operator search-attribute create --namespace {client.namespace} {add}"
        )


async def _can_be_searched(client: Client, attribute: str) -> bool:
    try:
        await client.count_workflows(f"{attribute} = 'nobody'")
    except RPCError as refusal:
        if refusal.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True
