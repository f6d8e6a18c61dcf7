"""What a process and everybody whom it started use of the machine, as the kernel tells."""

import os
import re
from contextlib import suppress
from pathlib import Path

from tests.receiver.processes import family_of

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME, _CSTIME = 11, 14
"""The first and the last of the times in /proc/PID/stat, counted behind the name. Those of ended children are in it."""


def memory_mib(pid: int) -> int:
    """MiB. Of a page that processes share, each has its part."""
    total = 0
    for member in family_of(pid):
        with suppress(OSError):  # it has ended meanwhile
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{member}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return round(total / 1024)


def cpu_seconds(pid: int) -> float:
    """Processor time, of the system and of the user."""
    total = 0
    for member in family_of(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[_UTIME : _CSTIME + 1]))
    return total / _TICKS
