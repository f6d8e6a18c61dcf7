"""Those whom follow-ups talk to, on loopback: a mail server, and another system over HTTP. Both keep what they heard.

To play another kind of other side, write its server here and a fixture in __init__.py.
"""

import json
import ssl
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
    """Takes every message, unless `answers` says otherwise: `{"RCPT": "550 nobody"}`.

    `messages` are those that came, in order; `commands` are the verbs. With `tls`, it offers STARTTLS and a login.
    It listens on a free port, or on the port that it is given: so it can come back where it was.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Smtp)
        self.messages: list[EmailMessage] = []
        self.commands: list[str] = []
        self.answers: dict[str, str] = {}
        self.tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """Its address, as SMTP_URL has it."""
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class _Smtp(StreamRequestHandler):
    """Just enough of RFC 5321."""

    server: MailServer

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline():
            verb = line.strip().partition(b" ")[0].decode("ascii", "replace").upper()
            self.server.commands.append(verb)
            match verb:
                case _ if verb in self.server.answers:
                    self._say(self.server.answers[verb])
                case "EHLO" if self.server.tls:
                    self._say("250-ok\r\n250-STARTTLS\r\n250 AUTH PLAIN")
                case "STARTTLS" if self.server.tls:
                    self._say("220 go on")
                    if not self._begin_tls(self.server.tls):
                        return
                case "DATA":
                    self._say("354 go on")
                    self._take()
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def finish(self) -> None:
        super().finish()
        self.request.close()  # the server knows of the socket below TLS only

    def _begin_tls(self, tls: ssl.SSLContext) -> bool:
        try:
            self.request = tls.wrap_socket(self.request, server_side=True)
        except OSError:  # the client does not trust us
            return False
        self.setup()
        return True

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
    """Answers 200, or first what `answers` says, one after the other: a status, or words that are no HTTP.

    `calls` are those that came, in order. It thinks for `seconds` before each answer. A redirect leads to `location`.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Http)
        self.calls: list[Call] = []
        self.answers: list[int | str] = []
        self.location = ""
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
        self.server.calls.append(Call(headers, json.loads(body or b"null")))
        Event().wait(self.server.seconds)
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if isinstance(answer, str):
            self.wfile.write(answer.encode())
            return
        self.send_response(answer)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - http.server's name

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
