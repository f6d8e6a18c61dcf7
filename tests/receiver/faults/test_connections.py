"""How long a connection may be idle, how long a request may take to come, and what a stop does to both."""

import json
import os
import signal
import socket
import ssl
from contextlib import ExitStack, suppress

import pytest

from receiver.testing.certificates import self_signed
from receiver.testing.waiting import eventually
from tests.receiver.processes import running
from tests.receiver.settings import ENVIRONMENT

ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HELLO_OF_TLS_1_0 = bytes.fromhex("160301002f0100002b0301") + bytes(32) + bytes.fromhex("000004002f00ff0100")
PATIENCE = 60


@pytest.fixture
def start(database, environment, tmp_path):
    """Start a web process with these settings. Its log is in `receiver.log`."""
    with ExitStack() as stack:

        def receiver(*arguments, **settings):
            own = {"DATABASE_URL": database, "EMBEDDED_WORKER": "0", "WEB_CONCURRENCY": "1"}
            found = stack.enter_context(running(environment | own | settings))
            found.log = tmp_path / "log"
            found.process = found.start("-m", "gunicorn", "wsgi:app", *arguments)
            eventually(lambda: _listens(found))
            return found

        yield receiver


@pytest.fixture(scope="module")
def closes_soon(shared_database, tmp_path_factory):
    """A web process that closes a connection after two idle seconds. Tests share it and leave it well."""
    own = {"DATABASE_URL": shared_database, "EMBEDDED_WORKER": "0", "WEB_CONCURRENCY": "1", "KEEP_ALIVE_SECONDS": "2"}
    with running(ENVIRONMENT | own) as receiver:
        receiver.web()
        yield receiver


@pytest.fixture
def connect():
    with ExitStack() as stack:

        def make(receiver):
            return stack.enter_context(_connection(receiver))

        yield make


def _connection(receiver):
    return socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE)


def _listens(receiver):
    with suppress(OSError), _connection(receiver):
        return True
    return False


def answer(connection):
    """The next answer, head and body."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(4096)
        if not piece:
            return ""
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(length - len(body))
    return (head + b"\r\n\r\n" + body).decode()


def ask(connection, request=ALIVE):
    connection.sendall(request)
    return answer(connection)


def is_closed(connection):
    """Wait until the other side closes the connection, within the patience of its socket."""
    try:
        return connection.recv(1) == b""
    except (ConnectionResetError, ssl.SSLError):
        return True


def signed(sender, payload):
    """A delivery as bytes."""
    signature = sender.signed(json.dumps(payload).encode())
    headers = "".join(f"{name}: {value}\r\n" for name, value in signature.headers.items())
    head = f"POST /webhooks/senang HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(signature.body)}\r\n\r\n"
    return head.encode(), signature.body


def test_an_idle_connection_outlives_the_time_that_a_request_has(start, connect):
    receiver = start()
    idle, slow = connect(receiver), connect(receiver)
    ask(idle)
    slow.sendall(ALIVE[:10])

    assert is_closed(slow)  # after the ten seconds that a request has

    assert "200 OK" in ask(idle)


def test_an_idle_connection_is_closed_after_its_time(closes_soon, connect):
    idle = connect(closes_soon)
    ask(idle)

    assert is_closed(idle)


def test_a_request_that_begins_late_in_the_idle_time_has_its_whole_time(closes_soon, connect, inbox, payload):
    connection = connect(closes_soon)
    head, body = signed(closes_soon.sender(inbox), payload(event_id="evt_1"))

    connection.sendall(head + body[:-1])
    idle = connect(closes_soon)  # it is closed when the idle time of the first one would be over, too
    ask(idle)
    assert is_closed(idle)
    connection.sendall(body[-1:])

    assert '"accepted"' in answer(connection)


def test_requests_that_come_together_are_answered_one_after_the_other(closes_soon, connect):
    connection = connect(closes_soon)

    connection.sendall(ALIVE * 3)

    assert ["200 OK" in answer(connection) for _ in range(3)] == [True] * 3


def test_idle_connections_make_room_for_new_ones(start, connect):
    receiver = start("--worker-connections", "20")
    idle = [connect(receiver) for _ in range(18)]
    for connection in idle:
        ask(connection)

    assert is_closed(idle[0])
    assert "200 OK" in ask(connect(receiver))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_is_under_way_and_says_that_the_connection_ends(
    start, connect, inbox, payload, stored, number
):
    """Ctrl-C reaches all processes of a terminal, and some platforms send SIGINT."""
    receiver = start()
    busy, *idle = (connect(receiver) for _ in range(6))
    for connection in idle:
        ask(connection)
    head, body = signed(receiver.sender(inbox), payload(event_id="evt_1"))
    busy.sendall(head)

    os.killpg(receiver.process.pid, number) if number == signal.SIGINT else receiver.process.terminate()
    assert [is_closed(connection) for connection in idle] == [True] * 5  # it does not wait for them
    busy.sendall(body)
    said = answer(busy)

    assert ('"accepted"' in said, "\r\nConnection: close\r\n" in said) == (True, True)
    assert is_closed(busy)
    assert stored("evt_1").state == "pending"
    assert receiver.process.wait(PATIENCE) == 0
    assert "graceful timeout" not in receiver.log.read_text()


def test_a_receiver_listens_by_ipv6_too_where_the_machine_has_it(start):
    receiver = start()

    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE) as connection:
        assert "200 OK" in ask(connection)
    if has_ipv6():
        with socket.create_connection(("::1", receiver.port), timeout=PATIENCE) as connection:
            assert "200 OK" in ask(connection)


def has_ipv6():
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def test_a_worker_that_has_served_its_requests_is_replaced(start):
    receiver = start("--max-requests", "5")

    statuses = {receiver.status("/healthz") for _ in range(20)}

    assert statuses == {200}
    eventually(lambda: "max_requests" in receiver.log.read_text())


@pytest.fixture
def tls(start, tmp_path):
    """A web process that terminates TLS itself, and how to shake hands with it."""
    certificate, key = self_signed(tmp_path)
    receiver = start(TLS_CERTFILE=str(certificate), TLS_KEYFILE=str(key))
    receiver.trusting = ssl.create_default_context(cafile=str(certificate))
    return receiver


def test_failed_tls_handshakes_leave_a_line_of_json_each_and_the_receiver_well(tls, connect):
    plain, cut, old = connect(tls), connect(tls), connect(tls)
    plain.sendall(ALIVE)
    cut.sendall(b"\x16\x03\x01\x02\x00")
    cut.close()
    old.sendall(HELLO_OF_TLS_1_0)
    assert b"\x15" in old.recv(1)  # an alert
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(connect(tls), server_hostname="127.0.0.1")

    with tls.trusting.wrap_socket(connect(tls), server_hostname="127.0.0.1") as connection:
        assert "200 OK" in ask(connection)
    eventually(lambda: tls.log.read_text().count("tls_handshake_failed") >= 4)
    lines = tls.log.read_text().splitlines()
    assert [line for line in lines if not line.startswith("{")] == []


def test_a_stop_closes_idle_connections_over_tls_too(tls, connect):
    with tls.trusting.wrap_socket(connect(tls), server_hostname="127.0.0.1") as connection:
        ask(connection)

        tls.process.send_signal(signal.SIGTERM)

        assert is_closed(connection)
    tls.process.wait(PATIENCE)
    assert "graceful timeout" not in tls.log.read_text()


@pytest.mark.soak
def test_an_idle_connection_over_tls_outlives_the_time_of_a_request_too(tls, connect):
    with tls.trusting.wrap_socket(connect(tls), server_hostname="127.0.0.1") as idle:
        ask(idle)
        with tls.trusting.wrap_socket(connect(tls), server_hostname="127.0.0.1") as late:
            late.sendall(ALIVE[:10])
            assert is_closed(late)  # after the ten seconds that a request has

        assert "200 OK" in ask(idle)
