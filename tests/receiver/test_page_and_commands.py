"""The events page behind its sign-in, the commands, and what an operator does with them."""

import json

import pytest
import sqlalchemy as sa

from receiver.maintenance.retention import purge
from receiver.privacy.sealing import parse_keys, unseal
from receiver.queries.audit_trail import audit_trail
from receiver.store.audit import write_finished_sums
from receiver.store.models import AuditEntry, StoredEvent
from receiver.store.tally import ROWS_A_MINUTE
from receiver.testing import both_databases

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def cli(app):
    def run(*arguments):
        return app.test_cli_runner().invoke(args=list(arguments))

    return run


@both_databases
def test_the_page_lists_events_and_shows_one_with_its_masked_payload_and_trail(signed_in, deliver, work, stored):
    deliver("payment.success", event_id="evt_1", data={"customer": {"name": "Siti"}})
    work()

    client = signed_in()
    index, detail = client.get("/events"), client.get(f"/events/{stored('evt_1').id}")

    assert "evt_1" in index.text
    assert "[text 4]" in detail.text
    happened = detail.text[detail.text.index("What happened") :]
    assert happened.index("accepted") < happened.index("processed")


def test_hostile_text_is_inert_on_the_page(signed_in, deliver, stored):
    deliver(HOSTILE, event_id="<b>x</b>", status=HOSTILE, data={HOSTILE: HOSTILE})

    client = signed_in()
    pages = client.get("/events").text + client.get(f"/events/{stored('<b>x</b>').id}").text

    assert "<script>" not in pages
    assert "<b>x" not in pages


def test_an_operator_replays_and_a_viewer_may_not(signed_in, deliver, work, stored, session, csrf_token):
    deliver(event_id="evt_1")
    work()
    address = f"/events/{stored('evt_1').id}"

    operator = signed_in()
    form = {"csrf_token": csrf_token(operator.get(address)), "sure": "yes", "reason": "asked to"}
    operator.post(f"{address}/replay", data=form)
    replayed = stored("evt_1").state
    viewer = signed_in(role="viewer")
    refused = viewer.post(f"{address}/replay", data={"csrf_token": csrf_token(viewer.get(address))})

    actors = session.scalars(sa.select(AuditEntry.actor).where(AuditEntry.action == "replay")).all()
    assert (replayed, refused.status_code, actors) == ("pending", 403, ["siti"])


def test_a_post_without_a_csrf_token_is_refused(signed_in, deliver, work, stored):
    deliver(event_id="evt_1")
    work()

    response = signed_in().post(f"/events/{stored('evt_1').id}/replay")

    assert (response.status_code, stored("evt_1").state) == (400, "processed")


def test_pages_carry_a_content_security_policy_that_allows_no_inline_script_or_style(app):
    policy = app.test_client().get("/sign-in").headers["Content-Security-Policy"]

    assert policy.startswith("default-src 'none'")
    assert "script-src 'self';" in policy
    assert "unsafe-inline" not in policy


def test_metrics_need_the_token_and_count_deliveries(environment, request):
    environment["METRICS_TOKEN"] = "a-token"
    client = request.getfixturevalue("app").test_client()
    request.getfixturevalue("deliver")()

    refused = client.get("/metrics")
    shown = client.get("/metrics", headers={"Authorization": "Bearer a-token"})

    assert refused.status_code == 401
    assert 'senang_deliveries_total{reason="",result="accepted"}' in shown.text
    assert 'senang_events{state="pending"} 1' in shown.text


def test_metrics_are_absent_without_acsrf_token(app, csrf_token):
    assert app.test_client().get("/metrics").status_code == 404


@both_databases
def test_readyz_says_ready_and_healthz_alive(app):
    client = app.test_client()

    assert (client.get("/readyz").status_code, client.get("/healthz").status_code) == (200, 200)


def test_readyz_says_once_in_the_log_which_command_mends_a_database_without_tables(
    assemble, environment, tmp_path, capsys
):
    app = assemble(environment | {"DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}"})

    for _ in range(3):
        assert app.test_client().get("/readyz").status_code == 503
        del app.extensions["readiness"]  # as if five seconds had passed

    said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "not_ready" in line]
    assert [(line["reason"], line["remedy"]) for line in said] == [("not_migrated", "flask --app wsgi db upgrade")]


@both_databases
def test_purge_erases_payloads_and_keeps_the_event_id_as_a_tombstone(inbox, sender, payload, work, stored, clock):
    sent = payload(event_id="evt_1")
    sender.deliver(sent)
    work()
    clock.advance(days=400)

    purge(inbox, actor="test")
    answer = sender.deliver(sent)

    row = stored("evt_1")
    assert (row.sealed_payload, row.masked_payload) == (None, None)
    assert answer.json["status"] == "duplicate"


@both_databases
def test_reseal_moves_every_payload_to_the_newest_key(app, inbox, deliver, work, stored, cli):
    deliver(event_id="evt_1")
    rotated = parse_keys("MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=") + inbox.settings.payload_keys
    object.__setattr__(inbox.settings, "payload_keys", rotated)

    result = cli("events", "reseal", "--json")
    object.__setattr__(inbox.settings, "payload_keys", rotated[:1])
    work()

    assert json.loads(result.output) == {"resealed": 1, "unreadable": 0}
    assert stored("evt_1").state == "processed"


@both_databases
def test_remask_applies_todays_rules(inbox, deliver, stored, cli):
    deliver(event_id="evt_1", data={"customer": "Siti"})
    with inbox.engine.begin() as connection:
        connection.execute(sa.update(StoredEvent).values(masked_payload='{"old": "rules"}'))

    cli("events", "remask")

    assert json.loads(stored("evt_1").masked_payload)["data"] == {"customer": "[text 4]"}


@both_databases
def test_an_undecryptable_row_is_dead_and_its_neighbours_are_processed(inbox, deliver, work, stored):
    deliver(event_id="evt_1")
    deliver(event_id="evt_2")
    with inbox.engine.begin() as connection:
        broken = sa.update(StoredEvent).where(StoredEvent.event_id == "evt_1").values(sealed_payload=b"broken")
        connection.execute(broken)

    work()

    assert (stored("evt_1").state, stored("evt_2").state) == ("dead", "processed")


def test_card_verification_codes_are_not_kept_even_sealed(inbox, deliver, stored):
    deliver(event_id="evt_1", data={"card": {"cvv": "123", "last4": "1111"}})

    row = stored("evt_1")
    kept = unseal(row.sealed_payload, row=row.seal_id, keys=inbox.settings.payload_keys)
    assert json.loads(kept)["data"] == {"card": {"last4": "1111"}}


def test_list_and_replay_speak_json_and_words(cli, deliver, work, stored):
    deliver(event_id="evt_1")
    work()

    listed = json.loads(cli("events", "list", "--json").output)
    replayed = cli("events", "replay", "evt_1")

    assert [row["event_id"] for row in listed] == ["evt_1"]
    assert (replayed.exit_code, stored("evt_1").state) == (0, "pending")


def test_an_event_whose_id_looks_like_a_row_number_is_found_by_its_id(cli, deliver):
    deliver("payment.success", event_id="evt_1")
    deliver("payment.success", event_id="#1")

    found = [json.loads(cli("events", "show", name, "--json").output)["id"] for name in ("#1", "#2")]

    assert found == [2, 2]


def test_an_unknown_event_is_a_clear_error(cli):
    result = cli("events", "show", "nothing")

    assert result.exit_code == 1
    assert "no such event" in result.output


@both_databases
def test_the_trail_of_a_body_without_an_id_is_its_own(sender, signed_in, session):
    sender.deliver(b"not json")
    sender.deliver(b"[]")
    page = signed_in()
    row = session.scalars(sa.select(StoredEvent).where(StoredEvent.event_id.is_(None))).first()

    trail = audit_trail(session, row)

    assert [(entry.action, entry.inbox_id) for entry in trail] == [("delivery", row.id)]
    assert "signed in" not in page.get(f"/events/{row.id}").text


@both_databases
@pytest.mark.usefixtures("early_in_a_minute")
def test_the_trail_of_an_event_has_what_was_summed_and_its_quarantined_namesake(sender, payload, inbox, session):
    sent = payload("payment.success", event_id="evt_1")
    for _ in range(ROWS_A_MINUTE + 3):
        sender.deliver(sent)
    sender.deliver(sent | {"status": "another body"})
    inbox.clock.advance(minutes=1)
    write_finished_sums(inbox)
    row = session.scalars(sa.select(StoredEvent).where(StoredEvent.event_id == "evt_1")).one()

    trail = audit_trail(session, row)

    assert [entry.occurrences for entry in trail if entry.detail == "summed"] == [2]
    assert "quarantined: id_reused" in [entry.result for entry in trail]


@both_databases
def test_a_very_long_trail_shows_how_it_began_and_how_it_ended_and_says_what_it_leaves_out(
    cli, deliver, inbox, signed_in, session
):
    deliver("test.unknown", event_id="evt_1")
    row = session.scalars(sa.select(StoredEvent)).one()
    of_row = {"action": "attempt", "event_id": "evt_1", "inbox_id": row.id, "at": inbox.now()}
    with inbox.engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
        rows = [of_row | {"result": f"number {number}."} for number in range(699)]
        connection.execute(sa.insert(AuditEntry).values(rows))

    page = signed_in().get(f"/events/{row.id}").text
    shown = cli("events", "show", "evt_1").output
    support = cli("events", "support", "evt_1").output

    for text in (page, shown, support):
        assert "200 entries in between are left out" in text
        assert [f"number {number}." in text for number in (0, 98, 99, 298, 299, 698)] == [True] * 2 + [False] * 2 + [
            True
        ] * 2
