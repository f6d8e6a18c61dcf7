"""The read-only JSON API: who gets in with a token, what the answers show, and how they are bounded."""

import json
import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from receiver.queries.told import SCOPES
from receiver.store.models import AuditEntry
from receiver.testing import both_databases
from receiver.web import ACCESS
from receiver.web.api import MOST_A_MINUTE, MOST_ROWS

NRIC = "900101-14-5678"
NAME = "Siti Nurhaliza"
PATHS = ("/api/events", "/api/events/1", "/api/audit", "/api/health", "/api/failures")


@pytest.fixture
def cli(app):
    return lambda *arguments: app.test_cli_runner().invoke(args=list(arguments))


@pytest.fixture
def token(cli):
    """Make a token with these scopes, or with all."""

    def make(*scopes, name="a program", days=()):
        chosen = [word for scope in scopes or SCOPES for word in ("--scope", scope)]
        made = cli("tokens", "create", name, *chosen, *days)
        assert made.exit_code == 0, made.output
        return made.stdout.strip()

    return make


@pytest.fixture
def ask(app):
    """The answer to a request with this token."""

    def get(path, token):
        return app.test_client().get(path, headers={"Authorization": f"Bearer {token}".encode().decode("latin-1")})

    return get


@pytest.fixture
def token_rows(inbox):
    """The audit rows about tokens: result and actor."""

    def find():
        chosen = sa.select(AuditEntry.result, AuditEntry.actor).where(AuditEntry.action == "tokens")
        with inbox.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(chosen.order_by(AuditEntry.id))]

    return find


# Who gets in


@both_databases
def test_a_token_reads_exactly_what_its_scopes_name(app, token, ask, deliver):
    deliver(event_id="evt_1")
    tokens = {scope: token(scope, name=scope) for scope in SCOPES}
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("api.")]
    wanted = {(rule.rule, scope): 200 if ACCESS[rule.endpoint] == scope else 403 for rule in rules for scope in SCOPES}

    found = {call: ask(re.sub("<[^>]*>", "1", call[0]), tokens[call[1]]).status_code for call in wanted}

    assert found == wanted
    assert {re.sub("<[^>]*>", "1", rule.rule) for rule in rules} == set(PATHS)


def test_whatever_is_no_working_token_gets_one_answer_and_no_reason(app, cli, clock, token, ask, signed_in):
    good, revoked, ended = token(), token(name="revoked"), token(name="ended", days=("--days", "1"))
    cli("tokens", "revoke", "revoked")
    clock.advance(days=1, seconds=1)
    operator = signed_in()

    answers = [ask("/api/health", wrong) for wrong in (revoked, ended, good[:-1], good.upper(), "", "é", "x" * 5000)]
    answers += [
        app.test_client().get("/api/health"),
        app.test_client().get("/api/health", headers={"Authorization": f"Basic {good}"}),
        app.test_client().get(f"/api/health?token={good}"),
        operator.get("/api/health"),
    ]

    assert ask("/api/health", good).status_code == 200
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    for answer in answers:
        assert answer.mimetype == "application/problem+json"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "Set-Cookie" not in answer.headers


def test_a_token_opens_no_page_and_changes_nothing(token, app):
    headers = {"Authorization": f"Bearer {token()}"}
    client = app.test_client()

    pages = [
        client.get(path, headers=headers).status_code for path in ("/", "/events", "/audit", "/events/export.json")
    ]
    posts = {client.post(path, headers=headers).status_code for path in PATHS}

    assert (pages, posts) == ([302] * 4, {405})


# What it shows


@both_databases
def test_it_shows_what_commands_and_exports_show_and_nothing_personal(
    token, ask, cli, signed_in, sender, payload, deliver, work, stored
):
    deliver("payment.success", event_id="evt_1", policy_id=NRIC, data={"customer": {"name": NAME, "nric": NRIC}})
    deliver("claim.unknown", event_id=f"evt {NRIC}")
    sender.deliver(b'{"note": "%s"}' % NAME.encode())
    work()
    number, every = stored("evt_1").id, token()

    listed, shown, audited, health, failures = (
        ask(path, every).json for path in ("/api/events", f"/api/events/{number}", *PATHS[2:])
    )

    assert listed["events"] == signed_in().get("/events/export.json").json
    assert listed["events"] == json.loads(cli("events", "list", "--json").stdout)
    assert shown == json.loads(cli("events", "show", "evt_1", "--json").stdout)
    assert shown["masked_payload"]["data"]["customer"]["name"] == f"[text {len(NAME)}]"
    assert [row["result"] for row in shown["audit"]] == ["accepted", "processed"]
    assert failures == json.loads(cli("events", "failures", "--json").stdout)
    told = json.loads(cli("events", "check", "--json").stdout)
    assert health.keys() == told.keys()
    assert (health["codes"], health["counts"]) == (told["codes"], told["counts"])
    assert "evt_1" in [row["event_id"] for row in audited["audit"]]
    for answer in (listed, shown, audited, health, failures):
        assert not [value for value in (NRIC, NAME, "5678") if value in json.dumps(answer)]


@both_databases
def test_its_cursors_lose_no_row_and_repeat_none(token, ask, deliver):
    for number in range(7):
        deliver(event_id=f"evt_{number}")
    every, found = token(), {"events": [], "audit": []}

    for what, rows in found.items():
        path = f"/api/{what}?limit=3{'&type=payment.success' if what == 'events' else '&action=delivery'}"
        answer = ask(path, every).json
        while True:
            rows += answer[what]
            if answer["older"] is None:
                break
            answer = ask(f"{path}&before={answer['older']}", every).json

    names = [f"evt_{number}" for number in range(6, -1, -1)]
    assert [row["event_id"] for row in found["events"]] == names
    assert [row["event_id"] for row in found["audit"]] == names


def test_it_filters_as_the_page_does(token, ask, deliver, work):
    deliver("payment.success", event_id="evt_1", policy_id="POL-1")
    deliver("claim.unknown", event_id="evt_2", policy_id="POL-2")
    work()
    every = token()

    def names(query):
        return [row["event_id"] for row in ask(f"/api/events?{query}", every).json["events"]]

    assert names("q=POL-2") == names("state=unhandled") == names("type=claim.unknown") == ["evt_2"]
    assert names("state=unhandled&state=processed") == ["evt_2", "evt_1"]
    assert names("until=2020-01-01") == []


# What it refuses


def test_a_parameter_that_means_nothing_is_refused_and_not_quoted(token, ask):
    every, wrong = token(), []
    limits = [f"limit={text}" for text in ("0", str(MOST_ROWS + 1), "many", "-1", "9" * 400)]

    for query in (*limits, "state=lost", "since=yesterday", "before=elsewhere", "stat=dead", NRIC, f"{NRIC}=1"):
        answer = ask(f"/api/events?{query}", every)
        found = (answer.status_code, answer.mimetype, answer.json.get("status"))
        quoted = [word for word in ("many", "lost", "yesterday", "elsewhere", "5678") if word in answer.text]
        if found != (400, "application/problem+json", 400) or quoted:
            wrong.append((query, answer.text))

    assert wrong == []
    assert len(ask(f"/api/events?limit={MOST_ROWS}&state=", every).json) == 4


def test_what_is_not_there_is_a_problem_too_even_for_a_browser(token, app):
    headers = {"Authorization": f"Bearer {token()}", "Accept": "text/html"}

    answers = [app.test_client().get(path, headers=headers) for path in ("/api/events/99", "/api/nothing")]

    assert [(answer.status_code, answer.mimetype) for answer in answers] == [(404, "application/problem+json")] * 2


@pytest.mark.usefixtures("early_in_a_minute")
def test_a_token_that_asks_too_often_waits_and_others_do_not(token, ask, clock):
    one, other = token("audit:read"), token("audit:read", name="other")

    statuses = [ask("/api/health", one).status_code for _ in range(MOST_A_MINUTE)]
    refused = ask("/api/audit", one)

    assert set(statuses) == {403}
    assert (refused.status_code, refused.mimetype) == (429, "application/problem+json")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert ask("/api/audit", other).status_code == 200
    clock.advance(seconds=int(refused.headers["Retry-After"]))
    assert ask("/api/audit", one).status_code == 200


# Tokens


@both_databases
def test_what_happens_to_a_token_is_audited_and_its_use_once_an_hour(token, ask, cli, clock, token_rows):
    clock.advance(seconds=3600 - clock.now().minute * 60 - clock.now().second)
    every = token("health:read", name="monitor")
    for _ in range(3):
        for _ in range(4):
            ask("/api/health", every)
        clock.advance(minutes=25)
    cli("tokens", "revoke", "monitor")

    of_person, of_token = "command line", "token monitor"
    assert token_rows() == [
        ("created", of_person), ("used", of_token), ("revoked", of_person),
    ]  # fmt: skip


@both_databases
def test_the_list_says_when_a_token_was_used_last_and_never_the_token(token, ask, cli, clock):
    secret = token("events:read", "audit:read", name="books", days=("--days", "90"))
    before = json.loads(cli("tokens", "list", "--json").stdout)
    clock.advance(minutes=5)
    ask("/api/events", secret)

    printed, [row] = cli("tokens", "list").stdout, json.loads(cli("tokens", "list", "--json").stdout)

    assert before[0]["used_at"] is None
    assert row["used_at"] > row["created_at"]
    assert (row["name"], row["scopes"], row["created_by"]) == ("books", "events:read audit:read", "command line")
    assert printed.startswith("books  events:read audit:read  ends ")
    assert secret not in printed


def test_the_page_shows_a_new_token_once_and_revokes_it(signed_in, csrf_token, ask, database, capsys):
    client = signed_in()
    form = {"csrf_token": csrf_token(client.get("/tokens")), "name": "books", "days": "30", "scope": ["health:read"]}
    made = client.post("/tokens", data=form)
    [secret] = re.findall(r"senang_[\w-]{43}", made.text)
    again = client.post("/tokens", data=form)

    worked = ask("/api/health", secret).status_code
    listed = client.get("/tokens").text
    revoked = client.post("/tokens/revoke", data={"csrf_token": form["csrf_token"], "name": "books"})

    assert (worked, revoked.status_code, ask("/api/health", secret).status_code) == (200, 302, 401)
    assert "books" in listed
    assert (again.status_code, "There is a token of this name" in again.text) == (400, True)
    kept = b"".join(file.read_bytes() for file in database_files(database))
    assert secret.encode() not in kept
    assert secret not in listed + again.text + capsys.readouterr().out


def test_a_token_needs_a_name_and_something_to_read(signed_in, csrf_token, cli):
    client = signed_in()
    form = {"csrf_token": csrf_token(client.get("/tokens")), "days": ""}

    answers = [
        client.post("/tokens", data=form | more)
        for more in ({"name": "books"}, {"name": " ", "scope": "audit:read"}, {"name": "x" * 61, "scope": "audit:read"})
    ]

    assert [answer.status_code for answer in answers] == [400] * 3
    assert client.post("/tokens", data=form | {"name": "x", "scope": "audit:read", "days": "0"}).status_code == 400
    assert cli("tokens", "create", "x", "--scope", "events:write").exit_code == 2
    assert (cli("tokens", "revoke", "nobody's").exit_code, cli("tokens", "list").output) == (1, "")


def database_files(url):
    path = Path(url.removeprefix("sqlite:///"))
    return [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
