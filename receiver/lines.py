"""The log lines that strangers can make us write, and how many there are of each kind.

Ten lines of a kind are written in a minute. The rest are counted, and one line has the count when the minute is over.
To sample another line, ask `admits()` first.
"""

import structlog

from receiver.clock import Clock
from receiver.store.tally import Tally

Line = tuple[tuple[str, str | int], ...]
"""What log lines have in common that are counted together: names and values."""
OTHER_LINES: Line = (("event", "other"),)
log = structlog.get_logger()


class Lines:
    """Those of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tally: Tally[Line] = Tally(OTHER_LINES)

    def admits(self, event: str, **common: str | int) -> bool:
        """Whether this line is to be written; if not, it has been counted.

        `common` is what all lines of its kind say. The counts of minutes that are over are written first.
        """
        now = self._clock.now()
        if self._tally.has_finished(now):
            with self._tally.finished_sums(now) as sums:
                _write(sums)
        return self._tally.admits((("event", event), *common.items()), now)

    def write_remaining(self) -> None:
        """Write every count that is still in memory: the process is about to end."""
        with self._tally.all_sums() as sums:
            _write(sums)


def _write(sums: list[tuple[Line, int]]) -> None:
    for line, occurrences in sums:
        log.info(**dict(line), occurrences=occurrences)
