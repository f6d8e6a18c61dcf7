"""Those whom follow-ups talk to, on loopback: a mail server, and another system over HTTP. Both keep what they heard.

To play another kind of other side, write its server here and a fixture in __init__.py.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer, StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any, NamedTuple, TypeVar

S = TypeVar("S", bound=BaseServer)


class MailServer(ThreadingTCPServer):
    """Takes every message. `messages` are those that came, in order."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.messages: list[EmailMessage] = []

    @property
    def url(self) -> str:
        """Its address, as SMTP_URL has it."""
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class _Smtp(StreamRequestHandler):
    """Just enough of RFC 5321."""

    server: MailServer

    def handle(self) -> None:
        self._say("220 ready")
        for line in self.rfile:
            match line[:4].upper():
                case b"DATA":
                    self._say("354 go on")
                    self._take()
                case b"QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _take(self) -> None:
        lines = iter(self.rfile.readline, b".\r\n")
        data = b"".join(line.removeprefix(b".") for line in lines)
        self.server.messages.append(message_from_bytes(data, policy=policy.default))
        self._say("250 taken")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Call(NamedTuple):
    """A request that came."""

    headers: dict[str, str]  # by their names in lower case
    body: Any  # the JSON


class OtherSystem(ThreadingHTTPServer):
    """Answers 200, or first what `answers` says, one after the other. `calls` are those that came, in order.

    It thinks for `seconds` before each answer.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Http)
        self.calls: list[Call] = []
        self.answers: list[int] = []
        self.seconds = 0.0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Http(BaseHTTPRequestHandler):
    server: OtherSystem

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.calls.append(Call(headers, json.loads(body)))
        Event().wait(self.server.seconds)
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_line: Any) -> None:
        """Nothing: what came is in `calls`."""


@contextmanager
def listening(server: S) -> Iterator[S]:
    """The server, in a thread of its own, until the end of the block."""
    with server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
