"""The log line of a request that is not a delivery.

It has the route of the request. It never has the path or the query: they come from outside, and masking long ones would
keep everybody waiting.
"""

import time

import structlog
from flask import Flask, Response, request

from receiver.ingest.intake import present_intake
from receiver.logs import LOGGED
from receiver.present import request_id, request_started

UNKNOWN_ROUTE = "unknown"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
log = structlog.get_logger()


def init_app(app: Flask) -> None:
    """Write a line for each request that has none of its own."""
    app.after_request(_log_request)


def _log_request(response: Response) -> Response:
    if LOGGED in request.environ:
        return response
    request.environ[LOGGED] = True
    kind: dict[str, str | int] = {
        "method": request.method if request.method in METHODS else "other",
        "route": request.url_rule.rule if request.url_rule else UNKNOWN_ROUTE,
        "status": response.status_code,
    }
    milliseconds = round((time.monotonic() - request_started()) * 1000)
    if present_intake().lines.admits("request", **kind):
        log.info("request", **kind, duration_ms=milliseconds, request_id=request_id())
    return response
