"""Whoever is slow holds nobody else up, and not for long (§3.2)."""

import socket
from contextlib import ExitStack

import pytest

from receiver.testing.waiting import eventually
from tests.receiver.processes import running

SLOW_OF_EACH_KIND = 67
SERVED_MEANWHILE = 20
"""Deliveries, at least, while every slow peer is there: one peer that held them up would hold all of them up."""
HEAD = b"POST /webhooks/senang HTTP/1.1\r\nHost: x\r\n"
LARGEST_BODY = 1024 * 1024
LARGE_BODIES_THAT_FIT = 60
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
    connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n{")


def slow_reader(connection):
    connection.sendall(LARGE_ANSWER * 20)


def still_connected(connections):
    """Those that the receiver has not dropped. Each sends one more byte: it is slow, and not gone."""
    return [connection for connection in connections if takes_a_byte(connection)]


def takes_a_byte(connection):
    """Whether the receiver still has its end. What comes to an end that is closed is answered by a reset."""
    try:
        connection.sendall(b" ")
    except OSError:
        return False
    return True


def test_two_hundred_slow_peers_delay_nobody_and_are_dropped(receiver, connect, inbox, payload):
    slow, sender, answers = [], receiver.sender(inbox), []
    for begin in (slow_head, slow_body, slow_reader):
        for _ in range(SLOW_OF_EACH_KIND):
            slow.append(connect())
            begin(slow[-1])

    def one_was_dropped():
        answers.extend(sender.deliver(payload()) for _ in range(5))
        return still_connected(slow) != slow

    eventually(one_was_dropped)

    assert {answer.status for answer in answers} == {200}
    assert len(answers) > SERVED_MEANWHILE
    eventually(lambda: not still_connected(slow))


def test_large_bodies_that_come_slowly_are_bounded_and_hold_up_no_small_delivery(receiver, connect, inbox, payload):
    sender = receiver.sender(inbox)
    large = payload() | {"note": "x" * 900_000}
    first, answers = sender.deliver(large), []
    for _ in range(LARGE_BODIES_THAT_FIT):
        almost_all_of_a_large_body(connect())

    def is_full():
        almost_all_of_a_large_body(connect())
        answers.append(sender.deliver(large))
        return answers[-1].status == 503

    eventually(is_full)
    small = sender.deliver(payload())

    assert (first.status, small.status) == (200, 200)
    assert answers[-1].headers["Retry-After"] == "5"


def almost_all_of_a_large_body(connection):
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % LARGEST_BODY + b"x" * (LARGEST_BODY - 1))
