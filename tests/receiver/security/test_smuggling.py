"""Each request is read in one way only, or refused: no request hides in another one, and none is swallowed."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.processes import running
from tests.receiver.security import raw_requests
from tests.receiver.security.raw_requests import MARK, REFUSED
from tests.receiver.settings import ENVIRONMENT

GROUPS = ("REQUEST_LINES", "HOSTS", "FIELDS", "LENGTHS", "CODINGS", "CHUNKS", "CONNECTIONS")
AT_ONCE = 16
ANSWER = re.compile(rb"HTTP/1\.1 (\d+) [^\r\n]*((?:\r\n[^\r\n]+)*)\r\n\r\n")
LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


@pytest.fixture(scope="module")
def port(shared_database):
    """Of a receiver that answers with what it has seen."""
    with running(ENVIRONMENT | {"DATABASE_URL": shared_database, "EMBEDDED_WORKER": "0"}) as receiver:
        process = receiver.start("-m", "gunicorn", "tests.receiver.security.echo:app")
        eventually(lambda: process.poll() is not None or receiver.answers("/"))
        yield receiver.port


@pytest.mark.parametrize("group", GROUPS)
def test_each_request_is_seen_as_it_was_meant_or_is_refused(port, group):
    cases = getattr(raw_requests, group)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda sent: exchange(port, sent + MARK), [sent for sent, _ in cases.values()])
        seen = dict(zip(cases, map(judged, answers), strict=True))

    assert seen == {name: (REFUSED,) if meant is REFUSED else meant for name, (_, meant) in cases.items()}


def test_what_ends_in_the_middle_is_not_seen(port):
    cases = raw_requests.CUT_OFF

    answers = {name: exchange(port, sent, cut_off=True) for name, (sent, _) in cases.items()}

    assert {name: b" 200 " in answer for name, answer in answers.items()} == dict.fromkeys(cases, False)


def exchange(port, sent, cut_off=False):
    """All that is answered, until the receiver closes the connection."""
    answered = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection, suppress(ConnectionError):
        with suppress(ConnectionError):
            connection.sendall(sent)
            if cut_off:
                connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65_536):
            answered += piece
    return answered


def judged(answered):
    """What the application has seen, request by request, and where a request was refused."""
    seen = []
    while answered:
        head = ANSWER.match(answered)
        assert head, answered
        length = LENGTH.search(head[2])
        end = head.end() + (int(length[1]) if length else 0)
        body, answered = answered[head.end() : end], answered[end:]
        if head[1] != b"100":
            seen.append(body.decode("latin-1") if b"X-Seen" in head[2] else (REFUSED if head[1] >= b"400" else head[1]))
    return tuple(seen)
