"""§9 Monitoring and logging."""

import json
import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from receiver.registry import handles
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases

clause = pytest.mark.clause
NRIC = "900101-14-5678"


@clause("9.1")
@both_databases
def test_delivery_attempt_and_replay_each_leave_an_audit_row(perform, session):
    perform("payment.success")

    results = session.execute(sa.select(AuditEntry.action, AuditEntry.result).order_by(AuditEntry.id)).all()
    assert results == [
        ("delivery", "accepted"),
        ("attempt", "processed"),
        ("replay", "due again"),
        ("attempt", "processed"),
    ]


@clause("9.2")
def test_each_delivery_and_attempt_is_one_log_line_with_what_the_page_asks_for(deliver, work, capsys):
    deliver("payment.success", event_id="evt_1")
    work()

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [line for line in lines if line["event"] in ("delivery", "attempt")]
    assert [line["processing_result"] for line in found] == ["accepted", "processed"]
    for line in found:
        assert (line["event_id"], line["event_type"], bool(line["timestamp"])) == ("evt_1", "payment.success", True)


@clause("9.3")
def test_personal_data_is_in_no_database_row_and_no_log_line(deliver, work, session, capsys, database, app):
    @handles("leaky.event")
    def leaky(event, session):
        raise RuntimeError(f"customer {event.data['nric']} at siti@example.com")

    deliver("leaky.event", event_id="evt_1", data={"nric": NRIC, "email": "siti@example.com", NRIC: 1})
    work()

    printed = capsys.readouterr().out
    rows = [str(row) for table in (StoredEvent, AuditEntry) for row in session.execute(sa.select(*table.__table__.c))]
    page = app.test_cli_runner().invoke(args=["events", "show", "evt_1"]).output
    files = b"".join(
        path.read_bytes() for path in Path(database.removeprefix("sqlite:///")).parent.glob("receiver.db*")
    )
    for planted in (NRIC, "siti@example.com"):
        assert planted not in printed + page + "".join(rows)
        assert planted.encode() not in files


@clause("9.3")
def test_a_name_that_a_handler_puts_into_its_error_is_in_no_row_and_no_log_line(deliver, work, session, capsys):
    @handles("leaky.event")
    def leaky(event, session):
        raise KeyError(event.data["customer"]["name"])

    deliver("leaky.event", event_id="evt_1", data={"customer": {"name": "Nurul Aisyah"}, "age": 36})
    work()

    row = session.scalars(sa.select(StoredEvent)).one()
    printed = capsys.readouterr().out
    assert "Nurul" not in printed + row.last_error + str(session.scalars(sa.select(AuditEntry.detail)).all())
    assert re.fullmatch(r"KeyError at tests/receiver/guide/test_09_logging.py:[0-9]+ in .*leaky", row.last_error)
    assert row.last_error.removeprefix("KeyError ") in printed


@clause("9.3")
def test_personal_data_is_in_no_answer_and_no_metric(environment, request):
    environment["METRICS_TOKEN"] = "a-token"
    app, sender, payload = (request.getfixturevalue(name) for name in ("app", "sender", "payload"))
    client = app.test_client()

    answers = [
        sender.deliver(payload(event_id=f"{NRIC} x")).text,
        sender.deliver(payload(timestamp=NRIC)).text,
        sender.deliver(payload(policy_id=[NRIC])).text,
        sender.deliver(f'{{"{NRIC}": NaN}}'.encode()).text,
        client.post("/webhooks/senang", data=NRIC).text,
        client.get(f"/{NRIC}").text,
        client.get("/metrics", headers={"Authorization": "Bearer a-token"}).text,
    ]

    assert not any(NRIC in answer for answer in answers)


@clause("9.3")
@both_databases
def test_the_audit_log_refuses_to_be_changed(deliver, inbox):
    deliver()

    statements = ["UPDATE audit_log SET result = 'x'", "DELETE FROM audit_log"]
    if inbox.engine.dialect.name == "postgresql":
        statements.append("TRUNCATE audit_log")

    for statement in statements:
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), inbox.engine.begin() as connection:
            connection.execute(sa.text(statement))
