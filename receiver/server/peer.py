"""Who is at the other end of a connection: it sends and takes as long as there is time, and one piece in its turn.

- A connection may be idle for KEEP_ALIVE_SECONDS. When few connections are left, the longest idle ones are closed.
- A request has to be there, head and body, `REQUEST_SECONDS` after its first byte.
- Each piece of an answer has to be taken within `SEND_SECONDS`.

No connection has a timer of its own: the worker looks now and then who waits for a peer too long, and ends that
connection. Nothing interrupts the application, so what is being stored is stored.

gevent hands over to others only where somebody has to wait. A peer whose next piece is always there already would keep
all others waiting, so it gives way: many times as long as it has kept them waiting.
"""

import math
import time
from contextlib import suppress

import gevent
from gevent import socket
from gunicorn.http.unreader import Unreader

REQUEST_SECONDS = 10.0
SEND_SECONDS = 10.0
LINGER_SECONDS = 5.0
PIECE = 8 * 1024
MOST_AT_ONCE = 64 * 1024
MOST_READ_AWAY = 16 * 1024 * 1024
TURN_SECONDS = 0.001
"""For so long a peer may keep others waiting before it gives way."""
PAUSE = 32
"""It gives way so many times as long: sixteen such peers leave half of the time to others."""
LONGEST_PAUSE_SECONDS = 0.1


class Peer(Unreader):  # type: ignore[misc]  # gunicorn is not typed
    """What gunicorn's parser reads from, and what an answer is sent to."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.idle_since: float | None = None  # while the next request has not begun
        self._sends_until = math.inf
        self._waits_until = math.inf  # while it is waited for
        self._is_late = False
        self._received = 0
        self._turn, self._turn_began = -1, 0.0  # of the event loop, when we last waited

    @property
    def taken(self) -> int:
        """How many of its bytes were looked at until now."""
        return self._received - len(self.buf.getbuffer())

    def expect_request(self, seconds: float) -> None:
        """The next request has to begin within so many seconds. Its first bytes may be here already."""
        self.idle_since = time.monotonic()
        self._sends_until = self.idle_since + seconds
        if self.buf.getbuffer():
            self._request_begins()
            self.give_way()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """What it sends next; nothing when it sends no more. Raises TimeoutError when it takes too long."""
        piece = self._receive(min(max(size_hint or 0, PIECE), MOST_AT_ONCE))
        self._request_begins()
        return piece

    def sendall(self, data: bytes | bytearray) -> None:
        """Let it take this. Raises OSError when it does not."""
        self._waits_until = time.monotonic() + SEND_SECONDS
        sent = 0
        while sent < len(data):  # mostly once, and without what sendall() asks first
            sent += self._connection.send(memoryview(data)[sent:])
        self._waits_until = math.inf

    def linger(self) -> None:
        """Nothing more is sent to it. Read away what it still sends, for a while.

        A connection that is closed with unread bytes in it is reset, and the peer may never see its answer.
        """
        socket.socket.shutdown(self._connection, socket.SHUT_WR)
        self.idle_since = time.monotonic()  # it makes room for others
        self._sends_until = self.idle_since + LINGER_SECONDS
        most = self._received + MOST_READ_AWAY
        while self._received < most and self._receive(MOST_AT_ONCE):
            pass

    def give_way(self) -> None:
        """Let others have a turn, if nobody had one for a while because of this peer."""
        if self._has_waited():
            return
        used = time.monotonic() - self._turn_began
        if used > TURN_SECONDS:
            gevent.sleep(min(used * PAUSE, LONGEST_PAUSE_SECONDS))  # with 0 gevent would not look at other sockets
            self._has_waited()

    def hold_back(self) -> None:
        """Let a peer wait that sent what is no request: it shall not come again at once."""
        gevent.sleep(LONGEST_PAUSE_SECONDS)
        self._has_waited()

    def drop_if_late(self, now: float) -> None:
        """End the connection if somebody waits for it, in vain."""
        if self._waits_until <= now:
            self._is_late = True
            with suppress(OSError):
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """End an idle connection. A request that has just arrived is still read: only what comes later is refused."""
        if self.idle_since is not None:
            with suppress(OSError):
                self._connection._sock.shutdown(socket.SHUT_RD)  # gevent's own shutdown() would not read what is there

    def _receive(self, most: int) -> bytes:
        self.give_way()
        if self._sends_until <= time.monotonic():
            raise TimeoutError
        self._waits_until = self._sends_until
        piece: bytes = self._connection.recv(most)
        self._waits_until = math.inf
        self._has_waited()
        if self._is_late:
            raise TimeoutError
        self._received += len(piece)
        return piece

    def _request_begins(self) -> None:
        """Its first byte is here: the rest has to follow within `REQUEST_SECONDS`."""
        if self.idle_since is not None:
            self.idle_since = None
            self._sends_until = time.monotonic() + REQUEST_SECONDS

    def _has_waited(self) -> bool:
        """Whether others had a turn since this was last asked. From then on the next one counts."""
        turn = gevent.get_hub().loop.iteration
        if turn == self._turn:
            return False
        self._turn, self._turn_began = turn, time.monotonic()
        return True
