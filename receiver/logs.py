"""Log lines: JSON on standard output, one per delivery and attempt, with nothing personal in them (§9.1, §9.3).

Every line passes `_mask`, also the lines of libraries. An event's ID and type are shown as everywhere else
(receiver/privacy/columns.py). A line has the type and the frames of an error, but not its message, which can quote data
(receiver/privacy/errors.py).

An error is also handed to whoever reports errors, as the masked line that it is (receiver/reports.py).

Logging never raises and never waits. If standard output does not take a line at once, because it is full, closed or
read by nobody, the line is dropped. The next line says how many were dropped. The receiver must outlive its log.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Any

import structlog
from structlog.types import EventDict, WrappedLogger

from receiver.outlet import Outlet
from receiver.privacy.errors import summary, trace
from receiver.privacy.masking import mask_text

_badges = {"environment": ""}  # of the process, on every line (§8.3); `receiver` too, where it has a name of its own
_badges_text = '"environment": ""'
_showing: Callable[[str], str] = mask_text
_report: Callable[[dict[str, Any]], None] | None = None
LOGGED = "senang.logged"
"""The mark in the WSGI environment of a request that has a line of its own: the server then writes no other line."""
OURS = frozenset({"request_id", "timestamp", "level", "environment", "receiver"})
"""Keys of values that we make ourselves."""
REPORTING = ("sentry_sdk", "urllib3")
"""Whose lines are not reported: they are of reports."""
CHOSEN = frozenset({"event_id", "event_type"})
"""Keys of values that a sender chose."""


def configure_logging(
    environment: str, level: str = "INFO", showing: Callable[[str], str] = mask_text, name: str = ""
) -> None:
    """Send our own lines and the standard library's through one chain.

    `showing` says how event IDs are shown. `name` is the receiver's, if it has one of its own.
    """
    global _badges, _badges_text, _showing
    _badges = {"environment": environment} | ({"receiver": name} if name else {})
    _badges_text = _encode(_badges)[1:-1]
    _showing = showing
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _badge,
        structlog.processors.ExceptionRenderer(lambda info: trace(info[1])),
        _mask,
        _reported,
    ]
    render = structlog.processors.JSONRenderer(serializer=_json)
    structlog.configure(
        processors=[_Rendered([*shared, render])],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: _printer,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            render,
        ],
    )
    handler = _Stdout()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, _Stdout)] + [handler]
    root.setLevel(level)


def report_errors(report: Callable[[dict[str, Any]], None] | None) -> None:
    """From now on, hand each line of an error, masked, to this function. It may not raise, nor wait."""
    global _report
    _report = report


@contextmanager
def logging_beside_output() -> Iterator[None]:
    """In the block, lines go to standard error: a command prints on standard output, perhaps for a program."""
    before, _printer.beside_output = _printer.beside_output, True
    try:
        yield
    finally:
        _printer.beside_output = before


def log_delivery(
    result: str, event_id: str | None, event_type: str | None, *, request_id: str, duration_ms: int, reason: str = ""
) -> None:
    """The line of one delivery (§9.2)."""
    more = f'"request_id": {_text(request_id)}, "duration_ms": {duration_ms}'
    if reason:
        more += f', "reason": {_text(reason)}'
    _write("delivery", logging.INFO, event_id, event_type, result, more)


def log_attempt(
    result: str, event_id: str, event_type: str, *, attempt: int, duration_ms: int, exception: str | None = None
) -> None:
    """The line of one attempt (§9.2). Everything in `exception` is masked already."""
    if exception and _report:
        about = {"event_id": _showing(event_id), "event_type": _showing(event_type), "processing_result": result}
        _report({"event": "attempt", "level": "error", "attempt": attempt, "exception": exception, **about, **_badges})
    more = f'"attempt": {attempt}, "duration_ms": {duration_ms}'
    if exception:
        more += f', "exception": {_text(exception)}'
    _write("attempt", logging.WARNING if exception else logging.INFO, event_id, event_type, result, more)


def _write(event: str, level: int, event_id: str | None, event_type: str | None, result: str, more: str) -> None:
    """A line that skips the chain above. There is one for every delivery and attempt, and all its parts are known."""
    if not logging.getLogger().isEnabledFor(level):
        return
    shown_id, shown_type = event_id and _showing(event_id), event_type and _showing(event_type)
    _printer.write(
        f'{{"event": "{event}", "level": "{_LEVELS[level]}", "event_id": {_text(shown_id)},'
        f' "event_type": {_text(shown_type)}, "processing_result": {_text(result)}, {more},'
        f' "timestamp": "{datetime.now(UTC).isoformat()}", {_badges_text}}}'
    )


def _text(text: str | None) -> str:
    """As JSON."""
    return "null" if text is None else encode_basestring_ascii(text)


_LEVELS = {logging.INFO: "info", logging.WARNING: "warning"}


class _Printer:
    """The stream of all lines. It skips the standard library, because a line is written for every delivery."""

    beside_output = False  # whether standard output belongs to what a command prints

    def __init__(self) -> None:
        self._stream: Any = None
        self._outlet = Outlet(None)
        self._dropped = 0

    def write(self, line: str) -> None:
        """Write one line in one piece: other processes write to the same place. Raises nothing."""
        stream = sys.stderr if self.beside_output else sys.stdout
        if stream is not self._stream:
            self._stream, self._outlet, self._dropped = stream, Outlet(stream), 0
        if not self._outlet.write(f"{line}\n"):
            self._dropped += 1
        elif self._dropped:
            self._say_what_was_dropped()

    debug = info = warning = error = critical = write

    def _say_what_was_dropped(self) -> None:
        line = {"event": "log_lines_dropped", "level": "warning", "lines": self._dropped}
        if self._outlet.write(f"{_encode(line | _badges)}\n"):
            self._dropped = 0


class _Rendered:
    """The chain above as one step. A line that can't be rendered becomes a line that says so, never an exception."""

    def __init__(self, chain: list[Any]) -> None:
        self._chain = chain

    def __call__(self, logger: WrappedLogger, name: str, line: EventDict) -> Any:
        try:
            done: Any = line
            for step in self._chain:
                done = step(logger, name, done)
        except structlog.DropEvent:
            raise
        except Exception as error:
            return _unwritable(error)
        return done


def _unwritable(error: Exception) -> str:
    line = {"event": "unwritable_log_line", "level": "error", "error": type(error).__name__}
    return _encode(line | _badges)


class _Stdout(logging.Handler):
    """Takes the lines of the standard library, which go the same way as our own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line. Raises nothing."""
        try:
            if isinstance(record.args, tuple):  # a library may quote the message of an error
                record.args = tuple(map(_without_words, record.args))
            line = self.format(record)
        except Exception as error:
            line = _unwritable(error)
        _printer.write(line)


_encode = json.JSONEncoder(default=repr).encode
_printer = _Printer()


def _json(line: EventDict, **_options: Any) -> str:
    return _encode(line)


def _badge(_logger: WrappedLogger, _name: str, line: EventDict) -> EventDict:
    line.update(_badges)
    return line


def _mask(_logger: WrappedLogger, _name: str, line: EventDict) -> EventDict:
    for key, value in line.items():
        if key in CHOSEN and isinstance(value, str):
            line[key] = _showing(value)
        elif key not in OURS and not key.startswith("_") and not isinstance(value, int | float | None):
            shown = _without_words(value)
            line[key] = mask_text(shown if isinstance(shown, str) else repr(shown))
    return line


def _reported(_logger: WrappedLogger, _name: str, line: EventDict) -> EventDict:
    """Report what is an error, unless those who report say it."""
    if _report and line.get("level") in ("error", "critical"):
        record = line.get("_record")
        if record is None or not record.name.startswith(REPORTING):
            _report(dict(line))
    return line


def _without_words(value: Any) -> Any:
    return summary(value) if isinstance(value, BaseException) else value
