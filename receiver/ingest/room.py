"""How many deliveries may wait to be stored, and how many bytes they may hold.

A delivery that waits for the database takes memory, and a sender could fill all of it. Beyond the bounds, a delivery is
refused at once, with an answer that says "come again".

    NotStored
    ├── Overloaded    too many wait already: turned away at once, before memory grows
    ├── TooLate       no answer in time; it may be stored later all the same
    ├── Unavailable   the database is away, or takes nothing: all of the group fail
    └── Refused       the database takes others, but not this one
"""

from threading import Lock

MOST_WAITING = 2_000
MOST_BYTES_WAITING = 64 * 1024 * 1024


class NotStored(Exception):
    """The item is not known to be durable."""


class Overloaded(NotStored):
    """Too many are waiting already."""


class TooLate(NotStored):
    """It did not become durable in time."""


class Unavailable(NotStored):
    """Raised by a store: nothing that is tried now can succeed. The message names the cause, never a value."""


class Refused(NotStored):
    """Raised by a store: one of the items can't be stored. The message names the cause, never a value."""


class Room:
    """Places and bytes for what waits. The taker gives both back, perhaps not at the same time."""

    def __init__(self, *, most: int = MOST_WAITING, most_bytes: int = MOST_BYTES_WAITING) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._lock = Lock()
        self.taken = self.bytes = 0

    def take(self, size: int) -> None:
        """Take a place for so many bytes. Raises Overloaded."""
        with self._lock:
            if self.taken >= self._most or self.bytes > self._most_bytes:
                raise Overloaded
            self.taken += 1
            self.bytes += size

    def give_back(self, *, places: int = 0, size: int = 0) -> None:
        """So many places and bytes are free again."""
        with self._lock:
            self.taken -= places
            self.bytes -= size
