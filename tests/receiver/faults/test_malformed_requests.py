"""What is no proper HTTP gets a clear answer, and the log neither a traceback nor what a stranger sent (§9.3)."""

import json
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.processes import running
from tests.receiver.settings import ENVIRONMENT

HEAD = b"POST /webhooks/senang HTTP/1.1\r\nHost: stranger\r\n"
MALFORMED = {
    "no HTTP at all": b"\x16\x03\x01\x00stranger\r\n\r\n",
    "an unknown version": b"GET /stranger HTTP/9.9\r\n\r\n",
    "a folded header": HEAD + b"A: b\r\n c\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",
    "a length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an encoding beside chunks": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a length that is no number": HEAD + b"Content-Length: stranger\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a broken chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a space before the colon": HEAD + b"Content-Length : 2\r\n\r\nab",
    "a NUL in a header": HEAD + b"A: \x00\r\n\r\n",
    "bare line feeds": b"GET /stranger HTTP/1.1\nHost: x\n\n",
    "too many headers": HEAD + b"".join(b"h%d: x\r\n" % number for number in range(9000)) + b"\r\n",
}
FLOOD, AT_ONCE = 200, 16


@pytest.fixture(scope="module")
def receiver(shared_database, tmp_path_factory):
    own = {"DATABASE_URL": shared_database, "EMBEDDED_WORKER": "0"}
    with running(ENVIRONMENT | own) as receiver:
        receiver.log = tmp_path_factory.mktemp("receiver") / "log"
        receiver.web()
        yield receiver


def exchange(receiver, sent):
    """The status of the answer."""
    with socket.create_connection(("127.0.0.1", receiver.port), PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        return int(connection.recv(200).split()[1])


def hang_up(receiver, sent):
    """Send, and reset the connection."""
    with socket.create_connection(("127.0.0.1", receiver.port), PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(sent)


def test_what_is_no_proper_request_is_a_400_and_is_not_quoted_in_the_log(receiver):
    statuses = {name: exchange(receiver, sent) for name, sent in MALFORMED.items()}

    assert statuses == dict.fromkeys(MALFORMED, 400)
    assert receiver.answers("/healthz")
    assert_only_json_lines(receiver.log)
    assert "stranger" not in receiver.log.read_text()


def test_a_flood_of_what_is_no_request_does_not_fill_the_log(receiver):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: exchange(receiver, b"stranger\r\n\r\n"), range(FLOOD)))

    events = [json.loads(line)["event"] for line in receiver.log.read_text().splitlines()]
    assert 0 < events.count("invalid_request") < FLOOD / 4


def test_peers_that_hang_up_leave_no_traceback(receiver):
    for sent in (HEAD + b"Content-Le", HEAD + b"Content-Length: 100\r\n\r\nab", b"GET /sign-in HTTP/1.1\r\n\r\n" * 50):
        hang_up(receiver, sent)

    eventually(lambda: receiver.answers("/healthz"))
    assert_only_json_lines(receiver.log)


def assert_only_json_lines(path):
    for line in path.read_text().splitlines():
        assert line.startswith("{"), path.read_text()
        assert json.loads(line)["level"] in ("info", "warning"), line
