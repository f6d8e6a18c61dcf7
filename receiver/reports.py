"""Errors for Sentry: what the log says of an error, and no word more. Off unless SENTRY_DSN is set.

A report is made of a line of the log, after it was masked (receiver/logs.py): the type of the error, its frames, the
ID and type of the event as people see them. So it has no message that could quote data, no local variables, no lines
of source, and nothing of a request. Sentry's own integrations are off: they would look for more.

Sentry is a package of the partner's own group. It is imported at the first report, in the process that makes it.
"""

import os
import re
import time
from collections import Counter
from multiprocessing.util import Finalize
from typing import Any

import structlog

from receiver.config import Settings
from receiver.threads import signals_held_back

MOST_A_MINUTE = 10
"""Of each kind, and in each process: a database that is away makes the same error at each delivery."""
CLOSE_SECONDS = 1.0
log = structlog.get_logger()
_FRAME = re.compile(r"  at (?P<filename>.+):(?P<lineno>\d+) in (?P<function>.+)")
_LINK = re.compile(r"^(?:caused by|together with) ")


class Reports:
    """What sends the errors of one process. It never raises."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        self._process = 0
        self._minute, self._sent = 0, Counter[str]()

    def __call__(self, line: dict[str, Any]) -> None:
        """Report a line of the log that was masked."""
        if not self._admits(f"{line.get('event')} {line.get('exception')}"):
            return
        try:
            with signals_held_back():  # Sentry's thread begins with the first report
                self._of_this_process().capture_event(report_of(line))
        except Exception as error:  # the log has the line, and must outlive whoever is told of it
            log.warning("error_not_reported", error=type(error).__name__)

    def close(self) -> None:
        """Send what waits, within a second."""
        if self._client is not None and self._process == os.getpid():
            self._client.close(timeout=CLOSE_SECONDS)

    def _admits(self, kind: str) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._sent.clear()
        self._sent[kind] += 1
        return self._sent[kind] <= MOST_A_MINUTE

    def _of_this_process(self) -> Any:
        """A process that was forked off has no thread of its parent's."""
        if self._process != os.getpid():
            self._client, self._process = _client(self._settings), os.getpid()
            Finalize(None, self.close, exitpriority=0)  # in a worker process, too, where atexit does nothing
        return self._client


def report_of(line: dict[str, Any]) -> dict[str, Any]:
    """What Sentry gets for a line of the log."""
    rest = {key: value for key, value in line.items() if not key.startswith("_")}
    name, trace, event_type = str(rest.pop("event", "")), rest.pop("exception", None), rest.get("event_type")
    level = rest.pop("level", "error")
    report: dict[str, Any] = {"level": level, "logger": "senang", "transaction": name, "extra": rest}
    report["tags"] = {"event_type": event_type} if event_type else {}
    if trace:
        report["exception"] = {"values": _exceptions(str(trace))}
    else:
        report["message"] = name
    return report


def _exceptions(trace: str) -> list[dict[str, Any]]:
    """The errors of a trace as receiver/privacy/errors.py writes it. Sentry wants the first cause first."""
    found = list[dict[str, Any]]()
    for line in trace.split("\n"):
        if frame := _FRAME.fullmatch(line):
            place = {**frame.groupdict(), "lineno": int(frame["lineno"]), "in_app": True}
            found[-1]["stacktrace"]["frames"].append(place)
        elif not line.startswith("  "):
            title = _LINK.sub("", line)
            found.append({"type": title.partition(" ")[0], "value": title, "stacktrace": {"frames": []}})
    return found[::-1]


def _client(settings: Settings) -> Any:
    import sentry_sdk

    return sentry_sdk.Client(
        dsn=settings.reports_to,
        release=os.environ.get("SENTRY_RELEASE", ""),  # without one, Sentry would run git to find it out
        environment=settings.environment,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        enable_backpressure_handling=False,
    )
