"""The log line about what was no request. It has a reason, and nothing of what was sent (§9.3).

A stranger can send a million of them, so only a few a minute have a line; the rest are counted.
"""

import structlog

from receiver.clock import Clock
from receiver.lines import Lines

EVENT = "invalid_request"
refused = Lines(Clock())
"""The lines of this process."""
log = structlog.get_logger()


def note(reason: str) -> None:
    """Write the line, or count it."""
    if refused.admits(EVENT, reason=reason):
        log.warning(EVENT, reason=reason)
