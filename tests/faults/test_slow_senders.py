"""Whoever is slow holds nobody else up, and not for long (§3.2)."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.processes import running

SLOW_OF_EACH_KIND = 67
DROPPED_AFTER_SECONDS = 15.0
HEAD = b"POST /webhooks/senang HTTP/1.1\r\nHost: x\r\n"
LARGEST_BODY = 1024 * 1024
MORE_LARGE_BODIES_THAN_FIT = 80
LARGE_ANSWER = b"GET /static/vendor/htmx.min.js HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def receiver(database, environment):
    settings = environment | {"DATABASE_URL": database, "EMBEDDED_WORKER": "0", "LOG_LEVEL": "ERROR"}
    with running(settings, WEB_CONCURRENCY="1") as receiver:
        receiver.web()
        yield receiver


@pytest.fixture
def connect(receiver):
    """A connection to the receiver that takes in next to nothing."""
    with ExitStack() as stack:

        def make():
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", receiver.port))
            return connection

        yield make


def slow_head(connection):
    connection.sendall(HEAD)


def slow_body(connection):
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")


def slow_reader(connection):
    connection.sendall(LARGE_ANSWER * 20)


def trickle(connections, until):
    """One more byte for each now and then: a peer that is slow, not one that is gone."""
    while time.monotonic() < until and connections:
        for connection, piece in list(connections.items()):
            try:
                connection.sendall(piece)
            except OSError:
                del connections[connection]
        if connections:
            next(iter(connections)).settimeout(0.5)
            pause(next(iter(connections)))
    return connections


def pause(connection):
    """Half a second that the connection has nothing to say in."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return


def is_dropped(connection):
    """Whether the receiver has closed its end, once all that it sent is read."""
    connection.settimeout(0.2)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_two_hundred_slow_peers_delay_nobody_and_are_dropped(receiver, connect, inbox, payload):
    started = time.monotonic()
    slow = {}
    for begin, piece in ((slow_head, b"X"), (slow_body, b" "), (slow_reader, b"")):
        for _ in range(SLOW_OF_EACH_KIND):
            connection = connect()
            begin(connection)
            slow[connection] = piece
    everyone = list(slow)

    with ThreadPoolExecutor(4) as pool:
        trickling = pool.submit(trickle, slow, started + DROPPED_AFTER_SECONDS)
        sender = receiver.sender(inbox)
        answers = [sender.deliver(payload()) for _ in range(300)]
        trickling.result()

    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.seconds for answer in answers)[-3] < 1.0
    assert [is_dropped(connection) for connection in everyone] == [True] * len(everyone)


def test_large_bodies_that_come_slowly_are_bounded_and_hold_up_no_small_delivery(receiver, connect, inbox, payload):
    sender = receiver.sender(inbox)
    large = payload() | {"note": "x" * 900_000}
    first = sender.deliver(large)
    for _ in range(MORE_LARGE_BODIES_THAN_FIT):
        almost_all_of_a_large_body(connect())

    small, another_large = sender.deliver(payload()), sender.deliver(large)

    assert (first.status, small.status, another_large.status) == (200, 200, 503)
    assert another_large.headers["Retry-After"] == "5"


def almost_all_of_a_large_body(connection):
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % LARGEST_BODY + b"x" * (LARGEST_BODY - 1))
