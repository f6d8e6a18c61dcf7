"""The other end of a connection: how long it may take to send and to receive, and when others have their turn.

- A connection may be idle for KEEP_ALIVE_SECONDS. When few connections are left, the longest idle ones are closed.
- A whole request, head and body, must arrive within `REQUEST_SECONDS` after its first byte.
- The peer must take each piece of an answer within `SEND_SECONDS`.

A connection has no timer of its own. Now and then the worker looks for connections that wait too long for their peer,
and ends them. Nothing interrupts the application, so what it is storing is stored.

gevent switches to another connection only when one has to wait. A peer whose next piece is always there already would
keep all others waiting. So it pauses, many times as long as it has kept them waiting.
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
"""How long a peer may keep others waiting before it has to pause."""
PAUSE = 32
"""The pause is so many times as long: sixteen such peers leave half of the time to others."""
LONGEST_PAUSE_SECONDS = 0.1


class Peer(Unreader):  # type: ignore[misc]  # gunicorn is not typed
    """What gunicorn's parser reads from, and what an answer is sent to."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.idle_since: float | None = None  # None once the next request has begun
        self._sends_until = math.inf
        self._waits_until = math.inf  # until when we wait for it now
        self._is_late = False
        self._received = 0
        self._turn, self._turn_began = -1, 0.0  # of the event loop, when we last waited

    @property
    def taken(self) -> int:
        """How many of its bytes have been read until now."""
        return self._received - len(self.buf.getbuffer())

    def expect_request(self, seconds: float) -> None:
        """The next request must begin within so many seconds. Its first bytes may be here already."""
        self.idle_since = time.monotonic()
        self._sends_until = self.idle_since + seconds
        if self.buf.getbuffer():
            self._request_begins()
            self.give_way()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """What it sends next, or nothing when it sends no more. Raises TimeoutError when it takes too long."""
        piece = self._receive(min(max(size_hint or 0, PIECE), MOST_AT_ONCE))
        self._request_begins()
        return piece

    def sendall(self, data: bytes | bytearray) -> None:
        """Send all of this. Raises OSError when the peer does not take it."""
        self._waits_until = time.monotonic() + SEND_SECONDS
        sent = 0
        while sent < len(data):  # mostly once; gevent's sendall() costs more
            sent += self._connection.send(memoryview(data)[sent:])
        self._waits_until = math.inf

    def linger(self) -> None:
        """Send no more. Read away what the peer still sends, for a while.

        If a connection is closed with unread bytes in it, it is reset, and the peer may never see its answer.
        """
        socket.socket.shutdown(self._connection, socket.SHUT_WR)
        self.idle_since = time.monotonic()  # it may be closed to make room
        self._sends_until = self.idle_since + LINGER_SECONDS
        most = self._received + MOST_READ_AWAY
        while self._received < most and self._receive(MOST_AT_ONCE):
            pass

    def give_way(self) -> None:
        """Pause, so that others have a turn, if this peer has kept them waiting for a while."""
        if self._has_waited():
            return
        used = time.monotonic() - self._turn_began
        if used > TURN_SECONDS:
            gevent.sleep(min(used * PAUSE, LONGEST_PAUSE_SECONDS))  # with 0, gevent would not look at other sockets
            self._has_waited()

    def hold_back(self) -> None:
        """Pause for a peer that sent no proper request, so that it can't come again at once."""
        gevent.sleep(LONGEST_PAUSE_SECONDS)
        self._has_waited()

    def drop_if_late(self, now: float) -> None:
        """End the connection if we have waited for the peer too long."""
        if self._waits_until <= now:
            self._is_late = True
            with suppress(OSError):
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """End an idle connection. A request that has just arrived is still read; only later ones are refused."""
        if self.idle_since is not None:
            with suppress(OSError):
                self._connection._sock.shutdown(socket.SHUT_RD)  # gevent's own shutdown() would lose what is here

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
        """The first byte is here. The rest must follow within `REQUEST_SECONDS`."""
        if self.idle_since is not None:
            self.idle_since = None
            self._sends_until = time.monotonic() + REQUEST_SECONDS

    def _has_waited(self) -> bool:
        """Whether others had a turn since the last call. If so, a new turn begins to count."""
        turn = gevent.get_hub().loop.iteration
        if turn == self._turn:
            return False
        self._turn, self._turn_began = turn, time.monotonic()
        return True
