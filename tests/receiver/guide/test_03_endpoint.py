"""§3 Webhook endpoint requirements: the HTTP contract, row by row."""

import json
import socket
import ssl
import urllib.request
from io import BytesIO

import pytest
import sqlalchemy as sa

from receiver.sandbox.sender import post_over_http
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from receiver.testing.certificates import self_signed
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.processes import running
from tests.receiver.settings import ENVIRONMENT

clause = pytest.mark.clause


@pytest.fixture
def plain(app):
    return app.test_client()


def problem(response, status):
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert set(response.json) == {"type", "title", "status", "detail"}
    assert response.json["status"] == status
    assert response.headers["X-Request-ID"]
    return True


@clause("3.1")
def test_plain_http_is_refused_and_never_redirected(environment, database, request):
    environment["REQUIRE_HTTPS"] = "1"
    client = request.getfixturevalue("app").test_client()

    assert problem(client.post("/webhooks/senang"), 403)


@clause("3.1")
@pytest.mark.parametrize(
    ("hops", "forwarded", "status"), [("1", "https", 401), ("1", "http", 403), ("0", "https", 403), ("2", "https", 403)]
)
def test_https_is_believed_through_exactly_the_trusted_hops(environment, database, request, hops, forwarded, status):
    environment |= {"REQUIRE_HTTPS": "1", "FORWARDED_PROTO_HOPS": hops}
    client = request.getfixturevalue("app").test_client()

    response = client.post("/webhooks/senang", headers={"X-Forwarded-Proto": forwarded})

    assert response.status_code == status


@clause("3.2")
def test_gunicorn_terminates_tls_itself_and_refuses_versions_before_1_2(environment, database, tmp_path):
    certificate, key = self_signed(tmp_path)
    settings = environment | {"DATABASE_URL": database, "TLS_CERTFILE": str(certificate), "TLS_KEYFILE": str(key)}
    trusting = ssl.create_default_context(cafile=str(certificate))

    with running(settings, EMBEDDED_WORKER="0") as receiver:
        receiver.start("-m", "gunicorn", "wsgi:app")
        address = f"https://127.0.0.1:{receiver.port}/healthz"
        eventually(lambda: _status(address, trusting) == 200)
        outdated = ssl.create_default_context(cafile=str(certificate))
        outdated.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSVersion"):
            outdated.maximum_version = ssl.TLSVersion.TLSv1_1

        assert _status(address, outdated) is None


def _status(address, context):
    try:
        with urllib.request.urlopen(address, context=context, timeout=PATIENCE_SECONDS) as response:
            return response.status
    except OSError:
        return None


@clause("3.2")
@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "options", "trace"])
def test_another_method_is_answered_405(plain, method):
    response = getattr(plain, method)("/webhooks/senang")

    assert problem(response, 405)
    assert response.headers["Allow"] == "POST"


@clause("3.2")
def test_a_body_over_the_limit_is_refused_before_it_is_read(plain):
    response = plain.post("/webhooks/senang", data=b"x" * (1024 * 1024 + 1))

    assert problem(response, 413)


@clause("3.2")
def test_a_chunked_body_over_the_limit_is_refused_too(plain):
    body = BytesIO(b"x" * (1024 * 1024 + 1))

    response = plain.post("/webhooks/senang", input_stream=body, environ_overrides={"wsgi.input_terminated": True})

    assert problem(response, 413)


@pytest.fixture(scope="module")
def receiver(shared_database):
    """A real gunicorn, for what stores nothing."""
    own = {"DATABASE_URL": shared_database, "EMBEDDED_WORKER": "0"}
    with running(ENVIRONMENT | own) as receiver:
        receiver.web()
        yield receiver


@clause("3.2")
def test_a_malformed_request_is_always_a_4xx(receiver):
    """Through a real gunicorn: its own reader is the first that a broken body meets."""
    head = b"POST /webhooks/senang HTTP/1.1\r\nHost: x\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    malformed = [
        chunked + b"zz\r\nabc\r\n0\r\n\r\n",
        chunked + b"-1\r\nabc\r\n0\r\n\r\n",
        chunked + b"10\r\nbroken off",
        head + b"Content-Length: 300\r\n\r\nbroken off",
        head + b"Content-Length: -5\r\n\r\n",
        head + b"Content-Length: 99999999999999999999\r\n\r\n",
        head + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        head + b"webhook-signature: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
        b"\x16\x03\x01 not HTTP at all\r\n\r\n",
    ]

    statuses = [_raw_status(receiver.port, request) for request in malformed]

    assert [status // 100 for status in statuses] == [4] * len(malformed), statuses


@clause("3.2")
def test_the_sender_of_a_body_far_over_the_limit_sees_its_413(receiver):
    answers = [post_over_http(receiver.url, b"x" * (5 * 1024 * 1024), {}) for _ in range(3)]

    assert [answer.status for answer in answers] == [413] * 3


def _raw_status(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return int(connection.recv(1000).split()[1])


@clause("3.2")
def test_what_is_refused_unread_leaves_a_trace_with_its_reason(environment, request, database):
    environment |= {"REQUIRE_HTTPS": "1", "FORWARDED_PROTO_HOPS": "1"}
    client = request.getfixturevalue("app").test_client()

    client.post("/webhooks/senang")
    client.post("/webhooks/senang", data=b"x" * (1024 * 1024 + 1), headers={"X-Forwarded-Proto": "https"})

    results = request.getfixturevalue("session").scalars(sa.select(AuditEntry.result).order_by(AuditEntry.id)).all()
    assert results == ["rejected: plain_http", "rejected: too_large"]


@clause("3.2")
@both_databases
@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"not json", {"body": ["not_json"]}),
        (b"[]", {"body": ["no_events"]}),
        (b"3", {"body": ["not_an_object"]}),
        (b'{"event_id":"a","event_id":"b"}', {"body": ["duplicate_key"]}),
        (b"\xff\xfe", {"body": ["not_utf8"]}),
        (b'{"event_id":NaN}', {"body": ["not_a_finite_number"]}),
        (b'{"event_id":"a","timestamp":1}', {"event_type": ["missing"]}),
    ],
)
def test_an_authentic_but_unusable_body_is_acknowledged_and_quarantined(sender, session, body, errors):
    answer = sender.deliver(body)

    row = session.scalars(sa.select(StoredEvent)).one()
    assert (answer.status, answer.json) == (200, {"status": "quarantined", "errors": errors})
    assert (row.state, row.event_id, row.sealed_payload is not None) == ("quarantined", None, True)


@clause("3.2")
@both_databases
def test_an_unusable_body_is_kept_once_however_often_it_comes(sender, session):
    sender.deliver(b"not json")
    sender.deliver(b"not json")

    assert session.scalars(sa.select(StoredEvent.deliveries)).all() == [2]


@clause("3.2")
@both_databases
def test_a_stale_delivery_is_refused_but_its_authentic_body_is_kept(sender, payload, clock, session):
    sent = payload("payment.success", event_id="evt_1")
    body, headers = _signed(sender, sent)
    clock.advance(minutes=6)

    answer = sender.post(sender.url, body, headers)

    row = session.scalars(sa.select(StoredEvent)).one()
    assert answer.status == 401
    assert (row.state, row.quarantine_reason, row.stated_event_id) == ("quarantined", "stale", "evt_1")
    assert row.last_error == "stale: timestamp_too_old"


@clause("3.3")
@both_databases
def test_a_stale_redelivery_of_a_known_event_stores_nothing(sender, payload, clock, session):
    sent = payload("payment.success", event_id="evt_1")
    body, headers = _signed(sender, sent)
    sender.post(sender.url, body, headers)
    clock.advance(minutes=6)

    answer = sender.post(sender.url, body, headers)

    assert answer.status == 401
    assert session.scalars(sa.select(StoredEvent.event_id)).all() == ["evt_1"]
    assert session.scalars(sa.select(AuditEntry.result).order_by(AuditEntry.id)).all() == [
        "accepted",
        "rejected: stale",
    ]


def _signed(sender, payload):
    body = json.dumps(payload).encode()
    return body, sender.signed(body).headers
