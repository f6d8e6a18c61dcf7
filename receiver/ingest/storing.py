"""Database work beside a delivery, which waits for it until its time is up. What waits has a bound (room.py).

New events and most repeated deliveries don't pass here: they are stored in groups (receiver/ingest/group_commit.py).
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from threading import Lock
from typing import Any, Generic, TypeVar

from sqlalchemy.exc import DBAPIError

from receiver.ingest.room import MOST_BYTES_WAITING, MOST_WAITING, Overloaded, Room, TooLate

T = TypeVar("T")


class Storing:
    """The threads of one process that store what is no new event. Each needs a connection while it works."""

    def __init__(self, *, threads: int, most_waiting: int = MOST_WAITING, most_bytes: int = MOST_BYTES_WAITING) -> None:
        self._room = Room(most=most_waiting, most_bytes=most_bytes)
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="storing")

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or is under way."""
        return self._room.taken == 0

    def result(self, work: Callable[[], T], *, size: int, ends_at: float) -> T:
        """What the work returns or raises. It holds so many bytes, and may run once more on a fresh connection.

        Raises Overloaded, or TooLate at `ends_at` of the monotonic clock: what was begun may be stored later all the
        same.
        """
        left = ends_at - time.monotonic()
        if left <= 0:
            raise TooLate
        job = _Job(lambda: _tried_twice(work, ends_at), size, self._room)
        self._room.take(size)
        outcome: Future[T] = self._submit(job)
        try:
            return outcome.result(timeout=left)
        except NotDone:
            job.forget()
            raise TooLate from None

    def beside(self, work: Callable[[], object]) -> None:
        """Do it some time soon. Nobody waits for it. Raises Overloaded."""
        self._room.take(0)
        self._submit(_Job(work, 0, self._room))

    def close(self) -> None:
        """Finish what waits, then end the threads."""
        self._threads.shutdown()

    def _submit(self, job: "_Job[Any]") -> Future[Any]:
        try:
            return self._threads.submit(job.run)
        except RuntimeError:  # the system has no thread left
            job.forget()
            self._room.give_back(places=1)
            raise Overloaded from None


class _Job(Generic[T]):
    """Work that can be forgotten as long as it has not begun: then it holds its bytes no longer, only its place."""

    def __init__(self, work: Callable[[], T], size: int, room: Room) -> None:
        self._work: Callable[[], T] | None = work
        self._size, self._room = size, room
        self._lock = Lock()

    def run(self) -> Any:
        with self._lock:
            work, self._work = self._work, None
        try:
            return work() if work else None
        finally:
            self._room.give_back(places=1, size=self._size if work else 0)

    def forget(self) -> None:
        with self._lock:
            work, self._work = self._work, None
        if work:
            self._room.give_back(size=self._size)


def _tried_twice(work: Callable[[], T], ends_at: float) -> T:
    """Once more where the connection was lost, say because the server was restarted since it was used last.

    Everything that is stored here may be repeated: after a 503, the sender would do the same.
    """
    try:
        return work()
    except DBAPIError as error:
        if not error.connection_invalidated or time.monotonic() >= ends_at:
            raise
    return work()
