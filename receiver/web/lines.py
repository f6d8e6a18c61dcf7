"""The log lines that a stranger can make us write: what they say, and how many there are.

A request that is no delivery has one line with its route. The path and the query are never in it: they are a stranger's
words, and masking long ones would keep everybody waiting. Of each kind of line, ten a minute are written. The rest are
counted, and one line has the count when the minute is over. To sample another line, ask `has_own_line()` first.
"""

import time

import structlog
from flask import Flask, Response, g, request

from receiver.logs import LOGGED
from receiver.present import present_inbox
from receiver.store.inbox import Inbox
from receiver.store.tally import Line
from receiver.web import problems

UNKNOWN_ROUTE = "unknown"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
log = structlog.get_logger()


def init_app(app: Flask) -> None:
    """Write a line for each request that has none of its own."""
    app.after_request(_log_request)


def has_own_line(inbox: Inbox, event: str, **common: str | int) -> bool:
    """Whether this line is to be written; if not, it has been counted. `common` is what all lines of its kind say."""
    now = inbox.clock.now()
    if inbox.lines.has_finished(now):
        with inbox.lines.finished_sums(now) as sums:
            _write(sums)
    return inbox.lines.admits((("event", event), *common.items()), now)


def write_remaining(inbox: Inbox) -> None:
    """Write every count that is still in memory: the process is about to end."""
    _write(inbox.lines.take_all())


def _log_request(response: Response) -> Response:
    if LOGGED in request.environ:
        return response
    request.environ[LOGGED] = True
    kind: dict[str, str | int] = {
        "method": request.method if request.method in METHODS else "other",
        "route": request.url_rule.rule if request.url_rule else UNKNOWN_ROUTE,
        "status": response.status_code,
    }
    if has_own_line(present_inbox(), "request", **kind):
        log.info("request", **kind, duration_ms=_milliseconds(), request_id=problems.request_id())
    return response


def _milliseconds() -> int:
    return round((time.monotonic() - g.started) * 1000) if "started" in g else 0


def _write(sums: list[tuple[Line, int]]) -> None:
    for line, occurrences in sums:
        log.info(**dict(line), occurrences=occurrences)
