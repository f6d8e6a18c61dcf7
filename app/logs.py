"""Log lines: JSON on standard output, one per delivery and attempt, with nothing personal in them (§9.1, §9.3).

Everything passes `_mask`, the libraries' own lines and tracebacks too. Values under `REFERENCE_KEYS` are exempt
from the detectors: an event ID of sixteen digits is not a card.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.types import EventDict, WrappedLogger

from app.privacy.masking import mask_text

REFERENCE_KEYS = frozenset({"event_id", "request_id", "timestamp", "level", "environment"})


def configure_logging(environment: str, level: str = "INFO") -> None:
    """Send structlog's and the standard library's lines through one chain."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _badge(environment),
        structlog.processors.format_exc_info,
        _mask,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = _Stdout()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, _Stdout)] + [handler]
    root.setLevel(level)


class _Stdout(logging.StreamHandler[Any]):
    """Standard output, looked up at each line."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stdout


def _badge(environment: str) -> Any:
    def add(_logger: WrappedLogger, _name: str, line: EventDict) -> EventDict:
        line["environment"] = environment
        return line

    return add


def _mask(_logger: WrappedLogger, _name: str, line: EventDict) -> EventDict:
    for key, value in line.items():
        if key not in REFERENCE_KEYS and not key.startswith("_") and not isinstance(value, int | float | None):
            line[key] = mask_text(value if isinstance(value, str) else repr(value))
    return line
