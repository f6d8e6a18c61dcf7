"""The log line about what was no request. A stranger can send a million of them, so only so many a minute have a line.

The rest are counted: the first line of a later minute has their number as `unlogged`.
"""

import time

import structlog

LINES_A_MINUTE = 10
log = structlog.get_logger()


class Refusals:
    """Those of one process."""

    def __init__(self) -> None:
        self._minute, self._lines, self._unlogged = -1, 0, 0

    def note(self, reason: str) -> None:
        """No address and nothing of what was sent gets into the log (§9.3)."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._lines = minute, 0
        if self._lines >= LINES_A_MINUTE:
            self._unlogged += 1
            return
        log.warning("invalid_request", reason=reason, unlogged=self._unlogged)
        self._lines, self._unlogged = self._lines + 1, 0


refusals = Refusals()
