"""What a stranger with a network connection can send to hold a receiver up, each as a function with a name.

To add an attack: a function below `@attack`. It does one round over a connection, and `beside()` repeats it from as
many connections as a test asks for, in a process of its own:
`python -m tests.receiver.security.attacks PORT CONNECTIONS NAME…`.
An attack that needs settings of the receiver names them.
"""

import itertools
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

from tests.receiver.processes import ROOT, Receiver

PAUSE_SECONDS = 0.02
"""Between two rounds of one connection: what holds the receiver up is the cost of a request, not their number."""
WEBHOOK = "/webhooks/senang"
HEAD = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\n"


@dataclass(frozen=True)
class Attack:
    """One way to hold the receiver up. `settings` are what the receiver needs for it to be one."""

    name: str
    round: Callable[[int], None]
    settings: Mapping[str, str] = field(default_factory=dict)


ATTACKS: dict[str, Attack] = {}


def attack(**settings: str) -> Callable[[Callable[[int], None]], Callable[[int], None]]:
    """Name the function as an attack."""

    def named(one_round: Callable[[int], None]) -> Callable[[int], None]:
        ATTACKS[one_round.__name__] = Attack(one_round.__name__, one_round, settings)
        return one_round

    return named


def sent(port: int, request: bytes) -> bytes:
    """The beginning of the answer to these bytes; nothing where the receiver hangs up."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        return connection.recv(65536)
    return b""


def get(port: int, target: str, *headers: str) -> None:
    """GET this target."""
    lines = "".join(f"{line}\r\n" for line in headers)
    sent(port, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())


def post(port: int, target: str, body: bytes, *headers: str) -> None:
    """POST this body."""
    lines = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *headers))
    sent(port, f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode() + body)


# What the log line of a request was masked with


@attack()
def path_like_a_card(port: int) -> None:
    get(port, "/" + "1-" * 4000)


@attack()
def path_like_a_token(port: int) -> None:
    get(port, "/" + "eyJ-" * 2000)


@attack()
def path_like_an_address(port: int) -> None:
    get(port, "/" + "a:" * 4000)


@attack()
def query_like_an_address(port: int) -> None:
    get(port, "/sign-in?next=/" + "a:" * 3900)


@attack()
def method_like_a_card(port: int) -> None:
    sent(port, b"1-" * 2000 + b" / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


# What is looked at before anybody knows who it is


@attack()
def many_accepted_types(port: int) -> None:
    get(port, "/nothing-here", "Accept: " + "a/b;q=0.5," * 6000)


@attack()
def long_cookie(port: int) -> None:
    get(port, "/sign-in", "Cookie: session=" + "a;" * 30000)


@attack()
def cookie_of_blanks(port: int) -> None:
    get(port, "/sign-in", "Cookie: a" + " " * 60000 + "b")


@attack()
def many_fields_in_a_form(port: int) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    post(port, "/sign-in", b"a=b&" * 200_000, form)


@attack()
def many_parts_in_a_form(port: int) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n\r\n'
    post(port, "/sign-in", part * 20_000 + b"--b--\r\n", "Content-Type: multipart/form-data; boundary=b")


@attack()
def large_file_in_a_form(port: int) -> None:
    begun = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    post(port, "/sign-in", begun + b"x" * 8_000_000 + b"\r\n--b--\r\n", "Content-Type: multipart/form-data; boundary=b")


@attack()
def near_path(port: int) -> None:
    post(port, "/webhoks/" + "wbhksen" * 12, b"{}")


# What is sent to the webhook without a signature


@attack()
def no_signature(port: int) -> None:
    post(port, WEBHOOK, b'{"a": 1}')


@attack()
def wrong_signature_of_a_large_body(port: int) -> None:
    stamp = int(time.time())
    headers = "Webhook-Id: msg_1", f"Webhook-Timestamp: {stamp}", f"Webhook-Signature: v1,{'A' * 43}="
    post(port, WEBHOOK, b"[" * 1_000_000, *headers)


@attack()
def body_of_one_byte_chunks(port: int) -> None:
    sent(port, f"{HEAD}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + b"1\r\na\r\n" * 400_000)


@attack()
def long_chunk_extensions(port: int) -> None:
    body = (b"1;" + b"e" * 1000 + b"\r\na\r\n") * 2000 + b"0\r\n\r\n"
    sent(port, f"{HEAD}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + body)


@attack()
def long_trailers(port: int) -> None:
    body = b"1\r\na\r\n0\r\n" + b"t: v\r\n" * 350_000 + b"\r\n"
    sent(port, f"{HEAD}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + body)


FIELDS = {
    "SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex",
    "SENANG_SIGNATURE_CONTENT": "{timestamp}.{fields}",
    "SENANG_SIGNATURE_TIMESTAMP_HEADER": "X-Timestamp",
    "SENANG_SIGNATURE_VALUE_SEPARATOR": "=",
    "SENANG_SIGNATURE_FIELD_SEPARATOR": "&",
}


@attack(**FIELDS)
def long_paths_under_fields(port: int) -> None:
    key = "k" * 1000
    body = f'{{"{key}":' * 30 + f"[{'1,' * 10_000}1]" + "}" * 30
    post(port, WEBHOOK, body.encode(), f"X-Timestamp: {int(time.time())}", "X-Signature: " + "a" * 64)


@attack(**FIELDS)
def deep_body_under_fields(port: int) -> None:
    body = b"[" * 30_000 + b"]" * 30_000
    post(port, WEBHOOK, body, f"X-Timestamp: {int(time.time())}", "X-Signature: " + "a" * 64)


# What costs much by design


class Browser:
    """A connection with a session, as a browser has it."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._cookie = ""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get("/sign-in"))
        self._token = token[1] if token else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def get(self, path: str) -> str:
        """The page."""
        return self._exchange("GET", path)

    def sign_in(self, name: str, password: str, address: str) -> None:
        """Try to sign in, from this address."""
        self._exchange("POST", "/sign-in", f"name={name}&password={password}&csrf_token={self._token}", address)

    def _exchange(self, method: str, path: str, form: str = "", address: str = "192.0.2.1") -> str:
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        self._connection.request(method, path, form, {"Cookie": self._cookie, "X-Forwarded-For": address, **kind})
        answer = self._connection.getresponse()
        if cookie := answer.headers["Set-Cookie"]:
            self._cookie = cookie.partition(";")[0]
        return answer.read().decode()


_mine = threading.local()
_numbers = itertools.count()


def _sign_in_from(port: int, address: str) -> None:
    try:
        if getattr(_mine, "browser", None) is None:
            _mine.browser = Browser(port)
        _mine.browser.sign_in("siti", f"wrong-{next(_numbers)}", address)
    except (OSError, HTTPException):
        _mine.browser = None


@attack()
def sign_in(port: int) -> None:
    _sign_in_from(port, "203.0.113.7")


@attack(FORWARDED_FOR_HOPS="1")
def sign_in_from_many_addresses(port: int) -> None:
    number = next(_numbers)
    _sign_in_from(port, f"198.{18 + number // 65536 % 2}.{number // 256 % 256}.{number % 256}")


# The harness


@contextmanager
def beside(port: int, names: list[str], connections: int) -> Iterator[None]:
    """The attacks, from so many connections altogether, while the block runs."""
    command = [sys.executable, "-m", "tests.receiver.security.attacks", str(port), str(connections), *names]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        try:
            yield
        finally:
            process.kill()


def memory_of(receiver: Receiver) -> int:
    """Bytes that the receiver's web processes hold."""
    return sum(_resident(pid) for pid in _descendants(receiver))


def _descendants(receiver: Receiver) -> list[int]:
    found = [process.pid for process in receiver._processes]
    for pid in found:
        with suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found.extend(int(child) for child in children)
    return found


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return 0


def _repeat(port: int, names: list[str]) -> None:
    pause = threading.Event()
    for name in itertools.cycle(names):
        ATTACKS[name].round(port)
        pause.wait(PAUSE_SECONDS)


def main(port: int, connections: int, names: list[str]) -> None:
    """Attack until killed. Each connection begins with another attack."""
    for number in range(connections):
        first = number % len(names)
        threading.Thread(target=_repeat, args=(port, names[first:] + names[:first]), daemon=True).start()
    print("begun", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
