"""The engine room of Temporal's SDK: its logs join ours, and Prometheus can read its metrics on a port of their own."""

import logging

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from adapters.settings import Settings


def runtime(settings: Settings) -> Runtime:
    """Make the runtime of a process; one is enough for it.

    Temporal's own metrics are described at https://docs.temporal.io/references/sdk-metrics.
    """
    port = settings.temporal_metrics_port
    endpoint = None if port is None else PrometheusConfig(bind_address=f"{settings.metrics_host}:{port}")
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    warnings = TelemetryFilter(core_level="WARN", other_level="ERROR")
    logs = LoggingConfig(filter=warnings, forwarding=forwarding)
    return Runtime(telemetry=TelemetryConfig(logging=logs, metrics=endpoint))
