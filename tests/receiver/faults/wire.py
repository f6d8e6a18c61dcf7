"""The wire between the receiver and PostgreSQL, and a way to cut it at the worst moment: COMMIT.

Whoever sends COMMIT and hears nothing can't know whether it arrived. `cutting_proxy()` plays both answers for real: it
passes every byte between a client and the server, and understands just enough of PostgreSQL's protocol to notice the
client's COMMIT: a client's first message is its length and its body, every later one has a letter before them. New
events are stored by a prepared statement that is a transaction by itself: what commits it is the Sync that follows.
"""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Literal

from sqlalchemy.engine import make_url

Cut = Literal["before", "after"]
"""Before COMMIT reaches the server, or after it has committed and before its answer reaches the client."""

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
SYNC = b"S\x00\x00\x00\x04"
ARRIVALS = b"\x00arrivals_"  # in the message that binds the statement to its parameters
ERROR, READY = b"E", b"Z"


class CuttingProxy(ThreadingTCPServer):
    """Listens on a port and passes on to PostgreSQL's socket. `cuts` lists the cuts that were made."""

    daemon_threads = True

    def __init__(self, uri: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self._url = make_url(uri)
        self._armed: list[Cut] = []
        self._lock = threading.Lock()
        self.cuts: list[Cut] = []

    @property
    def url(self) -> str:
        """The same database, seen through the proxy. Unencrypted, so that it can read."""
        query = {"sslmode": "disable", "gssencmode": "disable"}
        url = self._url.set(host="127.0.0.1", port=self.server_address[1], query=query)
        return url.render_as_string(hide_password=False)

    def cut_at_next_commit(self, *cuts: Cut) -> None:
        """Cut the connection that commits next, and so on. Arm it last, so that no other transaction takes the cut."""
        with self._lock:
            self._armed = list(cuts)

    def connect(self) -> socket.socket:
        """A new connection to the server."""
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._url.query['host']}/.s.PGSQL.{self._url.port or 5432}")
        return server

    def take_cut(self) -> Cut | None:
        """What is to happen to the COMMIT at hand."""
        with self._lock:
            return self._armed.pop(0) if self._armed else None


class _Connection(BaseRequestHandler):
    """One client's connection, in a thread of its own. When `handle()` returns, both its ends are closed."""

    server: CuttingProxy
    request: socket.socket

    def setup(self) -> None:
        self._unread = b""
        self._letters = 0  # in front of a message's length
        self._storing = False

    def handle(self) -> None:
        with suppress(OSError), self.server.connect() as postgres:
            while True:
                for end in select.select([self.request, postgres], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    if end is postgres:
                        self.request.sendall(data)
                    elif not self._pass_on(data, postgres):
                        return

    def _pass_on(self, data: bytes, postgres: socket.socket) -> bool:
        """False when the connection is to be cut."""
        for message in self._messages(data):
            self._storing = self._storing or (message[:1] == b"B" and ARRIVALS in message)
            cut = self.server.take_cut() if message == COMMIT or (self._storing and message == SYNC) else None
            if cut != "before":
                postgres.sendall(message)
            if cut == "after":
                _wait_until_committed(postgres)
            if cut:
                self.server.cuts.append(cut)
                return False
        return True

    def _messages(self, data: bytes) -> Iterator[bytes]:
        """The messages that the data completes."""
        self._unread += data
        while (end := _end_of_message(self._unread, self._letters)) is not None:
            message, self._unread = self._unread[:end], self._unread[end:]
            self._letters = 1
            yield message


def _end_of_message(data: bytes, letters: int = 1) -> int | None:
    """Where the first message of the data ends. None when it is not complete."""
    if len(data) < letters + 4:
        return None
    end = letters + int.from_bytes(data[letters : letters + 4])
    return end if len(data) >= end else None


def _wait_until_committed(postgres: socket.socket) -> None:
    """The bytes of a row may look like any message, so the answer is read message by message."""
    answer, kind = b"", b""
    while kind != READY:
        while (end := _end_of_message(answer)) is None:
            data = postgres.recv(65536)
            assert data, answer
            answer += data
        kind, answer = answer[:1], answer[end:]
        assert kind != ERROR, answer


@contextmanager
def cutting_proxy(uri: str) -> Iterator[CuttingProxy]:
    """A proxy before the server of this URI, which listens on a Unix socket."""
    with CuttingProxy(uri) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
