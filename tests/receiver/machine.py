"""What a process and everybody whom it started use of the machine, as the kernel tells."""

import os
import re
from contextlib import suppress
from pathlib import Path

from tests.receiver.processes import family_of

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME, _CSTIME = 11, 14
"""The first and the last of the times in /proc/PID/stat, counted behind the name. Those of ended children are in it."""

_ESTABLISHED, _CLOSED_FIRST = "01", ("04", "05", "06")
"""States of a connection, as Linux numbers them: FIN_WAIT1, FIN_WAIT2 and TIME_WAIT are those of who closed first."""


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


def connections_to(port: int) -> set[int]:
    """The ports from which somebody at 127.0.0.1 is connected to this one."""
    return {here for here, there, state in _sockets() if there == port and state == _ESTABLISHED}


def who_closed(port: int, other: int) -> str:
    """Which end closed the connection from `other` to the receiver at `port` first; empty while it lives.

    The end that closes first keeps the connection for a minute, in one of the states that wait.
    """
    for here, there, state in _sockets():
        if state in _CLOSED_FIRST and (here, there) == (port, other):
            return "the receiver"
        if state in _CLOSED_FIRST and (here, there) == (other, port):
            return "the router"
    return ""


def _sockets() -> list[tuple[int, int, str]]:
    """The two ports and the state of each socket of IPv4 and IPv6."""
    texts = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
    lines = [line.split() for text in texts for line in text.splitlines()[1:]]
    return [(int(line[1][-4:], 16), int(line[2][-4:], 16), line[3]) for line in lines]
