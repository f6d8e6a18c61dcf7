"""Those to whom a receiver may report: a collector of OpenTelemetry's spans and a Sentry, on loopback over HTTP."""

import gzip
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(NamedTuple):
    """A span that came."""

    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    is_error: bool
    seconds: float


class Collector(ThreadingHTTPServer):
    """Takes what is sent to it, and keeps it: `paths` and `bodies`, each body unpacked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.paths: list[str] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def dsn(self) -> str:
        """Its address, as SENTRY_DSN has it."""
        return f"http://key@127.0.0.1:{self.server_address[1]}/1"

    @property
    def spans(self) -> list[Span]:
        """Every span that came, with those of each process in the order in which they ended."""
        sent = zip(self.paths, self.bodies, strict=True)
        requests = [ExportTraceServiceRequest.FromString(body) for path, body in sent if path == "/v1/traces"]
        return [
            _span(span)
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that Sentry would show."""
        sent = zip(self.paths, self.bodies, strict=True)
        envelopes = [body.split(b"\n") for path, body in sent if path.endswith("/envelope/")]
        items = [
            (json.loads(lines[number]), json.loads(lines[number + 1]))
            for lines in envelopes
            for number in range(1, len(lines) - 1, 2)
        ]
        return [event for header, event in items if header["type"] == "event"]


def _span(span: Any) -> Span:
    attributes = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    return Span(span.name, *ids, attributes, span.status.code == 2, seconds)


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self._body()
        self.server.bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_line: Any) -> None:
        """Nothing: what came is kept."""
