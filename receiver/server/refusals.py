"""The log line about what was no request. It has a reason, and nothing of what was sent (§9.3).

A stranger can send a million of them, so only a few a minute have a line; the rest are counted.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import structlog

from receiver.clock import Clock

if TYPE_CHECKING:
    from receiver.lines import Lines

EVENT = "invalid_request"
log = structlog.get_logger()


def note(reason: str) -> None:
    """Write the line, or count it."""
    if lines().admits(EVENT, reason=reason):
        log.warning(EVENT, reason=reason)


@cache
def lines() -> Lines:
    """The lines of this process.

    They keep a lock, and gunicorn's master loads this module. So they are loaded at the first need, after the fork.
    """
    from receiver.lines import Lines

    return Lines(Clock())
