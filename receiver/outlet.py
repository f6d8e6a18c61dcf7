"""Where log lines leave the process. It never waits for the reader.

A pipe that nobody reads, or a terminal that was stopped with Ctrl-S, takes no more text. A plain write would wait for
it. Under gevent, the whole web process would wait. So we open the pipe or terminal once more for us alone, in
non-blocking mode. (The mode belongs to the open file. On the one that we inherited, it would change our neighbours'
too.) A stream that can't be opened again, such as a socket, is asked first whether it takes anything.
"""

import os
import stat
from collections import deque
from contextlib import suppress
from select import POLLOUT, poll  # the system's own: gevent's would switch to another greenlet in the middle of a line
from typing import Any

MOST_KEPT_BYTES = 1024 * 1024


class Outlet:
    """One stream of text. Give it whole lines.

    A text that it does not take now is kept, up to a bound, and goes out before the next line. So a reader that is slow
    for a moment misses nothing.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._descriptor, self._is_ours, self._must_ask = _opened(stream)
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0

    def write(self, line: str) -> bool:
        """Whether the line was taken, or kept for later. Raises nothing."""
        try:
            if self._descriptor is None:
                self._stream.write(line)
                self._stream.flush()
                return True
            return self._send(self._descriptor, line.encode("utf-8", "backslashreplace"))
        except Exception:  # full, closed, read by nobody
            return False

    def __del__(self) -> None:
        if self._is_ours and self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)

    def _send(self, descriptor: int, line: bytes) -> bool:
        if self._kept_bytes + len(line) > MOST_KEPT_BYTES:
            self._send_what_is_kept(descriptor)
            if self._kept_bytes + len(line) > MOST_KEPT_BYTES:
                return False
        self._kept.append(line)
        self._kept_bytes += len(line)
        self._send_what_is_kept(descriptor)
        return True

    def _send_what_is_kept(self, descriptor: int) -> None:
        """Write line by line. The system takes a short line whole or not at all, so no neighbour's line breaks it."""
        while self._kept and not (self._must_ask and not _takes_more(descriptor)):
            line = self._kept.popleft()
            self._kept_bytes -= len(line)
            try:
                taken = os.write(descriptor, line)
            except BlockingIOError:
                taken = 0
            if taken < len(line):
                self._kept.appendleft(line[taken:])
                self._kept_bytes += len(line) - taken
                return


def _opened(stream: Any) -> tuple[int | None, bool, bool]:
    """The stream's descriptor, whether we have to close it, and whether it may keep us waiting.

    None for a stream without a descriptor: a stream in memory, or no stream at all.
    """
    try:
        inherited: int = stream.fileno()
        kind = os.fstat(inherited).st_mode
    except (AttributeError, OSError, ValueError):
        return None, False, False
    if stat.S_ISREG(kind):
        return inherited, False, False
    with suppress(OSError):  # a socket, another user's file, or not Linux
        path, flags = f"/proc/self/fd/{inherited}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(path, flags), True, False
    return inherited, False, True


def _takes_more(descriptor: int | None) -> bool:
    waiting = poll()
    waiting.register(descriptor or 0, POLLOUT)
    return bool(waiting.poll(0))
