"""A TCP port that leads to PostgreSQL's socket: a platform's database has an address, a port, a user and a password."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

_CHUNK = 65_536


class _Relay(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.path = path


class _Connection(BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Relay)
        with socket.socket(socket.AF_UNIX) as there, suppress(OSError):
            there.connect(str(self.server.path))
            other = {self.request: there, there: self.request}
            while True:
                for ready in select([*other], [], [])[0]:
                    sent = ready.recv(_CHUNK)
                    if not sent:
                        return
                    other[ready].sendall(sent)


@contextmanager
def relay(folder: Path) -> Iterator[int]:
    """The port at which the server listens whose socket is in this folder."""
    with _Relay(folder / ".s.PGSQL.5432") as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


@contextmanager
def as_on_a_platform(url: str) -> Iterator[tuple[str, str]]:
    """The URL of a database for us, and the address, port and name by which a platform has it."""
    with relay(Path(parse_qs(urlsplit(url).query)["host"][0])) as port:
        yield url.replace("postgresql:", "postgresql+psycopg:"), f"127.0.0.1:{port}{urlsplit(url).path}"
