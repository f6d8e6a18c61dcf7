"""One person's data: found, exported, held and erased by a value of theirs, which nothing keeps in clear text."""

import html
import json
import re
from contextlib import suppress
from datetime import timedelta

import pytest
import sqlalchemy as sa

from receiver import advance, follow_up, registry
from receiver.actions.erasure import erase
from receiver.actions.person import Act, CannotAct
from receiver.config import ConfigurationError, load_settings
from receiver.database.engine import writing
from receiver.ingest.captures import open_window
from receiver.maintenance.retention import purge
from receiver.queries.conditions import conditions
from receiver.queries.health import DEFAULT_LIMITS, health
from receiver.store.models import AuditEntry, CapturedDelivery, PersonEntry, StoredEvent
from receiver.testing import ENVIRONMENT, both_databases
from tests.receiver.databases import on_postgresql
from tests.receiver.partner.models import ProbePerson, ProbePolicy
from tests.receiver.people import EMAIL, KAMALA, NRIC, OTHER_INDEX_KEY, PHONE, SITI, SUBJECTS

WHY = ("--reason", "she asked for it")


@pytest.fixture
def environment(environment):
    return environment | SUBJECTS


@pytest.fixture
def cli(app):
    def run(*arguments):
        return app.test_cli_runner().invoke(args=["events", *arguments])

    return run


@pytest.fixture
def find(cli):
    def ask(value):
        found = cli("subject", value, *WHY, "--json")
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)

    return ask


@pytest.fixture
def erase_now(inbox):
    def run(value=NRIC):
        return erase(Act(inbox, value, actor="test", reason="she asked for it"))

    return run


@pytest.fixture
def events(inbox):
    def look():
        with writing(inbox.engine) as session:
            return session.scalars(sa.select(StoredEvent).order_by(StoredEvent.id)).all()

    return look


def about(customer, **more):
    return {"data": {"customer": customer, **more}}


@both_databases
def test_a_person_is_found_by_each_value_however_it_is_written(deliver, find):
    deliver(**about(SITI))
    deliver(**about({"nric": "900101145678"}))
    deliver(**about([{"email": "Siti <SITI.nurhaliza@Example.my>"}, {"phone": "012 3456789"}]))
    deliver(**about(KAMALA, nominees=[{"id": "C-77 01"}, {"id": 501}]))

    number = {
        value: find(value)["events"]
        for value in (NRIC, "900101 14 5678", EMAIL, EMAIL.upper(), PHONE, "60123456789", "0123456789", "c7701", "501")
    }

    assert number == {
        NRIC: 2, "900101 14 5678": 2, EMAIL: 2, EMAIL.upper(): 2, PHONE: 2, "60123456789": 2, "0123456789": 2,
        "c7701": 1, "501": 1,
    }  # fmt: skip
    assert (find("nobody@example.my")["events"], find("880202101234")["events"]) == (0, 1)


@both_databases
def test_every_event_that_is_kept_can_be_found(deliver, sender, payload, work, find, clock, events):
    """New, changed under the same ID, unusable, stale, several at once, and what a handler asked for."""

    @registry.handles("policy.renewed")
    def renew(event, session):
        follow_up(session, event, "letter.send", {"to": "somebody"})

    deliver("policy.renewed", event_id="evt_1", **about(SITI))
    deliver("policy.renewed", event_id="evt_1", **about(SITI, changed=True))
    deliver(timestamp=None, **about(SITI))
    stale = sender.signed(json.dumps(payload(event_id="evt_2", **about(SITI))).encode())
    clock.advance(hours=1)
    sender.post(sender.url, stale.body, stale.headers)
    sender.deliver([payload(event_id=f"evt_{number}", **about(SITI)) for number in (3, 4)])
    work()

    found = find(NRIC)

    assert sorted(row.quarantine_reason or "" for row in events()) == ["", "", "", "", "id_reused", "stale", "unusable"]
    assert found["events"] == 7
    assert found["other_values_in_these_events"] == {"email": 1, "phone": 1}


@both_databases
def test_an_erased_event_is_a_tombstone_and_no_delivery_brings_anything_back(
    deliver, sender, payload, work, erase_now, find, events, inbox
):
    sent = payload("payment.success", event_id="evt_1", **about(SITI), policy_id="POL-1", status="paid")
    sender.deliver(sent)
    work()
    deliver("nobody.handles.it", event_id="evt_2", **about(SITI))
    deliver(event_id="evt_3", **about(KAMALA))
    work()
    deliver("payment.success", event_id="evt_4", **about(SITI))

    done = erase_now()
    answers = [sender.deliver(it).json["status"] for it in (sent, sent | {"data": {"customer": SITI, "more": 1}})]
    work()

    first, second, other, fourth = sorted(events(), key=lambda row: row.id)
    assert (done.events, done.left, answers) == (3, [], ["duplicate", "duplicate"])
    assert [row.state for row in (first, second, other, fourth)] == ["processed", "dismissed", "processed", "dismissed"]
    for row in (first, second, fourth):
        gone = row.sealed_payload, row.masked_payload, row.transaction_id, row.policy_id, row.claim_id
        assert (*gone, row.reported_status, row.last_error) == (None,) * 7
        assert None not in (row.erased_at, row.event_id, row.body_digest)
    assert (first.deliveries, other.sealed_payload is None) == (3, False)
    assert (find(NRIC)["events"], find(EMAIL)["events"], find(KAMALA["nric"])["events"]) == (0, 0, 1)
    alarms = {found.code for found in conditions(health(inbox, DEFAULT_LIMITS), DEFAULT_LIMITS)}
    assert alarms & {"dead", "unhandled", "failing", "all_quarantined"} == set()


@both_databases
def test_the_partners_tables_are_erased_in_the_same_transaction_and_no_error_leaves_half(
    deliver, work, erase_now, events, session, inbox
):
    @registry.erases
    def forget(event, session):
        if person := session.get(ProbePerson, event.policy_id):
            person.name = None
        if event.data["customer"]["name"] == "Siti Nurhaliza" and event.id == "evt_2" and not works:
            raise ValueError("Siti Nurhaliza")

    works = []
    for number in (1, 2):
        deliver("policy.issued", event_id=f"evt_{number}", policy_id=f"POL-{number}", **about(SITI))
    work()
    with writing(inbox.engine) as writer:
        moment = events()[0].received_at
        for number in (1, 2):
            row = {"reference": f"POL-{number}", "status": "issued", "rank": 0, "occurred_at": moment}
            writer.add(ProbePerson(**row, event_id=f"evt_{number}", name="Siti Nurhaliza"))

    with pytest.raises(CannotAct) as failed:
        erase_now()
    kept = session.scalars(sa.select(ProbePerson.name)).all(), [row.erased_at for row in events()]
    session.rollback()
    works.append(True)
    erase_now()

    assert failed.value.reason == "eraser_failed"
    assert "ValueError at tests/receiver/test_person.py" in str(failed.value)
    assert "Siti" not in str(failed.value)
    assert (len([name for name in kept[0] if name]), kept[1]) == (2, [None, None])
    assert session.scalars(sa.select(ProbePerson.name)).all() == [None, None]


def test_a_function_that_erases_may_not_end_the_transaction(deliver, erase_now, events):
    @registry.erases
    def forget(event, session):
        session.commit()

    @registry.erases
    def forget_in_silence(event, session):
        with suppress(Exception):
            session.commit()

    deliver(**about(SITI))

    with pytest.raises(CannotAct, match="HandlerMisuse"):
        erase_now()
    registry.restore(registry.present()._replace(erasers=[forget_in_silence]))
    with pytest.raises(CannotAct, match="may not commit"):
        erase_now()
    assert events()[0].erased_at is None


@on_postgresql
def test_a_handler_that_runs_during_an_erasure_writes_nothing(deliver, work, erase_now, events, session):
    @registry.handles("policy.renewed")
    def renew(event, session):
        advance(session, ProbePolicy, event.policy_id, event=event, status="renewed")
        erase_now()

    deliver("policy.renewed", policy_id="POL-1", **about(SITI))
    work()

    assert [(row.state, row.sealed_payload) for row in events()] == [("dismissed", None)]
    assert session.scalars(sa.select(ProbePolicy)).all() == []


@both_databases
def test_follow_ups_go_with_the_event_that_asked_for_them(deliver, work, erase_now, events, find):
    @registry.handles("policy.renewed")
    def renew(event, session):
        for key, customer in (("hers", SITI), ("the agent's", KAMALA)):
            follow_up(session, event, "letter.send", {"customer": customer}, key=key)

    deliver("policy.renewed", **about(SITI))
    work()

    named = find(KAMALA["nric"])["events"], find(NRIC)["events"]
    assert (named, erase_now().events) == ((1, 3), 3)
    assert [row.sealed_payload for row in events()] == [None, None, None]


def test_captured_deliveries_that_name_the_person_go_too(app, inbox, sender, payload, erase_now, session):
    open_window(inbox, minutes=5, count=5, actor="test")
    client = app.test_client()
    for customer in (SITI, KAMALA):
        client.post("/webhooks/senang", data=json.dumps(payload(**about(customer))))

    done = erase_now()

    assert done.captures == 1
    assert session.scalar(sa.select(sa.func.count()).select_from(CapturedDelivery)) == 1


@both_databases
def test_a_person_on_hold_is_left_alone_by_retention_and_erasures_until_released(
    deliver, work, cli, events, inbox, clock
):
    deliver(event_id="evt_1", **about(SITI))
    deliver(event_id="evt_2", **about(KAMALA))
    deliver(event_id="evt_3", **about([SITI, KAMALA]))
    work()

    held = [cli("subject", NRIC, "--hold", *WHY).output for _ in range(2)]
    refused = cli("subject", "900101145678", "--erase", "--yes", *WHY)
    other = cli("subject", KAMALA["email"], "--erase", "--yes", *WHY)
    clock.advance(days=400)
    purge(inbox, actor="test")
    kept = {row.event_id for row in events() if row.sealed_payload}
    released = cli("subject", NRIC, "--release", *WHY), cli("subject", NRIC, "--release", *WHY)
    purge(inbox, actor="test")

    assert [line.rstrip(".\n").endswith("already") for line in held] == [False, True]
    assert (refused.exit_code, "so nothing was erased" in refused.output, kept) == (1, True, {"evt_1", "evt_3"})
    assert (other.exit_code, "stays: 1 event." in other.output) == (1, True)
    assert [it.exit_code for it in released] == [0, 1]
    assert {row.event_id for row in events() if row.sealed_payload or row.masked_payload} == set()


def test_no_hold_is_overlooked_when_the_index_is_turned_off(deliver, work, cli, assemble, environment, events, clock):
    deliver(**about(SITI))
    work()
    cli("subject", NRIC, "--hold", *WHY)
    without = assemble({name: value for name, value in environment.items() if name not in SUBJECTS})
    without.extensions["inbox"].clock.advance(days=400)

    done = without.test_cli_runner().invoke(args=["events", "purge", "--json"])

    assert (done.exit_code, json.loads(done.stdout)["failed"]) == (1, ["sealed", "masked"])
    assert events()[0].sealed_payload is not None


@both_databases
def test_retention_takes_the_index_along_with_the_last_of_a_payload(deliver, work, find, inbox, clock, session):
    deliver(**about(SITI))
    work()
    clock.advance(days=100)
    purge(inbox, actor="test")
    masked = find(NRIC)["events"]
    clock.advance(days=300)
    purge(inbox, actor="test")

    assert (masked, find(NRIC)["events"], session.scalars(sa.select(PersonEntry)).all()) == (1, 0, [])


@both_databases
def test_the_index_is_built_anew_for_other_fields_and_for_a_new_key(
    assemble, environment, deliver, work, find, session
):
    deliver(event_id="evt_1", data={"customer": SITI, "agent": {"mail": "agent@example.my"}})
    work()

    def receiver(**changes):
        runner = assemble(environment | changes).test_cli_runner()
        return lambda *arguments: runner.invoke(args=["events", *arguments])

    fields = SUBJECTS["SUBJECT_FIELDS"] + ",email=data.agent.mail"
    keys = f"{OTHER_INDEX_KEY},{SUBJECTS['SUBJECT_INDEX_KEYS']}"
    new = receiver(SUBJECT_FIELDS=fields, SUBJECT_INDEX_KEYS=keys)

    def number(events, value):
        answer = json.loads(events("subject", value, *WHY, "--json").stdout)
        return answer["events"], len(answer["not_seen"])

    before = [number(new, value) for value in ("agent@example.my", NRIC)]
    built = json.loads(new("reindex", "--json").stdout)
    after = [number(new, value) for value in ("agent@example.my", NRIC)]
    last = receiver(SUBJECT_FIELDS=fields, SUBJECT_INDEX_KEYS=OTHER_INDEX_KEY)

    assert (before, after) == ([(0, 1), (1, 1)], [(1, 0), (1, 0)])
    assert built == {"events": 1, "unreadable": 0, "removed": 0, "older_keys": 0}
    assert number(last, NRIC) == (1, 0)
    assert find(NRIC)["events"] == 0  # the old key finds nothing any more


def test_what_is_left_under_a_key_that_is_gone_is_deleted_and_turning_off_deletes_all(
    assemble, environment, deliver, work, cli, inbox, clock, session
):
    deliver(**about(SITI))
    work()
    assert cli("reindex").exit_code == 0
    clock.advance(days=100)
    purge(inbox, actor="test")
    kept = session.scalar(sa.select(sa.func.count()).select_from(PersonEntry))

    rotated = assemble(environment | {"SUBJECT_INDEX_KEYS": OTHER_INDEX_KEY}).test_cli_runner()
    blind = json.loads(rotated.invoke(args=["events", "subject", NRIC, *WHY, "--json"]).stdout)["not_seen"]
    removed = json.loads(rotated.invoke(args=["events", "reindex", "--json"]).stdout)
    deliver(**about(KAMALA))
    bare = assemble({name: value for name, value in environment.items() if name not in SUBJECTS})
    turned_off = json.loads(bare.test_cli_runner().invoke(args=["events", "reindex", "--json"]).stdout)

    assert (kept, removed["removed"], turned_off["removed"]) == (3, 3, 3)
    assert "events from before may be missing" in blind[0]


@both_databases
def test_how_many_people_a_time_names_is_told_by_kind_with_what_nobody_can_see(deliver, sender, work, cli, clock):
    clock.advance(hours=(36 - clock.now().hour) % 24)  # at noon: the day does not end meanwhile
    for customer in (SITI, KAMALA, SITI | {"email": "other@example.my"}):
        deliver(**about(customer))
    deliver(data={})
    sender.deliver(b"not JSON")
    since = clock.now()
    clock.advance(days=2)
    deliver(**about(KAMALA))

    counted = cli("people", "--since", since.strftime("%Y-%m-%d"), "--until", "2099-01-01", "--json")
    first_day = json.loads(
        cli(
            "people", "--since", "2020-01-01", "--until", (since + timedelta(days=1)).strftime("%Y-%m-%d"), "--json"
        ).stdout
    )

    assert json.loads(counted.stdout) == {
        "events": 6, "people": {"nric": 2, "email": 3, "phone": 2}, "at_most": False, "events_that_name_nobody": 2,
    }  # fmt: skip
    assert first_day["events"] == 5
    assert "Bodies that can't be read: 1." in counted.stderr
    assert "reindex" in counted.stderr


@both_databases
def test_an_export_has_everything_in_clear_text_and_says_where_others_are_named(deliver, work, cli, tmp_path):
    deliver(event_id="evt_1", policy_id="POL-1", **about(SITI, amount=12.50))
    deliver(event_id="evt_2", **about([SITI, KAMALA]))
    deliver(event_id="evt_3", **about(KAMALA))
    work()

    printed = json.loads(cli("subject", NRIC, "--export", *WHY).stdout)
    file = tmp_path / "siti.json"
    cli("subject", NRIC, "--export", "--output", str(file), *WHY)

    assert [(it["event_id"], it["also_names_others"]) for it in printed["events"]] == [
        ("evt_1", False),
        ("evt_2", True),
    ]
    assert printed["events"][0]["payload"]["data"]["customer"] == SITI
    assert printed["events"][0]["policy_id"] == "POL-1"
    assert json.loads(file.read_text())["events"] == printed["events"]
    assert file.stat().st_mode & 0o077 == 0


def test_the_value_stands_in_no_log_line_and_no_audit_row(deliver, work, cli, inbox, session, capsys):
    deliver(**about(SITI, nominees=[{"id": "CUST-0042"}]))
    work()
    for value in (NRIC, "CUST-0042"):
        for do in ("--find", "--export", "--hold", "--release"):
            cli("subject", value, do, "--reason", f"{value} wrote from {EMAIL}")
        cli("subject", value, "--erase", "--yes", "--reason", f"{value} wrote from {EMAIL}")

    noted = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "person")).all()
    written = "".join(f"{row.result} {row.detail} {row.actor}" for row in noted) + "".join(capsys.readouterr())

    assert {row.result for row in noted} == {"found", "exported", "held", "released", "erased"}
    assert all(row.detail.startswith(("[nric ", "[number ")) for row in noted)
    assert [secret for secret in (NRIC, "CUST-0042", "0042", EMAIL, "Siti") if secret in written] == []


def test_without_fields_nothing_is_indexed_and_the_command_says_what_is_impossible(assemble, environment, session):
    bare = assemble({name: value for name, value in environment.items() if name not in SUBJECTS})

    answer = bare.test_cli_runner().invoke(args=["events", "subject", NRIC, *WHY])

    assert (answer.exit_code, "SUBJECT_FIELDS is not set" in answer.output) == (1, True)


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"SUBJECT_INDEX_KEYS": ""}, "SUBJECT_INDEX_KEYS: is not set"),
        ({"SUBJECT_INDEX_KEYS": ENVIRONMENT["PAYLOAD_KEYS"]}, "has a key of PAYLOAD_KEYS"),
        ({"SUBJECT_FIELDS": "name=data.customer.name"}, "A kind is one of nric, email, phone, number"),
        ({"SUBJECT_FIELDS": "nric=data..nric"}, "a path is dotted"),
        ({"SUBJECT_FIELDS": "nric"}, "a path is dotted"),
        ({"SUBJECT_INDEX_KEYS": "short"}, "SUBJECT_INDEX_KEYS: cannot be used"),
    ],
)
def test_settings_that_could_find_nobody_stop_the_start(environment, changes, mistake):
    with pytest.raises(ConfigurationError, match=mistake):
        load_settings(environment | changes)


@pytest.fixture
def page(signed_in, csrf_token):
    """A browser of an operator on the page of one person: `page(what, **form)` sends a form of it."""
    operator = signed_in()

    def send(what, **form):
        token = csrf_token(operator.get("/person"))
        return operator.post(f"/person/{what}", data={"csrf_token": token, "reason": "she asked"} | form)

    send.browser = operator
    return send


def sealed_value(answer):
    return html.unescape(re.search(r'name="person" value="([^"]+)"', answer.text)[1])


def test_an_operator_finds_exports_holds_and_erases_on_the_page(page, deliver, work, events):
    deliver(event_id="evt_1", **about(SITI))
    work()

    found = page("find", value="900101 145678")
    person = sealed_value(found)
    exported = page("export", person=person).json
    page("hold", person=person)
    held = page.browser.get("/person")
    refused = page("erase", person=person, sure="yes")
    page("release", person=sealed_value(held))
    asked = page("erase", person=person)
    still_there = events()[0].erased_at
    page("erase", person=person, sure="yes")
    said = page.browser.get("/person").text

    assert "evt_1" in found.text
    assert exported["events"][0]["payload"]["data"]["customer"] == SITI
    assert ("[nric " in held.text, refused.status_code, still_there) == (True, 303, None)
    assert "1 event</strong> will be erased" in asked.text
    assert events()[0].erased_at is not None
    assert "erased for a person" in page.browser.get(f"/events/{events()[0].id}").text
    assert "Erased: 1 event." in said


def test_the_value_stands_on_no_page_and_in_no_cookie(page, deliver, work):
    deliver(event_id="evt_1", **about(SITI))
    work()
    found = page("find", value=NRIC, reason=f"{EMAIL} and {NRIC}")
    person = sealed_value(found)
    pages = [found, page("erase", person=person), page("hold", person=person), page.browser.get("/person")]
    pages += [page.browser.get("/audit"), page.browser.get("/events")]

    for answer in pages[1:]:
        seen = answer.text + str(answer.headers)
        assert [secret for secret in (NRIC, "900101145678", EMAIL) if secret in seen] == [], answer.request.path
    assert NRIC not in found.text.replace(f'value="{EMAIL} and {NRIC}"', "")


def test_the_page_counts_people_and_refuses_what_it_does_not_understand(page, deliver, clock):
    for customer in (SITI, KAMALA):
        deliver(**about(customer))

    counted = page("people", since="2020-01-01T00:00", until="2099-01-01T00:00")
    refusals = [page("find", value="", reason="why"), page("find", value=NRIC, reason=" "), page("hold", person="odd")]

    assert "People by nric</dt><dd>2" in counted.text
    assert [answer.status_code for answer in refusals] == [303, 303, 303]
    assert page("people", since="odd").status_code == 400


def test_a_viewer_sees_nothing_of_it(signed_in, csrf_token):
    viewer = signed_in(role="viewer")
    token = csrf_token(viewer.get("/audit"))

    asked = [viewer.get("/person")]
    asked += [
        viewer.post(f"/person/{what}", data={"csrf_token": token, "value": NRIC, "reason": "curious"})
        for what in ("find", "export", "hold", "release", "erase", "people")
    ]

    assert {answer.status_code for answer in asked} == {403}
    assert "One person" not in viewer.get("/audit").text


def test_the_page_says_what_is_impossible_without_the_index(environment, request):
    for name in SUBJECTS:
        del environment[name]

    page = request.getfixturevalue("page")

    assert "SUBJECT_FIELDS is not set" in page.browser.get("/person").text
    assert page("find", value=NRIC).status_code == 303
    assert page("people").status_code == 303
