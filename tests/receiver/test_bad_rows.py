"""One bad row, one failing describer, one number out of range: never a whole page, never a traceback."""

from datetime import date
from decimal import Decimal

import pytest
import sqlalchemy as sa

from receiver.actions import bulk
from receiver.queries.filters import Filter
from receiver.registry import describes
from receiver.store.lifecycle import State
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs

BROWSER = {"Accept": "text/html,*/*;q=0.8"}
POLICY = "/subjects/policy/POL-1"
APOLOGY = "could not be shown"
MOMENTS = [
    "0001-01-01",
    "0001-01-01T00:00+14:00",
    "9999-12-31",
    "9999-12-31T23:59-14:00",
    "10000-01-01",
    "yesterday",
    "²",
]
NUMBERS = ["0", "00", "-1", "²", "٣", "1.0", "9223372036854775808", "99999999999999999999", "9" * 400]


class Unprintable:
    def __str__(self):
        raise ValueError("a secret")


@pytest.fixture
def described():
    """Register a describer for policies. It is forgotten after the test, as all that a test registers."""

    def describe(describer, title="Ours"):
        describes("policy", title)(describer)

    return describe


@pytest.fixture
def cli(app):
    return lambda *arguments: app.test_cli_runner().invoke(args=list(arguments))


@pytest.fixture
def change(inbox):
    """Change a stored event, as nothing of ours would."""

    def update(event_id, **values):
        with inbox.engine.begin() as connection:
            connection.execute(sa.update(StoredEvent).where(StoredEvent.event_id == event_id).values(**values))

    return update


# Describers


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (date(2026, 3, 1), "2026-03-01"),
        (Decimal("99.50"), "99.50"),
        (None, "—"),
        ([1, "two", None], "two"),
        ({"inner": [date(2026, 3, 2)]}, "2026-03-02"),
        (b"raw", "raw"),
        ("<b>", "&lt;b&gt;"),
        (Unprintable(), APOLOGY),
    ],
)
def test_any_value_of_a_describer_is_shown_or_said_not_to_be(signed_in, deliver, described, value, shown):
    deliver("policy.issued", policy_id="POL-1", event_id="evt_1")
    described(lambda session, reference: {"value": value, "neighbour": "still here"})
    described(lambda session, reference: value, title="Bare")

    page = signed_in().get(POLICY)

    assert page.status_code == 200
    assert all(text in page.text for text in (shown, "still here", "evt_1"))


@both_databases
def test_a_describer_that_fails_costs_its_own_card(signed_in, deliver, work, described, capsys):
    deliver("policy.issued", policy_id="POL-1", event_id="evt_1")
    work()

    def breaks(session, reference):
        session.execute(sa.text("SELECT nothing FROM nowhere"))

    described(breaks, title="First")
    described(lambda session, reference: 1 / 0, title="Second")
    described(lambda session, reference: session.close() or {"fine": "and well"}, title="Third")

    page = signed_in().get(POLICY)

    assert page.text.count(APOLOGY) == 2
    assert all(text in page.text for text in ("First", "Second", "and well", "evt_1", "issued"))
    assert '"error": "ZeroDivisionError"' in capsys.readouterr().out


def test_a_describer_that_knows_no_row_shows_no_card(signed_in, described):
    described(lambda session, reference: None, title="Nobody's")

    assert "Nobody" not in signed_in().get(POLICY).text


# Rows


@both_databases
def test_a_payload_that_cannot_be_read_costs_its_own_part(signed_in, deliver, change, stored):
    deliver(event_id="evt_1")
    change("evt_1", masked_payload="{not JSON")
    client = signed_in()

    page = client.get(f"/events/{stored('evt_1').id}")
    support = client.get(f"/support/events/{stored('evt_1').id}")

    assert (page.status_code, support.status_code) == (200, 200)
    assert APOLOGY in page.text
    assert "accepted" in page.text
    assert APOLOGY in support.text
    assert "Event ID: evt_1" in support.text


@pytest.mark.parametrize("spoilt", ["no UUID", "", 7, b"\x00", "é" * 32])
def test_a_row_whose_seal_is_spoilt_takes_no_neighbour_with_it(signed_in, deliver, work, stored, inbox, spoilt, cli):
    deliver(event_id="evt_1")
    deliver(event_id="evt_2")
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE events SET seal_id = ? WHERE event_id = 'evt_1'", (spoilt,))
    work()
    rows = [stored(name) for name in ("evt_1", "evt_2")]
    client = signed_in()
    pages = [client.get(f"/events/{rows[0].id}"), client.get("/events"), client.get("/events/export.json")]

    assert [row.state for row in rows] == ["dead", "processed"]
    assert "unsealed" in rows[0].last_error or "tampered" in rows[0].last_error
    assert [page.status_code for page in pages] == [200, 200, 200]
    assert cli("events", "show", "evt_1").exit_code == 0


def test_a_row_of_a_list_that_cannot_be_shown_leaves_its_neighbours(app, signed_in, deliver, stored):
    deliver(event_id="evt_1")
    deliver(event_id="evt_2")
    rows = iter((True, False))

    @app.template_filter("icon")
    def icon(state):
        return 1 / next(rows)

    page = signed_in().get("/events")

    assert page.text.count(APOLOGY) == 1
    assert [f'id="event-{stored(name).id}"' in page.text for name in ("evt_1", "evt_2")] == [False, True]


# Plans


@both_databases
@pytest.mark.parametrize(
    ("states", "count"),
    [({State.DEAD}, 0), ({State.PROCESSED}, 2), ({State.PENDING}, 0), ({State.PENDING, State.PROCESSED}, 2), ((), 3)],
)
def test_a_plan_counts_and_shows_only_what_its_filter_would_replay(inbox, deliver, work, states, count):
    deliver(event_id="evt_1")
    deliver(event_id="evt_2")
    deliver("test.unknown", event_id="evt_3")
    work()
    deliver(event_id="evt_4")

    number = bulk.plan(inbox, Filter(states=frozenset(states)), actor="siti", reason=None)
    plan = bulk.look(inbox, number)

    assert (plan.count, len(plan.sample)) == (count, count)
    assert "pending" not in {row.state for row in plan.sample}


# Numbers and moments


@both_databases
def test_a_number_that_no_row_can_have_is_an_address_at_which_there_is_nothing(signed_in):
    client = signed_in()

    for number in NUMBERS:
        for path in (f"/events/{number}", f"/bulk/{number}", f"/captures/{number}", f"/support/events/{number}"):
            answer = client.get(path, headers=BROWSER)
            assert (answer.status_code, answer.mimetype) == (404, "text/html"), path
    for number in ("1", "9223372036854775807"):
        assert client.get(f"/events/{number}", headers=BROWSER).status_code == 404


@postgresql_and_sqlite_in_long_runs
def test_no_moment_of_an_address_is_an_error_of_ours(signed_in, deliver):
    deliver(event_id="evt_1")
    client = signed_in()
    addresses = [
        f"{path}?{name}={moment.replace('+', '%2B')}"
        for path in ("/events", "/events/export.json", "/audit", "/audit/export.csv", "/support/time", "/events/1")
        for name in ("since", "until")
        for moment in MOMENTS
    ]
    cursors = [f"{moment}~1" for moment in ("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00", *MOMENTS)]
    cursors += [
        "0001-01-01T00:00:00+14:00~1",
        f"2026-01-01T00:00:00+00:00~{'9' * 18}",
        f"2026-01-01~{'9' * 19}",
        "~",
        "x",
    ]
    addresses += [f"{p}before={c.replace('+', '%2B')}" for p in ("/events?", "/audit?", f"{POLICY}?") for c in cursors]
    addresses += [f"/events?after={c.replace('+', '%2B')}" for c in cursors]

    answers = {address: client.get(address, headers=BROWSER, buffered=True).status_code for address in addresses}

    assert {address: status for address, status in answers.items() if status not in (200, 400)} == {}
    assert answers["/events?until=yesterday"] == answers["/audit?until=yesterday"] == 400


@pytest.mark.parametrize(
    "address",
    [
        "/audit?action=nonsense",
        "/audit?since=nonsense",
        "/audit?until=nonsense",
        "/audit?event_id=%00",
        "/audit?before=nonsense",
        "/audit/export.csv?action=nonsense",
        "/audit/export.json?since=nonsense",
        "/support/time?since=nonsense",
        "/support/time?until=nonsense",
        "/?span=nonsense",
        "/subjects/policy/POL-1?before=nonsense",
    ],
)
def test_a_parameter_that_means_nothing_is_named_and_nothing_is_shown_or_taken(signed_in, session, address):
    answer = signed_in().get(address, headers=BROWSER)

    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "means nothing here" in answer.text
    assert session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "export")).all() == []


@both_databases
@pytest.mark.parametrize("reference", ["%00", "x" * 201, "%E2%80%AE"])
def test_a_subject_that_no_row_can_name_is_an_address_at_which_there_is_nothing(signed_in, reference):
    assert signed_in().get(f"/subjects/policy/{reference}", headers=BROWSER).status_code == 404


@both_databases
def test_a_reason_that_no_database_keeps_is_kept_without_what_nobody_sees(signed_in, csrf_token, deliver, work, stored):
    deliver(event_id="evt_1")
    work()
    client = signed_in()
    form = {"csrf_token": csrf_token(client.get("/events")), "sure": "yes", "reason": "asked\0to"}

    answers = [client.post(f"/events/{stored('evt_1').id}/replay", data=form), client.post("/bulk", data=form)]

    assert [answer.status_code for answer in answers] == [302, 302]


@both_databases
@pytest.mark.parametrize(
    "reference", ["#²", "#٣", "#0", "#99999999999999999999", "#9223372036854775808", "\udc80", "x" * 300]
)
@pytest.mark.parametrize("command", ["show", "support", "replay"])
def test_a_command_says_that_there_is_no_such_event(cli, command, reference):
    result = cli("events", command, reference)

    assert (result.exit_code, result.output) == (1, "Error: There is no such event.\n")


@pytest.mark.parametrize("option", ["--max-silence-hours", "--max-due-seconds", "--quarantined-hours"])
def test_a_check_names_a_limit_that_is_no_number(cli, option):
    result = cli("events", "check", option, "nan")

    assert (result.exit_code, f"Invalid value for '{option}'" in result.output) == (2, True)


@pytest.mark.parametrize("start", ["#²", "#99999999999999999999", "#0"])
def test_a_relay_says_that_there_is_nothing_to_start_from(environment, request, start):
    environment["RELAY_SECRET"] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    result = request.getfixturevalue("cli")(
        "senang", "relay", "--to", "http://127.0.0.1:9/webhooks/senang", "--from", start, "--once"
    )

    assert result.exit_code == 1
    assert "no such event to start from" in result.output


@both_databases
def test_support_for_the_first_of_all_times_is_a_text(cli):
    early = cli("events", "support", "--since", "0001-01-01", "--until", "0001-01-02")
    long = cli("events", "support", "--since", "0001-01-01")

    assert [early.exit_code, long.exit_code] == [0, 0]
