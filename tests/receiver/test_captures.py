"""Capture mode: a delivery that fails verification is kept for the doctor, for a while, and never becomes an event."""

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

from receiver.database.columns import ReceiverBase
from receiver.ingest.captures import (
    MOST_PER_ADDRESS,
    RING,
    CaptureRefused,
    kept,
    left_out,
    open_capture,
    open_window,
    present_window,
)
from receiver.maintenance.retention import purge
from receiver.maintenance.rewrite import FEW
from receiver.protocol.schemes import SCHEMES
from receiver.store.models import AuditEntry, CapturedDelivery, StoredEvent
from receiver.testing import ENVIRONMENT, both_databases
from tests.receiver.settings import LIVE

SLACK = SCHEMES["slack"]


@pytest.fixture
def open_for(inbox):
    """Open the window."""

    def open_(minutes=10, count=RING):
        open_window(inbox, minutes=minutes, count=count, actor="siti")

    return open_


@pytest.fixture
def stranger(app):
    """Whoever sends what we cannot verify, from an address of its own choice."""

    def send(address="203.0.113.7", **headers):
        return app.test_client().post(
            "/webhooks/senang", data=b'{"a": 1}', headers=headers, environ_base={"REMOTE_ADDR": address}
        )

    return send


@both_databases
def test_nothing_is_captured_until_somebody_asks_for_it(stranger, inbox):
    stranger()

    assert kept(inbox) == []


@both_databases
def test_a_captured_delivery_is_still_refused_and_is_no_event(open_for, stranger, inbox, session):
    open_for()

    answer = stranger(**{"X-Signature": "abc"})

    (row,) = kept(inbox)
    captured = open_capture(inbox, row)
    assert answer.status_code == 401
    assert (captured.body, captured.header("x-signature"), row.reason) == (b'{"a": 1}', "abc", "missing_signature")
    assert session.scalars(sa.select(StoredEvent)).all() == []


@both_databases
def test_capturing_ends_by_itself_after_its_time(open_for, stranger, inbox, clock):
    open_for(minutes=10)
    clock.advance(minutes=11)

    stranger()

    assert (kept(inbox), present_window(inbox)) == ([], None)


@both_databases
def test_capturing_ends_by_itself_after_its_count(open_for, stranger, inbox):
    open_for(count=2)

    for _ in range(4):
        stranger()

    assert (len(kept(inbox)), present_window(inbox)) == (2, None)


def test_one_address_cannot_fill_the_ring(open_for, stranger, inbox):
    open_for()
    for _ in range(MOST_PER_ADDRESS + 3):
        stranger("203.0.113.7")

    stranger("203.0.113.8")

    assert len(kept(inbox)) == MOST_PER_ADDRESS + 1


@both_databases
def test_a_new_window_starts_afresh_for_every_address(open_for, stranger, inbox):
    for _ in range(2):
        open_for()
        for _ in range(MOST_PER_ADDRESS + 1):
            stranger()

    assert len(kept(inbox)) == 2 * MOST_PER_ADDRESS


@both_databases
@pytest.mark.usefixtures("early_in_a_minute")
def test_what_an_address_sends_beyond_its_share_is_counted_and_the_page_says_so(
    open_for, stranger, inbox, clock, signed_in
):
    open_for()
    for _ in range(MOST_PER_ADDRESS + 40):
        stranger()
    clock.advance(minutes=1)
    stranger()
    page, said = signed_in().get("/captures").text, left_out(inbox)
    open_for()

    assert (said, left_out(inbox)) == (41, 0)
    assert "41 deliveries were left out since capturing began" in page


def test_the_doctor_says_that_deliveries_were_left_out(open_for, stranger, app, monkeypatch, environment):
    monkeypatch.setenv("SENANG_WEBHOOK_SECRETS", environment["SENANG_WEBHOOK_SECRETS"])
    open_for()
    for _ in range(MOST_PER_ADDRESS + 1):
        stranger()

    said = app.test_cli_runner().invoke(args=["senang", "doctor", "--captured"]).stderr

    assert "1 of an address that had its share of 5 were left out" in said


def test_only_the_newest_are_kept(open_for, stranger, inbox):
    for number in range(RING + 3):
        open_for(count=1)
        stranger(f"203.0.113.{number}", **{"X-Number": str(number)})

    numbers = [int(open_capture(inbox, row).header("x-number")) for row in kept(inbox)]
    assert numbers == list(range(RING + 2, 2, -1))


def test_every_header_that_can_carry_a_signature_is_kept_and_cookies_are_not(open_for, stranger, inbox, signed_in):
    open_for()

    stranger(Authorization="HMAC abc", Cookie="session=abcdef", **{"X-Api-Key": "def", "X-Signature": "abc"})

    captured = open_capture(inbox, kept(inbox)[0])
    kept_ones = [captured.header(name) for name in ("authorization", "x-api-key", "x-signature", "cookie")]
    assert kept_ones == ["HMAC abc", "def", "abc", ""]
    assert "with all its headers but cookies" in signed_in().get("/captures").text


@both_databases
def test_what_was_captured_outlives_the_key_that_sealed_it_by_a_reseal(open_for, stranger, environment, assemble):
    open_for()
    stranger()
    old, new = ENVIRONMENT["PAYLOAD_KEYS"], "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="

    resealed = (
        assemble(environment | {"PAYLOAD_KEYS": f"{new},{old}"})
        .test_cli_runner()
        .invoke(args=["events", "reseal", "--json"])
    )
    later = assemble(environment | {"PAYLOAD_KEYS": new}).extensions["inbox"]

    assert json.loads(resealed.stdout) == {"resealed": 1, "unreadable": 0}
    assert [open_capture(later, row).body for row in kept(later)] == [b'{"a": 1}']


def test_every_sealed_column_of_the_receivers_tables_is_resealed():
    few = {(which.model.__tablename__, which.column) for which in FEW}
    binary = {
        (table.name, column.name)
        for table in ReceiverBase.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.LargeBinary)
    }

    digests = {("person_index", "digest")}
    assert binary - digests == few | {(StoredEvent.__tablename__, "sealed_payload")}


@both_databases
def test_what_was_captured_is_sealed_in_the_database(open_for, stranger, session):
    open_for()
    stranger(**{"X-Signature": "findme"})

    row = session.scalars(sa.select(CapturedDelivery)).one()
    assert b"findme" not in row.sealed_request
    assert "203.0.113.7" not in row.source


def test_live_is_never_captured(environment, request):
    environment |= LIVE
    inbox = request.getfixturevalue("inbox")

    with pytest.raises(CaptureRefused):
        open_window(inbox, minutes=10, count=1, actor="siti")


def test_opening_and_closing_are_in_the_audit_log_with_who_did_it(open_for, app, session):
    open_for()
    app.test_cli_runner().invoke(args=["senang", "capture", "--stop"])

    acts = session.execute(sa.select(AuditEntry.result, AuditEntry.actor).where(AuditEntry.action == "capture")).all()
    assert acts == [("opened", "siti"), ("closed", "command line")]


@both_databases
def test_captures_are_purged_after_a_day(open_for, stranger, inbox, clock):
    open_for()
    stranger()
    clock.advance(hours=25)

    purge(inbox, actor="test")

    assert kept(inbox) == []


def test_the_doctor_finds_out_how_the_latest_capture_is_signed(app, environment, sender, payload, monkeypatch):
    monkeypatch.setenv("SENANG_WEBHOOK_SECRETS", environment["SENANG_WEBHOOK_SECRETS"])
    runner = app.test_cli_runner()
    runner.invoke(args=["senang", "capture"])
    sender.scheme, sender.key = SLACK, environment["SENANG_WEBHOOK_SECRETS"].encode()
    refused = sender.deliver(payload())

    diagnosed = runner.invoke(args=["senang", "doctor", "--captured", "--json"])

    assert refused.status == 401
    assert diagnosed.exit_code == 0
    assert json.loads(diagnosed.output)["settings"] == {"SENANG_SIGNATURE_SCHEME": "slack"}
    assert environment["SENANG_WEBHOOK_SECRETS"] not in diagnosed.output


def test_an_operator_sees_the_same_diagnosis_on_the_page(open_for, signed_in, environment, sender, payload, inbox):
    open_for()
    sender.scheme, sender.key = SLACK, environment["SENANG_WEBHOOK_SECRETS"].encode()
    sender.deliver(payload(data={"customer": {"name": "Nurul"}}))

    client = signed_in()
    listed, diagnosed = client.get("/captures"), client.get(f"/captures/{kept(inbox)[0].id}")

    assert "missing_signature" in listed.text
    assert "SENANG_SIGNATURE_SCHEME=slack" in diagnosed.text
    assert "Nurul" not in diagnosed.text
    assert environment["SENANG_WEBHOOK_SECRETS"] not in diagnosed.text


def test_a_text_that_is_signed_but_not_sent_is_asked_for_by_name_and_found_with_it(
    open_for, signed_in, environment, sender, payload, inbox
):
    open_for()
    sender.scheme = replace(SCHEMES["github"], content="APP-77.{body}")
    sender.key = environment["SENANG_WEBHOOK_SECRETS"].encode()
    sender.deliver(payload())

    address = f"/captures/{kept(inbox)[0].id}"
    client = signed_in()
    without, with_it = client.get(address).text, client.get(f"{address}?text=APP-77").text

    assert "Application key or partner code" in without
    assert "Apply these settings" not in without
    assert "SENANG_SIGNATURE_CONTENT=APP-77.{body}" in with_it


def test_an_operator_opens_and_closes_the_window_and_a_viewer_may_not(signed_in, csrf_token, inbox):
    operator = signed_in()
    operator.post("/captures/open", data={"csrf_token": csrf_token(operator.get("/captures"))})
    opened = present_window(inbox)
    operator.post("/captures/close", data={"csrf_token": csrf_token(operator.get("/captures"))})

    viewer = signed_in(role="viewer")

    assert (opened is not None, present_window(inbox)) == (True, None)
    assert viewer.get("/captures").status_code == 403


@pytest.mark.parametrize("arguments", [[], ["--captured"], ["nothing-there.http"], ["--captured", "x"]])
def test_a_doctor_without_a_patient_says_what_it_needs(app, arguments):
    result = app.test_cli_runner().invoke(args=["senang", "doctor", *arguments])

    assert result.exit_code in (1, 2)
    assert "Error:" in result.output
