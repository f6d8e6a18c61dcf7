"""People see of a column what looks like a reference; what does not is shown as its kind and a short form."""

import html
import json
import re
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from receiver.privacy.columns import Showing
from receiver.registry import handles
from receiver.store.models import AuditEntry, BulkAct, StoredEvent
from receiver.store.shown import CHOSEN, WORDED
from receiver.testing import both_databases
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs

NRIC, CARD, NAME, MAIL = "900101-14-5678", "4111111111111111", "Siti Nurhaliza binti Osman", "siti@example.com"
ODD = {
    "event_id": NRIC, "event_type": MAIL, "transaction_id": CARD, "policy_id": NAME, "claim_id": "+60 12-345 6789",
    "status": "Kamala Devi",
}  # fmt: skip
OURS = {
    "environment", "state", "quarantine_reason", "leased_by", "body_digest", "sealing_key", "action", "result",
    "actor", "request_id", "cause", "traceparent",
}  # fmt: skip
"""Columns of text that we fill ourselves. `masked_payload` passes the masking by itself."""


@pytest.fixture
def odd_event(deliver, work, stored):
    """An event whose every field holds what should stay unseen."""
    deliver(**ODD)
    work()
    return stored(NRIC)


def addresses(page):
    """What the page links to, and where its forms go."""
    return [html.unescape(found) for found in re.findall(r'(?:href|action|hx-get)="([^"]*)"', page)]


def leaks(text):
    """Those of the values that stand in the text, as they are or as an address has them."""
    text = html.unescape(text)
    return [value for value in ODD.values() if value in text or quote(value) in text or quote(value, safe="") in text]


def test_every_column_is_shown_by_one_rule():
    text = {
        column.name
        for table in (StoredEvent, AuditEntry)
        for column in table.__table__.columns
        if isinstance(column.type, sa.String)
    }

    assert text == {*CHOSEN, *WORDED, *OURS, "masked_payload"}


def test_a_form_is_the_same_for_the_same_value_and_another_under_another_secret():
    here, there = Showing("a secret of this installation, long"), Showing("a secret of that installation, long")

    assert here(NRIC) == here(NRIC) != there(NRIC)
    assert re.fullmatch(r"\[nric [a-z]{10}\]", here(NRIC))
    assert re.fullmatch(r"\[name [a-z]{10}\]", here(NAME))
    assert here(here(NAME)) == here(NAME)
    assert len({here(f"{NAME} {number}") for number in range(2000)}) == 2000
    assert "secret" not in repr(here)


def test_an_address_leads_back_to_what_it_seals_and_nowhere_else():
    here, there = Showing("a secret of this installation, long"), Showing("a secret of that installation, long")

    for value in (*ODD.values(), "支付", "~", "~abc", "é" * 200, "\ud800"):
        sealed = here.in_address(value)
        assert here.from_address(sealed) == value
        assert re.fullmatch(r"~[A-Za-z0-9_-]+", sealed), value
        assert there.from_address(sealed) == sealed
    assert here.in_address("POL-7") == here.from_address("POL-7") == "POL-7"


@postgresql_and_sqlite_in_long_runs
def test_no_page_shows_such_a_column_nor_links_to_it(odd_event, signed_in, csrf_token, session):
    client = signed_in()
    pages = {
        "/": None, "/events": None, f"/events/{odd_event.id}": None, "/audit": None,
        f"/support/events/{odd_event.id}": None, "/events/export.csv": None, "/events/export.json": None,
        "/audit/export.csv": None, "/audit/export.json": None,
    }  # fmt: skip
    for address in pages:
        pages[address] = client.get(address).text
    links = [link for page in pages.values() for link in addresses(page) if link.startswith("/subjects/")]
    for link in links:
        pages[link] = client.get(link).text
    for asked in ({"q": NRIC}, {"type": MAIL}, {"q": NAME, "type": MAIL}):
        found = client.post("/events/find", data=asked | {"csrf_token": csrf_token(client.get("/events"))})
        pages[found.location] = client.get(found.location).text
        assert f'href="/events/{odd_event.id}' in pages[found.location], asked
    found = client.post("/audit/find", data={"event_id": NRIC, "csrf_token": csrf_token(client.get("/audit"))})
    pages[found.location] = client.get(found.location).text
    plan = client.post(f"/bulk?q={quote(NAME)}", data={"csrf_token": csrf_token(client.get("/events"))})
    pages[plan.location] = client.get(plan.location).text
    client.post(f"{plan.location}/confirm", data={"csrf_token": csrf_token(client.get("/events"))})
    pages["/audit?"] = client.get("/audit").text

    assert len(links) == len(set(links)) * 2 >= 6  # each stands on the list and on the event's page
    assert "accepted" in pages[found.location]
    assert {address: leaks(address + page) for address, page in pages.items() if leaks(address + page)} == {}
    session.rollback()
    assert not leaks(str(session.scalars(sa.select(BulkAct.filter)).all()))
    assert not leaks(str(session.scalars(sa.select(AuditEntry.detail)).all()))


def test_what_looks_like_a_reference_is_shown_and_linked_as_it_is(deliver, work, signed_in, stored):
    deliver(event_id="evt_1", policy_id="POL-7", transaction_id="TXN-2026-000123", claim_id="CLM-9", status="paid")
    work()
    client = signed_in()

    page = client.get(f"/events/{stored('evt_1').id}").text

    for text in ("evt_1", "POL-7", "TXN-2026-000123", "CLM-9", "payment.success", "paid", "/subjects/policy/POL-7"):
        assert text in page, text
    assert "Reveal" not in page


@postgresql_and_sqlite_in_long_runs
def test_what_is_hidden_is_found_by_its_exact_text_and_not_by_its_beginning(odd_event, deliver, signed_in):
    deliver(event_id="900101-A", transaction_id="4111", policy_id="POL-1", claim_id="CLM-9")
    client = signed_in()

    def found(term):
        return set(re.findall(r'href="/events/(\d+)', client.get(f"/events?q={quote(term)}").text))

    hidden, other = str(odd_event.id), str(odd_event.id + 1)
    assert {term: found(term) for term in (NRIC, CARD, NAME)} == {term: {hidden} for term in (NRIC, CARD, NAME)}
    assert found(NRIC[:6]) == found(CARD[:4]) == {other}
    assert found(NRIC[:-1]) == found(CARD[:-1]) == found(NAME[:4]) == found(NAME[:-1]) == set()


@both_databases
def test_an_operator_reveals_one_column_at_a_time_and_the_audit_log_says_so(odd_event, signed_in, csrf_token, session):
    client, address = signed_in(), f"/events/{odd_event.id}"
    token = csrf_token(client.get(address))

    for column in ("policy_id", "event_id", "event_type", "reported_status", "claim_id", "transaction_id"):
        page = client.post(f"{address}/reveal", data={"column": column, "csrf_token": token})
        assert leaks(page.text) == [getattr(odd_event, column)], column
        assert page.headers["Cache-Control"] == "no-store"

    refused = client.post(f"{address}/reveal", data={"column": "sealed_payload", "csrf_token": token})
    empty = client.post(f"{address}/reveal", data={"column": "stated_event_id", "csrf_token": token})
    session.rollback()
    acts = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "reveal").order_by(AuditEntry.id)).all()
    assert (refused.status_code, empty.status_code) == (404, 404)
    assert [(act.actor, act.result, act.event_id, act.detail) for act in acts][:2] == [
        ("siti", "policy_id", NRIC, None), ("siti", "event_id", NRIC, None),
    ]  # fmt: skip
    assert len(acts) == 6
    assert acts[0].request_id
    assert not leaks(client.get("/audit?action=reveal").text)


def test_a_command_reveals_one_column_and_the_audit_log_says_so(odd_event, app, session):
    def reveal(column):
        return app.test_cli_runner().invoke(args=["events", "reveal", f"#{odd_event.id}", column])

    shown, empty = reveal("policy_id"), reveal("stated_event_id")

    assert shown.output.splitlines()[-1] == odd_event.policy_id
    assert (empty.exit_code, "has no stated_event_id" in empty.output) == (1, True)
    session.rollback()
    acts = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "reveal")).all()
    assert [(act.actor, act.result, act.inbox_id) for act in acts] == [("command line", "policy_id", odd_event.id)]


def test_a_viewer_reveals_nothing(odd_event, signed_in, csrf_token):
    client = signed_in("viewer")
    page = client.get(f"/events/{odd_event.id}")

    answer = client.post(f"/events/{odd_event.id}/reveal", data={"column": "policy_id", "csrf_token": csrf_token(page)})

    assert answer.status_code == 403
    assert "Reveal" not in page.text


def test_no_command_prints_such_a_column(odd_event, app, deliver, sender, payload):
    sender.deliver(payload(event_id=NRIC, status="another body"))
    name = f"#{odd_event.id}"
    commands = [
        ["events", "list"], ["events", "list", "--json"], ["events", "list", "--type", MAIL], ["events", "show", NRIC],
        ["events", "show", name, "--json"], ["events", "support", NRIC], ["events", "replay", name],
        ["events", "replay", "--state", "quarantined"], ["events", "check"], ["events", "check", "--json"],
    ]  # fmt: skip
    outputs = {" ".join(command): app.test_cli_runner().invoke(args=command).output for command in commands}

    assert {command: leaks(output) for command, output in outputs.items() if leaks(output)} == {}
    assert f"{name} [nric " in outputs["events list"]
    assert outputs[f"events list --type {MAIL}"].count("[nric ") == 1


@both_databases
def test_no_log_line_holds_such_a_column(odd_event, deliver, work, capsys):
    @handles(NAME)
    def fails(event, session):
        raise ValueError

    deliver(**ODD)
    deliver(NAME, event_id=MAIL)
    deliver(**ODD, data={"another": "body"})
    work()

    lines = capsys.readouterr().out
    assert not leaks(lines)
    assert len({json.loads(line)["event_id"] for line in lines.splitlines() if '"event_id": "[' in line}) == 2
