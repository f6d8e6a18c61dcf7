"""Sixty hostile strings in every field of an event come out inert on every page, in every export and command."""

import csv
import io
import json

import pytest

from app.registry import handles
from app.web.export import defused
from tests.databases import both_databases

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


@both_databases
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


@both_databases
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

    assert {row["policy_id"] for row in rows} == {defused(text) for text in HOSTILE}
    assert {found["policy_id"] for found in objects} == set(HOSTILE)
    assert not any(cell.startswith(("=", "+", "-", "@", "＝")) for row in rows for cell in row.values())


@pytest.mark.usefixtures("delivered")
def test_the_commands_print_them_as_they_are_and_nothing_a_terminal_obeys(app, stored):
    runner = app.test_cli_runner()

    listed = _output(runner, "events", "list", "--limit", "100")
    shown = [
        json.loads(runner.invoke(args=["events", "show", f"evt_{n}", "--json"]).output) for n in range(len(HOSTILE))
    ]

    assert all(character.isprintable() or character == "\n" for character in listed)
    assert [document["event_type"] for document in shown] == HOSTILE


def _output(runner, *arguments):
    return runner.invoke(args=list(arguments)).output


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\u202eb", "a\u0000b", "line\nbreak", "\u200bhidden"])
def test_what_a_terminal_or_a_reader_would_obey_is_no_identifier(deliver, text):
    answer = deliver(text, event_id="evt_1")

    assert answer.json == {"status": "quarantined", "errors": {"event_type": ["not_printable"]}}


@both_databases
def test_an_error_that_no_database_keeps_as_it_is_is_settled_and_shows_no_name(
    sender, payload, work, stored, signed_in
):
    @handles("test.quoting")
    def quote(event, session):
        raise RuntimeError(f"no policy for {event.payload['data']['customer']}")

    sender.deliver(payload("test.quoting", event_id="evt_1", data={"customer": "Siti \ud800\0 Ahmad"}))

    work()

    event = stored("evt_1")
    assert (event.state, event.attempts) == ("pending", 1)
    assert event.last_error.startswith("RuntimeError: no policy for [text")
    assert "Siti" not in event.last_error
    assert signed_in().get(f"/events/{event.id}").status_code == 200
