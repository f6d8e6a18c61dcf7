"""Group commit: deliveries that wait at the same moment share one transaction, because a COMMIT costs most.

A database acknowledges a transaction when its log is on the disk. A disk takes about as long to write one line as to
write fifty. If each delivery commits for itself, deliveries queue up at the disk. Here they queue up at one *committer*
instead. It takes all deliveries that wait at the moment, up to `MOST_AT_ONCE`, and stores them in one transaction. Each
delivery goes on when that transaction is durable, never before. Meanwhile the next group gathers by itself, so no
delivery waits for company: a lone delivery is stored alone, at once.

A group shares the commit, not a failure. When the commit fails, each delivery is tried again alone, so that one that
can't be stored never fails the others. If the database itself is away, trying again would only keep everybody waiting.
Then all of them fail, and their senders come again.

Under gevent a "thread" is a greenlet, and the code is the same. The threads survive every error of a turn. If one is
gone all the same, `is_broken` says so until it is started again. The second thread starts the committer again, and the
next item starts the second thread again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

import structlog

from receiver.database.causes import cause_of
from receiver.endless import endless
from receiver.ingest.room import MOST_BYTES_WAITING, MOST_WAITING, NotStored, Refused, Room, TooLate, Unavailable

MOST_AT_ONCE = 64
ANNOUNCE_SECONDS = 0.05
WATCH_SECONDS = 0.1

Item = TypeVar("Item", contravariant=True)
Kept = TypeVar("Kept")
log = structlog.get_logger()


class Store(Protocol[Item]):
    """Where the committer puts a group. Used by the committer alone, one call at a time."""

    def store(self, items: Sequence[Item]) -> Sequence[bool]:
        """Make all that it takes durable, or none. Says of each whether it took it. Raises Unavailable or Refused."""

    def announce(self) -> None:
        """Wake those that wait for new items. Best effort."""

    def close(self) -> None:
        """Close the connection. The next `store()` opens another."""


class _Waiting(Generic[Kept]):
    """One who waits for the committer. The lock is held until the outcome is there."""

    __slots__ = ("ends_at", "error", "item", "outcome", "settled", "size", "taken")

    def __init__(self, item: Kept, size: int, ends_at: float) -> None:
        self.item = item
        self.size = size  # bytes
        self.ends_at = ends_at
        self.taken = self.settled = False
        self.error: NotStored | None = None
        self.outcome = threading.Lock()
        self.outcome.acquire()


class GroupCommit(Generic[Kept]):
    """The committer of one process. Its threads start with the first item, so after a server has forked.

    One thread commits. The other sends those away whose time is up, even when the first one is stuck. (A timer for each
    delivery would cost more than the rest of the waiting.)
    """

    def __init__(
        self,
        store: Store[Kept],
        *,
        patience: float,
        most_waiting: int = MOST_WAITING,
        most_bytes: int = MOST_BYTES_WAITING,
        say_waiting: Callable[[int], None] | None = None,
    ) -> None:
        """`say_waiting` is told how many wait for a group, each time the watch sees another number."""
        self._store, self._patience = store, patience
        self._say_waiting, self._said_waiting = say_waiting, -1
        self._room = Room(most=most_waiting, most_bytes=most_bytes)
        self._queue: SimpleQueue[_Waiting[Kept] | None] = SimpleQueue()
        self._unsettled: deque[_Waiting[Kept]] = deque()  # and those settled since the watch looked last
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._gone: set[int] = set()  # the numbers of those that ended and were not told to
        self._closing = threading.Event()
        self._announced_at, self._to_announce = 0.0, False

    @property
    def waiting(self) -> int:
        """How many wait for a group."""
        return self._room.taken

    @property
    def is_broken(self) -> bool:
        """Whether one of the threads is gone."""
        return bool(self._gone)

    def submit(self, item: Kept, *, size: int = 0, ends_at: float | None = None) -> bool:
        """Make the item, of so many bytes, durable. Whether the store took it: one of new events takes no known one.

        Raises NotStored, at `ends_at` (of the monotonic clock) at the latest, or else after `patience` seconds.
        """
        if not self._threads or self._gone:
            self.start()
        self._room.take(size)
        waiting = _Waiting(item, size, time.monotonic() + self._patience if ends_at is None else ends_at)
        self._unsettled.append(waiting)
        self._queue.put(waiting)
        waiting.outcome.acquire()
        if waiting.error is not None:
            raise waiting.error
        return waiting.taken

    def close(self) -> None:
        """Store who still waits, then end the threads."""
        if self._threads:
            self._queue.put(None)
            committing, watching = self._threads
            committing.join(self._patience + 1)  # or it is stuck, and everyone has been sent away
            self._closing.set()
            watching.join()
            self._closing.clear()
            self._threads = []

    def start(self) -> None:
        """Start those of the threads that do not run. Raises Unavailable when the system has none left."""
        with self._lock:
            for number, work in enumerate((self._run, self._watch)):
                if number < len(self._threads) and number not in self._gone:
                    continue
                thread = threading.Thread(target=self._noticed, args=(number, work), daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    raise Unavailable("no thread can be started") from error
                if number in self._gone:
                    log.error("committer_started_again")
                self._threads[number:] = [thread, *self._threads[number + 1 :]]
                self._gone.discard(number)

    def _noticed(self, number: int, work: Callable[[], None]) -> None:
        """Do the work of a thread, and notice when it ends before its time."""
        told_to_go = False
        try:
            work()
            told_to_go = True
        finally:
            if not told_to_go:
                self._gone.add(number)

    def _run(self) -> None:
        endless(self._commit_next, name="committer")
        self._store.close()

    def _watch(self) -> None:
        endless(self._send_away, name="committer's watch")

    def _commit_next(self) -> bool:
        group = self._next_group()
        waiting = [waiting for waiting in group if waiting is not None]
        try:
            self._commit(waiting)
        finally:  # whatever happened, nobody who was in the group waits for a committer that has forgotten him
            self._settle(waiting, error=Unavailable("the committer failed"))
        self._announce()
        return None not in group

    def _send_away(self) -> bool:
        if self._closing.wait(WATCH_SECONDS):
            return False
        if self.is_broken:
            self.start()
        if self._say_waiting and self.waiting != self._said_waiting:
            self._said_waiting = self.waiting
            self._say_waiting(self._said_waiting)
        now, late = time.monotonic(), list[_Waiting[Kept]]()
        for _ in range(len(self._unsettled)):  # more may be appended meanwhile
            waiting = self._unsettled.popleft()
            if not waiting.settled:
                (late if waiting.ends_at <= now else self._unsettled).append(waiting)
        self._settle(late, error=TooLate())
        return True

    def _next_group(self) -> list[_Waiting[Kept] | None]:
        """All that wait now, with those that arrive at this moment. If nobody waits, the first that comes."""
        group: list[_Waiting[Kept] | None] = []
        with suppress(Empty):
            group.append(self._queue.get(timeout=ANNOUNCE_SECONDS if self._to_announce else None))
            while len(group) < MOST_AT_ONCE:
                if self._queue.empty():
                    time.sleep(0)  # a request that has been read, but not looked at yet, has its turn
                group.append(self._queue.get_nowait())
        self._room.give_back(places=len(group) - group.count(None))
        return group

    def _commit(self, group: Sequence[_Waiting[Kept]]) -> None:
        group = [waiting for waiting in group if not waiting.settled]
        if not group:
            return
        try:
            for waiting, taken in zip(group, self._store.store([waiting.item for waiting in group]), strict=True):
                waiting.taken = taken
        except Refused as error:
            if len(group) == 1:
                self._settle(group, error=error)
            else:
                for waiting in group:
                    self._commit([waiting])
        except Exception as error:
            log.error("group_not_stored", error=cause_of(error), waiting=len(group))
            self._settle(group, error=error if isinstance(error, NotStored) else Unavailable(cause_of(error)))
        else:
            self._to_announce = self._to_announce or any(waiting.taken for waiting in group)
            self._settle(group)

    def _settle(self, group: Sequence[_Waiting[Kept]], *, error: NotStored | None = None) -> None:
        """Let them go on, each only once: the second caller finds it done."""
        with self._lock:
            group = [waiting for waiting in group if not waiting.settled]
            for waiting in group:
                waiting.settled, waiting.error = True, error
        self._room.give_back(size=sum(waiting.size for waiting in group))
        for waiting in group:
            waiting.outcome.release()

    def _announce(self) -> None:
        """Not after every group: an announcement wakes every worker, and they look by themselves once a second."""
        now = time.monotonic()
        if self._to_announce and now - self._announced_at >= ANNOUNCE_SECONDS:
            self._announced_at, self._to_announce = now, False
            with suppress(Exception):
                self._store.announce()
