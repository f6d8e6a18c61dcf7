"""Spans for OpenTelemetry: one for each delivery and one for each attempt, in one trace. Off unless an address is set.

The trace context of a delivery is kept on the row of its event, so a worker goes on with the trace, hours later too. A
follow-up goes on with the trace of the attempt that asked for it. What stands in a span stands in the log line, too:
results, durations, the ID and type of the event as people see them. It never has a value of the payload.

A sender's own `traceparent` is believed once the delivery is authentic. Nobody else chooses a trace of ours.

OpenTelemetry is a package of the partner's own group, and only a process that uses it imports it. Everything else that
its environment variables say, such as headers, sampling and the name of the service, it reads itself.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from receiver.config import Settings
from receiver.privacy.errors import summary
from receiver.registry import RETRY_LATER, RetryLater
from receiver.threads import signals_held_back

CLOSE_SECONDS = 1.0
"""So long the last spans may take when a process ends. A collector that is away keeps nobody."""
EXPORT_SECONDS = 5.0


def tracing_of(settings: Settings) -> "Tracing | None":
    """What makes the spans of one process, after it was forked. None where nobody wants spans."""
    return Tracing(settings) if settings.traces_to else None


class Tracing:
    """The spans of one process. They leave it in a thread of their own, a batch every few seconds."""

    def __init__(self, settings: Settings) -> None:
        # OpenTelemetry has types, but only where it is installed: in our tests, and with partners who want it.
        from opentelemetry import context, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace, self._propagator, self._nothing = trace, TraceContextTextMapPropagator(), context.Context()
        self._showing = settings.showing
        about: dict[str, Any] = {"deployment.environment.name": settings.environment}
        if not os.environ.get("OTEL_SERVICE_NAME"):
            about["service.name"] = settings.name or "senang-receiver"
        self._provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{settings.traces_to.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        with signals_held_back():  # they are the main thread's: a time limit must reach it
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)  # spans of the partner's own code go the same way
        self._tracer = self._provider.get_tracer("receiver")

    def delivery(self, *, sent: str | None, seconds: float) -> Any:
        """A span that began so many seconds ago. `sent` is the traceparent of an authentic sender."""
        return self._tracer.start_span(
            "delivery",
            context=self._context(sent),
            kind=self._trace.SpanKind.SERVER,
            start_time=time.time_ns() - int(seconds * 1e9),
        )

    def end_delivery(
        self, span: Any, result: str, reason: str, *, event_id: str | None, event_type: str | None, request_id: str
    ) -> None:
        """End the span of a delivery."""
        about = self._event(event_id, event_type) | {"senang.result": result, "senang.request_id": request_id}
        span.set_attributes(about | ({"senang.reason": reason} if reason else {}))
        span.end()

    @contextmanager
    def attempt(
        self, traceparent: str | None, event_id: str, event_type: str, attempt: int
    ) -> Iterator[Callable[[str], None]]:
        """In the block, the span of an attempt is the present one. The block says its result, unless it raises."""
        span = self._tracer.start_span(
            "attempt",
            context=self._context(traceparent),
            kind=self._trace.SpanKind.CONSUMER,
            attributes=self._event(event_id, event_type) | {"senang.attempt": attempt},
        )
        with self._trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield lambda result: span.set_attribute("senang.result", result)
            except RetryLater:
                span.set_attribute("senang.result", RETRY_LATER)
                raise
            except BaseException as error:  # its message may quote data
                span.set_attribute("senang.error", summary(error))
                span.set_status(self._trace.StatusCode.ERROR)
                raise

    def traceparent(self, span: Any = None) -> str:
        """The trace context of this span, or of the present one, as a header has it."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span) if span else None)
        return carrier.get("traceparent", "")

    def close(self) -> None:
        """Send what waits, within a second."""
        closing = Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)

    def _context(self, traceparent: str | None) -> Any:
        """What is no trace context begins a new trace."""
        carrier = {"traceparent": traceparent} if traceparent else {}
        return self._propagator.extract(carrier, self._nothing)

    def _event(self, event_id: str | None, event_type: str | None) -> dict[str, str | int]:
        named = {"senang.event_id": event_id, "senang.event_type": event_type}
        return {name: self._showing(value) for name, value in named.items() if value}
