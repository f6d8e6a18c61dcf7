"""Sixty hostile strings in every field of an event come out inert on every page, in every export and command."""

import csv
import io
import json

import pytest
import sqlalchemy as sa

from receiver.registry import PermanentFailure, handles
from receiver.store.models import AuditEntry, Observation, StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs

HTML = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "'><b>x</b>",
    "</pre><h1>x", "<!--", "-->", "</script>", "<a href=javascript:alert(1)>x</a>", "&lt;script&gt;", "&#60;b&#62;",
    "<iframe src=//x>", "<style>*{display:none}</style>", "<base href=//evil>", "javascript:alert(1)",
    "<meta http-equiv=refresh>", "{{ 7*7 }}", "{% raw %}", "${7*7}", "<%= 7*7 %>", "#{7*7}",
    "<x hx-get=/sign-out hx-trigger=load>",
]  # fmt: skip
SQL = [
    "' OR 1=1 --", '"; DROP TABLE events; --', "1; DELETE FROM audit_log", "x' UNION SELECT * FROM users --", "%",
    "_%", "\\'", "?", ":id", "%(x)s", "$1", "E'\\x'",
]  # fmt: skip
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", '=HYPERLINK("http://x","y")', "＝1+1"]
FORMATS = [
    "%s%s%s%n", "{0}", "{event.__class__}", "%x" * 20, "$(id)", "`id`", "|| id", "../../etc/passwd", "..\\..\\x",
    "~root",
]  # fmt: skip
SCRIPTS = ["ＳＣＲＩＰＴ", "İ", "ß", "ﷺ", "Z̴̡a̵l̷g̶o̸", "🧨", "مرحبا", "א" * 20, "NaN", "null", "undefined", "-0", "1e309"]
HOSTILE = [*HTML, *SQL, *FORMULAS, *FORMATS, *SCRIPTS]


@pytest.fixture
def delivered(sender, payload):
    """One event per string, with the string in every field that may hold it, and in a key."""
    for number, text in enumerate(HOSTILE):
        fields = dict.fromkeys(("transaction_id", "policy_id", "claim_id", "status"), text)
        sent = payload(text, event_id=f"evt_{number}", data={"status": text, text: text, "list": [text]}, **fields)
        assert sender.deliver(sent).json["status"] == "accepted"


def test_there_are_sixty_of_them():
    assert len(set(HOSTILE)) >= 60


@pytest.mark.usefixtures("delivered")
def test_every_page_shows_them_as_text(signed_in, stored, work, inbox):
    work()
    client = signed_in()
    addresses = ["/", "/events", "/audit", "/events?q=evt_", "/support/time"]
    for number in range(len(HOSTILE)):
        inbox_id = stored(f"evt_{number}").id
        addresses += [f"/events/{inbox_id}", f"/support/events/{inbox_id}"]

    pages = {address: client.get(address) for address in addresses}

    assert {page.status_code for page in pages.values()} == {200}
    for address, page in pages.items():
        assert ">49<" not in page.text, address
        for text in HTML:
            if "<" in text and text not in ("<!--", "</script>"):
                assert text not in page.text, (address, text)


@pytest.mark.usefixtures("delivered")
@pytest.mark.parametrize("kind", ["policy", "transaction", "claim"])
def test_a_subject_with_a_hostile_name_has_a_page_that_shows_it_as_text(signed_in, kind, app):
    client = signed_in()
    with app.test_request_context():
        addresses = [app.url_for("subjects.show", kind=kind, reference=text) for text in HOSTILE]

    for text, address in zip(HOSTILE, addresses, strict=True):
        page = client.get(address)
        assert page.status_code in (200, 404, 308), (text, address)
        assert "<script>alert" not in page.text


@postgresql_and_sqlite_in_long_runs
@pytest.mark.usefixtures("delivered")
def test_a_search_for_each_finds_it(signed_in):
    client = signed_in()

    pages = {text: client.get("/events", query_string={"q": text}) for text in HOSTILE}

    for text, page in pages.items():
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "evt_" in page.text, text


@pytest.mark.usefixtures("delivered")
def test_exports_keep_them_apart_and_defuse_formulas(signed_in):
    client = signed_in()

    rows = list(csv.DictReader(io.StringIO(client.get("/events/export.csv").text, newline="")))
    objects = client.get("/events/export.json").json

    assert len({row["policy_id"] for row in rows}) == len({row["policy_id"] for row in objects}) == len(set(HOSTILE))
    assert not {row["policy_id"] for row in [*rows, *objects]} & {*HTML, *SQL, *FORMULAS}
    assert not any(cell.startswith(("=", "+", "-", "@", "＝")) for row in rows for cell in row.values())


@pytest.mark.usefixtures("delivered")
def test_the_commands_keep_them_apart_and_print_nothing_a_terminal_obeys(app, stored):
    runner = app.test_cli_runner()

    listed = _output(runner, "events", "list", "--limit", "100")
    shown = [
        json.loads(runner.invoke(args=["events", "show", f"evt_{n}", "--json"]).output) for n in range(len(HOSTILE))
    ]

    assert all(character.isprintable() or character == "\n" for character in listed)
    assert len({document["event_type"] for document in shown}) == len(set(HOSTILE))


def _output(runner, *arguments):
    return runner.invoke(args=list(arguments)).output


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\u202eb", "a\u0000b", "line\nbreak", "\u200bhidden"])
def test_what_a_terminal_or_a_reader_would_obey_is_no_identifier(deliver, text):
    answer = deliver(text, event_id="evt_1")

    assert answer.json == {"status": "quarantined", "errors": {"event_type": ["not_printable"]}}


UNFIT = ["\ud800", "\udfff\ud800", "\x00", "a\x1b[31mb", "x\ud83dy"]


@both_databases
@pytest.mark.parametrize("text", UNFIT)
def test_what_is_no_text_is_hidden_wherever_it_stands_in_a_payload(
    app, sender, payload, work, stored, session, signed_in, capsys, text
):
    data = {"status": text, "name": text, text: {text: [text]}, "list": [{text: 1}]}
    sent = payload("payment.success", event_id="evt_1", data=data) | {text: text, "currency": text}
    assert sender.deliver(sent).json["status"] == "accepted"
    client, runner = signed_in(), app.test_cli_runner()
    before_its_attempt = client.get(f"/events/{stored('evt_1').id}")
    work()
    row = stored("evt_1")

    addresses = [f"/events/{row.id}", f"/support/events/{row.id}", "/events", "/audit", "/", "/events/export.csv"]
    pages = {}
    for address in [*addresses, "/events/export.json", "/audit/export.json"]:
        answer = client.get(address)
        pages[address] = (answer.status_code, answer.text)  # read to its end
    shown = runner.invoke(args=["events", "show", "evt_1"])
    as_json = runner.invoke(args=["events", "show", "evt_1", "--json"])
    support = runner.invoke(args=["events", "support", "evt_1"])

    hidden = f"[text {len(text)}]"
    assert (row.state, row.attempts, before_its_attempt.status_code) == ("processed", 1, 200)
    assert {status for status, _ in pages.values()} == {200}
    assert f'<span class="key">{hidden}' in pages[f"/events/{row.id}"][1]
    assert (shown.exit_code, support.exit_code) == (0, 0)
    assert text not in shown.output + support.output
    assert json.loads(as_json.output)["masked_payload"]["currency"] == hidden
    noted = session.scalars(sa.select(Observation.name).where(Observation.kind == "field")).all()
    assert {"[key]", "data.[key].[key]"} <= set(noted)
    for line in capsys.readouterr().out.splitlines():
        json.dumps(json.loads(line), ensure_ascii=False).encode()


@both_databases
@pytest.mark.parametrize("text", UNFIT)
def test_a_body_that_is_no_event_is_kept_and_shown_whatever_its_keys_are(sender, session, signed_in, app, text):
    answer = sender.deliver({text: {text: text}, "event_id": text})

    row = session.scalars(sa.select(StoredEvent)).one()
    assert answer.json["status"] == "quarantined"
    client = signed_in()
    assert client.get(f"/events/{row.id}").status_code == 200
    assert client.get(f"/support/events/{row.id}").status_code == 200
    assert app.test_cli_runner().invoke(args=["events", "remask"]).exit_code == 0


@both_databases
@pytest.mark.parametrize("text", UNFIT)
def test_an_optional_field_that_no_database_keeps_is_left_out_and_noted(sender, payload, perform, session, text):
    row = perform("payment.success", status=text, policy_id=text)

    detail = session.scalar(sa.select(AuditEntry.detail).where(AuditEntry.result == "accepted"))
    assert (row.reported_status, row.policy_id) == (None, None)
    assert "policy_id not_printable, status not_printable" in detail


@both_databases
@pytest.mark.parametrize("unfit", UNFIT)
def test_an_error_of_a_handler_that_holds_such_text_is_kept_escaped(deliver, work, stored, signed_in, app, unfit):
    @handles("test.quoting")
    def quote(event, session):
        raise PermanentFailure(f"strange: {unfit}!")

    deliver("test.quoting", event_id="evt_1")
    work()

    assert stored("evt_1").last_error.startswith(f"PermanentFailure: strange: {json.dumps(unfit)[1:-1]}! (at tests/")
    assert signed_in().get(f"/support/events/{stored('evt_1').id}").status_code == 200


@both_databases
def test_nobody_who_asks_for_such_text_breaks_anything(app, signed_in, csrf_token, deliver, work, stored):
    deliver(event_id="evt_1")
    work()
    client, runner = signed_in(), app.test_cli_runner()

    addresses = [
        "/audit?event_id=%00",
        "/audit/export.csv?event_id=%00",
        "/subjects/policy/%00",
        "/subjects/policy/%ED%A0%80",
        "/events?q=%00",
        "/events?type=%00",
    ]
    statuses = {}
    for address in addresses:
        answer = client.get(address)
        statuses[address] = answer.status_code
        answer.get_data()
    commands = [["show", "\udcff"], ["support", "\udcff"], ["replay", "\udcff"], ["list", "--type", "\udcff"]]
    results = [runner.invoke(args=["events", *command]) for command in commands]
    results += [runner.invoke(args=["users", *command]) for command in (["disable", "\udcff"], ["add", "\udcff"])]
    token = csrf_token(client.get("/events"))
    planned = client.post("/bulk?state=dead", data={"csrf_token": token, "reason": "why \0"})
    replayed = runner.invoke(args=["events", "replay", "evt_1", "--reason", "why \udcff"])

    assert set(statuses.values()) <= {200, 400, 404}, statuses
    assert not [result.exception for result in results if not isinstance(result.exception, SystemExit | None)]
    assert (replayed.exit_code, planned.status_code) == (0, 302)
    assert client.get(f"/events/{stored('evt_1').id}").status_code == 200


@both_databases
def test_an_error_that_no_database_keeps_as_it_is_is_settled_and_shows_no_name(
    sender, payload, work, stored, signed_in
):
    @handles("test.quoting")
    def quote(event, session):
        raise PermanentFailure(f"no policy for {event.payload['data']['customer']}")

    sender.deliver(payload("test.quoting", event_id="evt_1", data={"customer": "Siti \ud800\0 Ahmad"}))

    work()

    event = stored("evt_1")
    assert (event.state, event.attempts) == ("dead", 1)
    assert event.last_error.startswith("PermanentFailure: no policy for [text")
    assert "Siti" not in event.last_error
    assert signed_in().get(f"/events/{event.id}").status_code == 200
