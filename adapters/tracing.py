"""Traces: one event's way from the request to the mail server. Off, unless the standard OTEL_* variables turn them on.

While they are off nothing of OpenTelemetry is imported, and a span costs a look at a variable. A trace carries ids and
names of steps, and of an error its type: what an exception says may quote a customer (G8).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from domain.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer
    from temporalio.client import Interceptor

Kind = Literal["internal", "server", "client"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OFF: AbstractContextManager[None] = nullcontext()
_tracer: "Tracer | None" = None


@contextmanager
def traced(process: str, environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Trace what a process does in the block, if the environment wants it; at the end everything is handed over.

    Args:
        process: Names the service, `journeys-{process}`, unless OTEL_SERVICE_NAME does.
        environment: OTEL_TRACES_EXPORTER (`otlp`, `console`, `none`) or OTEL_EXPORTER_OTLP_ENDPOINT turn traces on; the
            other standard variables (sampler, headers, batch sizes) count as OpenTelemetry says.

    Raises:
        ConfigurationError: They ask for an exporter or a protocol that is not here.
    """
    exporter = _exporter(environment)
    if exporter is None:
        yield
        return
    with exported(exporter, f"journeys-{process}"):
        yield


@contextmanager
def exported(exporter: "SpanExporter", service: str, *, at_once: bool = False) -> Iterator[None]:
    """Trace what happens in the block, to an exporter.

    Args:
        exporter: Takes the spans.
        service: Names the service.
        at_once: Hand over each span when it ends, instead of many together; for tests.
    """
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - nothing is imported while traces are off
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415

    global _tracer  # noqa: PLW0603 - the trace of what runs is the process's, as its log is
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": service}
    # Exceptions become events of a span, with what they say.
    provider = TracerProvider(resource=Resource.create(named), span_limits=SpanLimits(max_events=0))
    provider.add_span_processor(_discreet())
    provider.add_span_processor((SimpleSpanProcessor if at_once else BatchSpanProcessor)(exporter))
    before, _tracer = _tracer, provider.get_tracer("journeys")
    try:
        yield
    finally:
        _tracer = before
        provider.shutdown()


def span(
    name: str, kind: Kind = "internal", parent: str | None = None, **attributes: str | int
) -> "AbstractContextManager[Span | None]":
    """Trace what happens in the block as one step; None is yielded while traces are off.

    Args:
        name: What is done; few different ones.
        kind: Whether somebody asked us, or we ask somebody else.
        parent: The step that it belongs to, as `traceparent` wrote it down; None: the one around it.
        attributes: Ids and numbers; double underscores stand for dots.
    """
    if _tracer is None:
        return _OFF
    return _started(_tracer, name, kind, parent, attributes)


def traceparent() -> str | None:
    """Write down the step that is under way, for whoever goes on with it (W3C Trace Context); None if there is none."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def temporal_interceptors() -> "list[Interceptor]":
    """Return what carries the trace through Temporal: client, workflow and activity; nothing while traces are off."""
    if _tracer is None:
        return []
    from temporalio.contrib.opentelemetry import TracingInterceptor  # noqa: PLC0415

    return [TracingInterceptor(_tracer)]


@contextmanager
def _started(
    tracer: "Tracer", name: str, kind: Kind, parent: str | None, attributes: Mapping[str, str | int]
) -> "Iterator[Span]":
    from opentelemetry.trace import SpanKind  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    # No parent written down, or nonsense in a client's header: whatever is around it.
    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    with tracer.start_as_current_span(name, context, SpanKind[kind.upper()], attributes=named) as started:
        yield started


def _discreet() -> "SpanProcessor":
    """Make what leaves of a failure its type only, whoever noted it (Temporal's interceptor notes the words, too)."""
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor  # noqa: PLC0415
    from opentelemetry.trace import Status  # noqa: PLC0415

    class Discreet(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            said = span.status.description
            if said is not None:
                kind = said.partition(":")[0]
                # There is no public way to change a span that has ended; a test holds this against the SDK.
                span._status = Status(span.status.status_code, kind if kind.isidentifier() else None)

    return Discreet()


def _exporter(environment: Mapping[str, str]) -> "SpanExporter | None":
    named = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    wanted = named or ("otlp" if any(environment.get(name) for name in _ENDPOINTS) else "none")
    if wanted == "none" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if wanted == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter()
    if wanted != "otlp":
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER: {wanted!r} is not here; otlp, console and none are")
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not here; http/protobuf is")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()
