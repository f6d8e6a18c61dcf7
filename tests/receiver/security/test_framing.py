"""What stands around the bodies is bounded, and whoever sends without end keeps nobody else waiting (§3.2)."""

import socket
import threading
from contextlib import contextmanager, suppress

import pytest

from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.processes import running
from tests.receiver.settings import ENVIRONMENT

HEAD = b"POST /webhooks/senang HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LONG = 10 * 1024 * 1024
TWO_MEGABYTES = 2 * 1024 * 1024
NEVER_ENDING = {
    "one-byte chunks": CHUNKED + b"1\r\na\r\n" * 400_000,
    "trailers": CHUNKED + b"0\r\n" + b"a: b\r\n" * (TWO_MEGABYTES // 6),
    "one trailer": CHUNKED + b"0\r\na: " + b"b" * TWO_MEGABYTES,
    "one extension": CHUNKED + b"1;" + b"a" * TWO_MEGABYTES,
    "extensions": CHUNKED + (b"1;" + b"a" * 1000 + b"\r\na\r\n") * 2000,
    "digits of a size": CHUNKED + b"0" * TWO_MEGABYTES,
    "a request line": b"GET /" + b"a" * TWO_MEGABYTES,
    "a field": HEAD + b"A: " + b"a" * TWO_MEGABYTES,
    "a name": HEAD + b"A" * TWO_MEGABYTES,
    "fields": HEAD + b"A: b\r\n" * (TWO_MEGABYTES // 6),
    "empty lines": b"\r\n" * TWO_MEGABYTES,
}
PIPELINED = 20_000


@pytest.fixture(scope="module")
def receiver(shared_database):
    settings = ENVIRONMENT | {"DATABASE_URL": shared_database, "EMBEDDED_WORKER": "0"}
    with running(settings) as receiver:
        receiver.web()
        yield receiver


@pytest.fixture(scope="module")
def echo(shared_database):
    """The same server before an application that answers at once, and waits for nothing."""
    with running(
        ENVIRONMENT | {"DATABASE_URL": shared_database, "EMBEDDED_WORKER": "0", "LOG_LEVEL": "ERROR"}
    ) as receiver:
        process = receiver.start("-m", "gunicorn", "tests.receiver.security.echo:app")
        eventually(lambda: process.poll() is not None or receiver.answers("/"))
        yield receiver


@contextmanager
def connected(receiver):
    with socket.create_connection(("127.0.0.1", receiver.port), PATIENCE_SECONDS) as connection:
        yield connection


def everything(connection):
    """What is answered until the receiver ends the connection."""
    answered = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65_536):
            answered += piece
    return answered


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(receiver):
    for field in (b"", b"Expect: 100-continue\r\n"):
        with connected(receiver) as connection:
            connection.sendall(HEAD + field + b"Content-Length: %d\r\n\r\n" % TOO_LONG)
            answered = everything(connection)

        assert answered.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nConnection: close\r\n" in answered


def test_a_sender_that_sends_a_body_that_is_too_large_sees_why_it_was_refused(receiver):
    with connected(receiver) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % TOO_LONG)
        connection.sendall(b"x" * TOO_LONG)

        assert everything(connection).startswith(b"HTTP/1.1 413 ")


def test_a_sender_that_waits_for_100_is_told_to_send_what_is_wanted(receiver):
    with connected(receiver) as connection:
        connection.sendall(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        told = connection.recv(1000)
        connection.sendall(b"{}")

        assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert everything(connection).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("kind", NEVER_ENDING)
def test_what_never_ends_is_refused_before_its_end(receiver, kind):
    with connected(receiver) as connection:
        with suppress(ConnectionError):
            connection.sendall(NEVER_ENDING[kind])

        assert everything(connection).startswith(b"HTTP/1.1 400 ")


def test_an_honest_large_body_in_chunks_is_read(echo):
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with connected(echo) as connection:
        head = b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + chunk * 256 + b"0\r\n\r\n")
        answered = everything(connection)

    assert answered.startswith(b"HTTP/1.1 200 ")
    assert answered.endswith(b"POST /a " + b"x" * 4096 * 256)


def test_requests_without_a_pause_on_one_connection_keep_no_other_one_waiting(echo):
    with connected(echo) as greedy, connected(echo) as other:
        sending = threading.Thread(target=greedy.sendall, args=(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * PIPELINED,))
        sending.start()
        first = greedy.recv(1000)
        answers = [first.count(b"HTTP/1.1 200")]
        reading = threading.Thread(target=lambda: count_answers(greedy, answers))
        reading.start()
        other.sendall(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        answered, meanwhile = other.recv(1000), answers[0]
        greedy.shutdown(socket.SHUT_RDWR)
        sending.join()
        reading.join()

    assert answered.endswith(b"GET /b")
    assert meanwhile < PIPELINED / 4


def count_answers(connection, answers):
    with suppress(OSError):
        while piece := connection.recv(65_536):
            answers[0] += piece.count(b"HTTP/1.1 200")
