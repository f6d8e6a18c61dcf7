"""What leaves the receiver by a person's hand: support requests (§12.2) and exports."""

import csv
import io
import json

import pytest
import sqlalchemy as sa

from receiver.actions.replay import replay
from receiver.store.models import AuditEntry
from tests.receiver.databases import on_postgresql

NRIC = "900101-14-5678"


@pytest.fixture
def environment(environment):
    return environment | {"SENANG_PARTNER_ID": "partner-42"}


def test_a_support_request_has_what_senang_asks_for_and_nothing_personal(app, deliver, work):
    deliver("payment.success", event_id="evt_1", timestamp="2026-11-24T08:00:00Z", data={"customer": {"nric": NRIC}})
    work()

    text = app.test_cli_runner().invoke(args=["events", "support", "evt_1"]).output

    for needed in (
        "Partner ID: partner-42",
        "Event ID: evt_1",
        "2026-11-24 16:00:00 Kuala Lumpur",
        "attempt: processed",
    ):
        assert needed in text
    assert '"nric": "[text 14]"' in text
    assert NRIC not in text


def test_the_page_shows_the_same_text_before_it_leaves_and_as_a_mail(app, signed_in, deliver, stored):
    deliver("payment.success", event_id="evt_1")
    text = app.test_cli_runner().invoke(args=["events", "support", "evt_1"]).output

    page = signed_in().get(f"/support/events/{stored('evt_1').id}").text

    assert "mailto:customercare@senang.io?subject=" in page
    assert "Event ID: evt_1" in page
    assert text.splitlines()[2] in page


def test_a_request_for_refused_deliveries_needs_no_event(app, signed_in):
    app.test_client().post("/webhooks/senang", data=b"x")

    page = signed_in().get("/support/time").text
    command = app.test_cli_runner().invoke(args=["events", "support", "--since", "2026-01-01"]).output

    assert "rejected: missing_signature: 1" in page
    assert "rejected: missing_signature: 1" in command


def test_an_export_has_every_event_that_fits_and_no_payload(signed_in, deliver):
    deliver("payment.success", event_id="evt_1")
    deliver("policy.issued", event_id="evt_2", data={"secret": "inside"})
    client = signed_in()

    as_csv = client.get("/events/export.csv?type=policy.issued").text
    as_json = client.get("/events/export.json").json

    assert [row["event_id"] for row in csv.DictReader(io.StringIO(as_csv))] == ["evt_2"]
    assert [row["event_id"] for row in as_json] == ["evt_2", "evt_1"]
    assert "inside" not in as_csv + json.dumps(as_json)


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1"])
def test_a_formula_in_a_cell_is_defused(signed_in, deliver, work, stored, inbox, formula):
    deliver(event_id="evt_1", status=formula)
    work()
    replay(inbox, stored("evt_1").id, actor="test", reason=formula)
    client = signed_in()

    events = csv.DictReader(io.StringIO(client.get("/events/export.csv").text))
    replays = csv.DictReader(io.StringIO(client.get("/audit/export.csv?action=replay").text))

    assert not next(events)["reported_status"].startswith(formula)
    assert next(replays)["detail"] == f"'{formula}"


def test_the_audit_log_is_exported_with_the_columns_that_senang_asks_for_first(signed_in, deliver):
    deliver(event_id="evt_1")

    header, *rows = signed_in().get("/audit/export.csv").text.splitlines()

    assert header.startswith("event_id,at,event_type,result,")
    assert any(row.startswith("evt_1,") and ",payment.success,accepted," in row for row in rows)


def test_who_took_an_export_is_in_the_audit_log_and_a_viewer_takes_none(signed_in, session):
    signed_in().get("/events/export.csv")

    refused = signed_in(role="viewer").get("/events/export.csv").status_code

    acts = session.execute(sa.select(AuditEntry.result, AuditEntry.actor).where(AuditEntry.action == "export")).all()
    assert (acts, refused) == ([("events as csv", "siti")], 403)


@on_postgresql
@pytest.mark.parametrize("address", ["/events/export.json", "/audit/export.json"])
def test_an_export_that_is_taken_slowly_holds_no_transaction_meanwhile(signed_in, deliver, inbox, address):
    for number in range(3):
        deliver(event_id=f"evt_{number}")
    client = signed_in()

    answer = client.get(address, buffered=False)
    lines = iter(answer.response)
    first = next(lines)

    with inbox.engine.connect() as connection:
        held = connection.scalar(
            sa.text(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    rest = list(lines)
    answer.close()
    assert (held, bool(first), len(rest) > 2) == (0, True, True)
