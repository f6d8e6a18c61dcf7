"""Bodies as senders write them: gzip, forms, lists of events, JSON in a text. And what a replay makes of them."""

import gzip
import hashlib
import hmac
import json
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from receiver.actions.replay import CannotReplay, replay
from receiver.config import load_settings
from receiver.privacy.sealing import unseal
from receiver.registry import handles
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases

KEY = "a-key-of-many-0123456789-letters"
ADDRESS, HEADER = "/webhooks/senang", "X-Signature"
PLAIN = {"SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex", "SENANG_WEBHOOK_SECRETS": KEY}
FORM = PLAIN | {"SENANG_SIGNATURE_BODY_FORMAT": "form"}
AT = "2026-11-24T08:00:00Z"


def event(number, **more):
    return {"event_id": f"evt_{number}", "event_type": "test.event", "timestamp": AT, **more}


def signed(body):
    return {HEADER: hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()}


@pytest.fixture
def receiver(environment, assemble):
    """A receiver with these settings, and what it answers to a body that is signed rightly."""

    def make(**settings):
        app = assemble(environment | PLAIN | settings)

        def post(body, **headers):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            return app.test_client().post(ADDRESS, data=body, headers=signed(body) | headers).json

        return app, post

    return make


def rows_of(session):
    session.rollback()
    return session.scalars(sa.select(StoredEvent).order_by(StoredEvent.id)).all()


@both_databases
@pytest.mark.usefixtures("plain")
def test_a_body_that_was_packed_before_it_was_signed_is_an_event(app, stored):
    body = gzip.compress(json.dumps(event(1)).encode())

    answer = app.test_client().post(ADDRESS, data=body, headers=signed(body) | {"Content-Encoding": "gzip"})

    assert answer.json == {"status": "accepted", "event_id": "evt_1"}
    assert stored("evt_1").state == "pending"


@pytest.fixture
def plain(environment):
    environment |= PLAIN


def test_a_body_that_unpacks_to_more_than_the_limit_is_kept_as_it_came(receiver, session):
    _, post = receiver()
    bomb = gzip.compress(b'{"a": "' + b"x" * (64 * 1024 * 1024) + b'"}')

    assert post(bomb) == {"status": "quarantined", "errors": {"body": ["too_large"]}}
    assert len(rows_of(session)[0].sealed_payload) < len(bomb) + 200


@pytest.mark.parametrize(
    "broken",
    [gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"more", b"\x1f\x8b"],
    ids=["cut off", "with more behind it", "begun"],
)
def test_a_broken_gzip_is_quarantined(receiver, broken):
    _, post = receiver()

    assert post(broken) == {"status": "quarantined", "errors": {"body": ["gzip"]}}


@both_databases
@pytest.mark.usefixtures("plain")
def test_each_event_of_a_list_is_an_event_of_its_own(app, session, work):
    seen = []
    handles("test.event")(lambda it, _session: seen.append((it.id, it.data)))
    events = [event(1, data={"amount": 12.50}), event(2), event(1, data={"amount": 12.5}), {"event_id": "evt_3"}]
    body = json.dumps(events).encode()

    answer = app.test_client().post(ADDRESS, data=body, headers=signed(body)).json
    work()

    assert answer["status"] == "accepted"
    assert [one["status"] for one in answer["events"]] == ["accepted", "accepted", "duplicate", "quarantined"]
    assert [(row.event_id, row.state) for row in rows_of(session)] == [
        ("evt_1", "processed"), ("evt_2", "processed"), (None, "quarantined"),
    ]  # fmt: skip
    assert [event_id for event_id, _ in seen] == ["evt_1", "evt_2"]


@both_databases
@pytest.mark.usefixtures("plain")
def test_the_events_of_a_list_are_stored_all_or_none(app, session):
    session.execute(sa.text(_REFUSING[session.get_bind().dialect.name]))
    session.commit()
    body = json.dumps([event(1), event(2), event("refused")]).encode()

    answer = app.test_client().post(ADDRESS, data=body, headers=signed(body))

    assert answer.status_code == 503
    assert rows_of(session) == []
    assert session.scalars(sa.select(AuditEntry.result)).all() == []


_REFUSING = {
    "sqlite": "CREATE TRIGGER refusing BEFORE INSERT ON events WHEN NEW.event_id = 'evt_refused' "
    "BEGIN SELECT RAISE(ABORT, 'no'); END",
    "postgresql": "ALTER TABLE events ADD CONSTRAINT refusing CHECK (event_id <> 'evt_refused')",
}


def test_a_list_below_a_field_and_one_in_the_text_of_a_form_are_read(receiver, stored):
    _, post = receiver(SENANG_PAYLOAD_EVENTS="batch.events")
    assert post({"batch": {"events": [event(1), event(2)]}})["status"] == "accepted"
    _, post = receiver(SENANG_PAYLOAD_EVENTS="events", SENANG_SIGNATURE_BODY_FORMAT="form")
    assert post(urlencode({"events": json.dumps([event(3), event(4)])}).encode())["status"] == "accepted"

    assert stored("evt_4").event_type == "test.event"


def test_a_list_is_refused_where_it_is_too_long_or_empty(receiver):
    _, post = receiver()

    assert post([event(number) for number in range(501)])["errors"] == {"body": ["too_many_events"]}
    assert post([])["errors"] == {"body": ["no_events"]}


def test_a_form_with_nested_keys_is_an_event(receiver, work, stored):
    seen = []
    handles("test.event")(lambda it, _session: seen.append(it.payload))
    _, post = receiver(SENANG_SIGNATURE_BODY_FORMAT="form")
    form = b"event_id=evt_1&event_type=test.event&timestamp=2026-11-24T08:00:00Z&data[a][b]=1+2&data[c][]=x&data[c][]=y"

    assert post(form)["status"] == "accepted"
    work()
    assert seen[0]["data"] == {"a": {"b": "1 2"}, "c": ["x", "y"]}


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (b"a=1&a=2", "duplicate_key"),
        (b"a=1&a[b]=2", "duplicate_key"),
        (b"a[b]=1&a.b=2", "duplicate_key"),
        (b"a=%ff", "not_utf8"),
        (b"a=%zz", "not_a_form"),
        (b"nothing", "not_a_form"),
        (b"a" + b"[b]" * 70 + b"=1", "too_deep"),
    ],
)
def test_a_form_that_can_be_read_in_two_ways_is_quarantined(receiver, form, reason):
    _, post = receiver(SENANG_SIGNATURE_BODY_FORMAT="form")

    assert post(form) == {"status": "quarantined", "errors": {"body": [reason]}}


def test_a_body_in_another_format_is_read_by_a_replay_under_the_right_setting(receiver, session):
    _, post = receiver()
    post(urlencode(event(1)).encode())
    row = rows_of(session)[0]
    form, _ = receiver(SENANG_SIGNATURE_BODY_FORMAT="form")
    later, _ = receiver()

    assert replay(form.extensions["inbox"], row.id, actor="test") == "due again"
    session.rollback()
    row = rows_of(session)[0]
    settings = later.extensions["inbox"].settings
    sealed = unseal(row.sealed_payload, row=row.seal_id, keys=settings.payload_keys)
    assert settings.read_event(sealed).id == "evt_1"


def test_a_replay_reads_the_headers_that_came(receiver, session, clock):
    places = "event_id={event_id}:{header:X-Part},event_type=header:X-Type,timestamp={received_at}"
    app, _ = receiver(SENANG_PAYLOAD_FIELDS=places, SENANG_SIGNATURE_CONTENT="{body}.{header:X-Part}")
    body = json.dumps({"event_id": "evt_1"}).encode()
    signature = hmac.new(KEY.encode(), body + b".7", hashlib.sha256).hexdigest()

    answer = app.test_client().post(
        ADDRESS, data=body, headers={HEADER: signature, "X-Part": "7", "X-Type": "test.event"}
    )

    assert answer.json == {"status": "accepted", "event_id": "evt_1:7"}
    row = rows_of(session)[0]
    assert (row.event_type, abs(row.occurred_at - row.received_at).total_seconds() < 60) == ("test.event", True)


def test_standard_webhooks_needs_no_event_id_in_the_body(app, sender, session, work):
    seen = []
    handles("test.event")(lambda it, _session: seen.append((it.id, it.unverified)))
    first = sender.signed(json.dumps({"event_type": "test.event", "timestamp": AT}).encode())

    answers = [sender.post(sender.url, first.body, first.headers).json for _ in range(2)]
    work()

    assert answers[0] == {"status": "accepted", "event_id": first.headers["webhook-id"]}
    assert answers[1]["status"] == "duplicate"
    assert seen == [(first.headers["webhook-id"], ())]


def test_a_handler_sees_which_fields_no_signature_vouches_for(receiver, environment, request):
    environment |= PLAIN | {
        "SENANG_SIGNATURE_CONTENT": "{field:event_id}|{field:event_type}|{field:amount}",
        "SENANG_SIGNATURE_HEADER": HEADER,
    }
    seen = []
    handles("test.event")(lambda it, _session: seen.append(it))
    text = b"evt_1|test.event|12.5"
    body = json.dumps(event(1, amount=12.5, status="paid", data={"note": "x"})).encode()
    client = request.getfixturevalue("app").test_client()

    assert client.post(ADDRESS, data=body, headers=signed(text)).json["status"] == "accepted"
    request.getfixturevalue("work")()

    assert set(seen[0].unverified) == {
        "timestamp",
        "transaction_id",
        "policy_id",
        "claim_id",
        "status",
        "data",
        "data.note",
    }
    assert seen[0].payload["amount"] == "12.5"


def test_a_static_token_vouches_for_nothing(environment, request):
    environment |= PLAIN | {
        "SENANG_SIGNATURE_HEADER": "Authorization", "SENANG_SIGNATURE_TAG": "Bearer",
        "SENANG_SIGNATURE_TAG_SEPARATOR": "space", "SENANG_SIGNATURE_ALGORITHM": "token",
        "SENANG_SIGNATURE_ENCODING": "plain",
    }  # fmt: skip
    seen = []
    handles("test.event")(lambda it, _session: seen.append(it.unverified))
    client = request.getfixturevalue("app").test_client()
    body = json.dumps(event(1))

    wrong = client.post(ADDRESS, data=body, headers={"Authorization": f"Bearer {KEY}x"}).status_code
    right = client.post(ADDRESS, data=body, headers={"Authorization": f"Bearer {KEY}"}).status_code
    request.getfixturevalue("work")()

    assert (wrong, right) == (401, 200)
    assert {"event_id", "event_type", "timestamp", "status"} <= set(seen[0])


def test_a_body_that_looks_like_what_is_kept_beside_a_body_is_none(receiver):
    _, post = receiver(SENANG_PAYLOAD_FIELDS="event_type=header:X-Type")
    prelude = b'\x00{"headers": {"x-type": "forged"}}\n' + json.dumps(event(1)).encode()

    assert post(prelude) == {"status": "quarantined", "errors": {"body": ["not_json"]}}


def test_several_events_in_a_body_that_could_not_be_read_are_not_replayed_in_part(receiver, session):
    _, post = receiver(SENANG_SIGNATURE_BODY_FORMAT="form")
    post([event(1), event(2)])
    app, _ = receiver()

    with pytest.raises(CannotReplay, match="body"):
        replay(app.extensions["inbox"], rows_of(session)[0].id, actor="test")


def test_the_moment_of_arrival_is_the_receivers(environment):
    settings = load_settings(environment | {"SENANG_PAYLOAD_FIELDS": "timestamp={received_at}"})
    now = datetime(2026, 11, 24, 8, tzinfo=UTC)

    [kept] = settings.documents(b'{"event_id": "e", "event_type": "t"}', settings.beside({}, now))

    assert settings.read_kept(kept).occurred_at == now
