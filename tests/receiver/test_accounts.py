"""Accounts: who gets in and who does not, how long, and what each role may do with every route.

A try to sign in comes from an address of its own, so that tests say who shares one. A new kind of access is a line in
`ALLOWED`; the routes themselves come from the application.
"""

import json
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from receiver import create_app
from receiver.actions import tries
from receiver.config import load_settings
from receiver.green import Crowded
from receiver.queries.told import SCOPES
from receiver.store.models import AuditEntry, SignInFailures, User
from receiver.testing import PASSWORD, both_databases
from receiver.testing.waiting import PATIENCE_SECONDS
from receiver.web import ACCESS
from receiver.web.auth import comparisons
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs

ROLES = ("anonymous", "viewer", "operator")
ALLOWED = {
    "public": {"anonymous", "viewer", "operator"},
    "viewer": {"viewer", "operator"},
    "operator": {"operator"},
    "signature": set(),
    "metrics token": set(),
    **{key: set() for key in SCOPES},  # of the API, which knows no session
}


@pytest.fixture
def cli(app):
    def run(*arguments, **options):
        return app.test_cli_runner().invoke(args=list(arguments), **options)

    return run


@pytest.fixture
def siti(add_user):
    """An operator; her name."""
    return add_user("siti")


@pytest.fixture
def knock(app, csrf_token):
    """A browser that tried to sign in; `response` is the answer."""

    def try_to_sign_in(name="siti", password=PASSWORD, address="192.0.2.1", path="/sign-in", client=None):
        client = client or app.test_client()
        form = {"name": name, "password": password, "csrf_token": csrf_token(client.get("/sign-in"))}
        client.response = client.post(path, data=form, environ_overrides={"REMOTE_ADDR": address})
        return client

    return try_to_sign_in


@pytest.fixture
def fail(knock):
    """So many tries with wrong passwords, from one address."""

    def try_in_vain(times, name="siti", address="192.0.2.1"):
        return [knock(name, "wrong", address).response.status_code for _ in range(times)]

    return try_in_vain


@pytest.fixture
def trail(inbox):
    """The audit rows of an action: result, actor, detail and occurrences."""

    def read(action):
        columns = AuditEntry.result, AuditEntry.actor, AuditEntry.detail, AuditEntry.occurrences
        with inbox.engine.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(AuditEntry.action == action).order_by(AuditEntry.id))
            return [tuple(row) for row in rows]

    return read


def is_in(client):
    return client.get("/events").status_code == 200


def form_token(client, csrf_token):
    return {"csrf_token": csrf_token(client.get("/sign-in"))}


# Who gets in


@both_databases
def test_the_right_password_signs_in_and_a_wrong_one_does_not(siti, knock, trail):
    inside, outside = knock(), knock(password="wrong")

    assert (inside.response.status_code, is_in(inside)) == (302, True)
    assert (outside.response.status_code, is_in(outside)) == (401, False)
    assert trail("sign_in") == [("signed in", "siti", "by password", 1), ("failed", None, "user 1", 1)]


@postgresql_and_sqlite_in_long_runs
def test_every_refusal_has_the_same_answer(siti, add_user, cli, knock, fail):
    add_user("gone")
    cli("users", "disable", "gone")
    fail(10, address="192.0.2.9")

    refused = [
        knock(password="wrong").response,
        knock(name="nobody").response,
        knock(name="gone").response,
        knock(name="siti\0").response,
        knock(name="s" * 5000).response,
        knock(address="192.0.2.9").response,
    ]

    pages = {re.sub(r'value="[^"]+"', "", response.text) for response in refused}
    assert ({response.status_code for response in refused}, len(pages)) == ({401}, 1)


@pytest.mark.soak
def test_every_refusal_takes_the_same_time_and_one_by_a_limit_takes_next_to_none(add_user, cli, knock, fail):
    cli("users", "add", "siti", "--password", PASSWORD)
    cli("users", "add", "gone", "--password", PASSWORD)
    cli("users", "disable", "gone")
    fail(10, name=add_user("quick to refuse"), address="192.0.2.9")

    def work_for(**arguments):
        before = time.thread_time()
        assert knock(**arguments).response.status_code == 401
        return time.thread_time() - before

    wrong = min(work_for(password="wrong") for _ in range(3))
    others = [{"name": "nobody"}, {"name": "gone"}, {"name": "\0"}]
    assert all(wrong / 4 < min(work_for(**other) for _ in range(3)) < wrong * 4 for other in others)
    assert min(work_for(name="quick to refuse", address="192.0.2.9") for _ in range(3)) < wrong / 4


# How many tries


@both_databases
def test_an_address_has_ten_tries_and_others_are_not_kept_out(siti, knock, fail, clock):
    fail(15, address="192.0.2.1")

    same, other = knock(address="192.0.2.1"), knock(address="192.0.2.2")
    clock.advance(minutes=16)

    assert (is_in(same), is_in(other)) == (False, True)
    assert is_in(knock(address="192.0.2.1"))


def test_nine_failures_are_forgiven(siti, knock, fail):
    fail(9)

    assert is_in(knock())


@both_databases
def test_one_address_alone_cannot_lock_an_operator_out(siti, knock, fail):
    fail(51, address="192.0.2.1")

    assert is_in(knock(address="192.0.2.2"))


@postgresql_and_sqlite_in_long_runs
def test_people_who_share_an_address_are_not_locked_out_with_the_name_that_a_stranger_tries(siti, cli, knock, fail):
    cli("users", "add", "ahmad", "--password", PASSWORD)
    fail(20, name="siti", address="192.0.2.1")

    assert not is_in(knock("siti", address="192.0.2.1"))
    assert is_in(knock("ahmad", address="192.0.2.1"))


@postgresql_and_sqlite_in_long_runs
def test_an_address_that_tries_many_names_is_closed_for_two_minutes(siti, add_user, knock, clock):
    for number in range(tries.TRIES_OF_ADDRESS):
        knock(add_user(f"other {number}"), "wrong", "192.0.2.1")

    closed = knock(address="192.0.2.1")
    clock.advance(seconds=121)

    assert (is_in(closed), is_in(knock(address="192.0.2.1"))) == (False, True)


def test_where_too_many_passwords_are_compared_the_next_is_turned_away_and_deliveries_are_not(
    siti, knock, inbox, deliver
):
    done, crowded = threading.Event(), threading.Event()

    def compare(caller):
        try:
            comparisons.result(done.wait, caller=caller)
        except Crowded:
            crowded.set()

    strangers = [threading.Thread(target=compare, args=(f"stranger {number}",)) for number in range(17)]
    for stranger in strangers:
        stranger.start()
    assert crowded.wait(PATIENCE_SECONDS)  # so all places are taken
    turned_away, delivered = knock().response, deliver().status
    done.set()
    for stranger in strangers:
        stranger.join()

    assert (turned_away.status_code, turned_away.headers["Retry-After"], delivered) == (503, "5", 200)
    assert is_in(knock())


@postgresql_and_sqlite_in_long_runs
def test_a_name_that_many_addresses_try_is_locked_until_it_is_enabled(siti, cli, knock, fail):
    for host in range(5):
        fail(10, address=f"198.51.100.{host}")

    locked = knock(address="192.0.2.1")
    cli("users", "enable", "siti")

    assert (is_in(locked), is_in(knock(address="192.0.2.1"))) == (False, True)
    assert is_in(knock(address="198.51.100.0"))


@pytest.mark.parametrize(
    ("tried", "other", "shared"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
        ("not an address", "another one", False),
    ],
)
def test_addresses_of_one_network_share_their_tries(siti, knock, fail, tried, other, shared):
    fail(10, address=tried)

    assert is_in(knock(address=other)) is not shared


@both_databases
def test_the_limit_holds_across_processes(siti, environment, database, fail, csrf_token):
    fail(10)
    another_process = create_app(load_settings(environment | {"DATABASE_URL": database}))
    client = another_process.test_client()

    form = {"name": "siti", "password": PASSWORD, **form_token(client, csrf_token)}
    refused = client.post("/sign-in", data=form, environ_overrides={"REMOTE_ADDR": "192.0.2.1"}).status_code
    admitted = client.post("/sign-in", data=form, environ_overrides={"REMOTE_ADDR": "192.0.2.2"}).status_code
    another_process.extensions["inbox"].engine.dispose()

    assert (refused, admitted) == (401, 302)


@both_databases
def test_tries_at_the_same_time_do_not_slip_past_the_limit(siti, knock, trail, session):
    passwords = ["wrong"] * 14 + [PASSWORD] * 14
    random.shuffle(passwords)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda password: knock(password=password), passwords))

    results = [result for result, *_ in trail("sign_in")]
    tenth = [index for index, result in enumerate(results) if result == "failed"][9]
    assert set(results[: tenth + 1]) <= {"signed in", "failed"}
    assert set(results[tenth + 1 :]) == {"limited"}
    refused = len(results) - results.count("signed in")
    assert max(session.scalars(sa.select(SignInFailures.failures))) == refused


@both_databases
def test_nothing_that_a_stranger_typed_is_stored(siti, knock, inbox):
    knock("my-password-by-mistake", "another-secret", address="203.0.113.77")

    tables = AuditEntry.__table__, SignInFailures.__table__, User.__table__
    with inbox.engine.connect() as connection:
        stored = str([connection.execute(sa.select(table)).all() for table in tables])
    assert not any(typed in stored for typed in ("my-password", "another-secret", "203.0.113.77"))


@both_databases
def test_counts_are_deleted_when_their_window_is_over(siti, fail, clock, session):
    for stranger in range(3):
        fail(1, name=f"stranger {stranger}", address=f"198.51.100.{stranger}")
    before = len(session.scalars(sa.select(SignInFailures)).all())
    session.rollback()

    clock.advance(minutes=16)
    fail(1)

    assert (before, len(session.scalars(sa.select(SignInFailures)).all())) == (10, 4)


@pytest.mark.usefixtures("early_in_a_minute")
@postgresql_and_sqlite_in_long_runs
def test_a_flood_of_refusals_becomes_one_audit_row_with_a_count(siti, knock, fail, clock, trail):
    fail(34)
    clock.advance(minutes=16)

    knock()

    rows = trail("sign_in")
    assert [row[0] for row in rows] == ["failed"] * 10 + ["limited"] * 10 + ["limited", "signed in"]
    assert rows[-2] == ("limited", None, "summed", 14)


@pytest.mark.usefixtures("early_in_a_minute")
@postgresql_and_sqlite_in_long_runs
def test_a_flood_from_many_addresses_becomes_one_audit_row_with_a_count(siti, add_user, knock, fail, clock, trail):
    for host in range(34):
        fail(1, name=add_user(f"other {host}"), address=f"198.51.100.{host}")
    clock.advance(minutes=16)

    knock()

    rows = trail("sign_in")
    assert [row[0] for row in rows] == ["failed"] * 31 + ["signed in"]
    assert rows[-2] == ("failed", None, "summed", 4)


def test_a_lockout_lasts_its_whole_time_from_the_last_try_that_was_counted(siti, knock, fail, clock):
    fail(9)
    clock.advance(minutes=14)
    fail(1)
    clock.advance(minutes=14)

    closed = knock()
    clock.advance(minutes=2)

    assert (is_in(closed), is_in(knock())) == (False, True)


def test_the_strict_values_close_a_name_to_everybody_after_ten_tries_for_half_an_hour(environment, request):
    environment |= {"SIGN_IN_ATTEMPTS": "10", "SIGN_IN_ATTEMPTS_ANYWHERE": "10", "SIGN_IN_LOCKOUT_MINUTES": "30"}
    fail, knock, clock = map(request.getfixturevalue, ("fail", "knock", "clock"))
    request.getfixturevalue("siti")
    fail(5, address="192.0.2.1")
    fail(5, address="192.0.2.2")

    closed = knock(address="192.0.2.3")
    clock.advance(minutes=29)
    still = knock(address="192.0.2.3")
    clock.advance(minutes=2)

    assert [is_in(client) for client in (closed, still, knock(address="192.0.2.3"))] == [False, False, True]


@both_databases
def test_a_name_that_is_closed_is_in_the_audit_log_once_for_each_place(siti, fail, trail):
    for host in range(6):
        fail(11, address=f"198.51.100.{host}")
    fail(11, name="nobody", address="198.51.100.9")

    assert trail("lockout") == [("closed at one address", None, "user 1", 1)] * 5 + [("closed", None, "user 1", 1)]


# How long a session holds


@both_databases
def test_a_session_ends_twelve_hours_after_its_sign_in_however_busy_it_was(siti, knock, clock):
    client = knock()

    seen = []
    for _ in range(25):
        seen.append(is_in(client))
        clock.advance(minutes=30)

    assert seen == [True] * 24 + [False]


def test_a_session_that_nobody_uses_ends_and_a_part_that_refreshes_itself_is_no_use(siti, knock, clock):
    client, seen = knock(), []
    for _ in range(5):
        clock.advance(minutes=20)
        seen.append(client.get("/", headers={"HX-Request": "true"}).status_code)

    assert seen == [200, 200, 401, 401, 401]
    assert not is_in(client)


def test_each_use_of_a_session_prolongs_it(siti, knock, clock):
    client, seen = knock(), []
    for minutes in (40, 40, 40, 61):
        clock.advance(minutes=minutes)
        seen.append(is_in(client))

    assert seen == [True, True, True, False]


@pytest.mark.parametrize(("idle", "hours", "holds"), [("15", "12", False), ("0", "12", True), ("0", "1", False)])
def test_settings_say_how_long_a_session_holds(environment, request, idle, hours, holds):
    environment |= {"SESSION_IDLE_MINUTES": idle, "SESSION_HOURS": hours}
    knock, clock = map(request.getfixturevalue, ("knock", "clock"))
    request.getfixturevalue("siti")
    client = knock()

    clock.advance(minutes=61)

    assert is_in(client) is holds


@both_databases
def test_signing_out_ends_this_session_and_everywhere_ends_all(siti, knock, csrf_token, trail):
    first, second, third = knock(), knock(), knock()

    first.post("/sign-out", data=form_token(first, csrf_token))
    after_one = [is_in(client) for client in (first, second, third)]
    second.post("/sign-out", data=form_token(second, csrf_token) | {"everywhere": "yes"})
    after_all = [is_in(client) for client in (first, second, third)]

    assert (after_one, after_all) == ([False, True, True], [False, False, False])
    assert is_in(knock())
    assert [row[:2] for row in trail("sign_out")] == [("signed out", "siti"), ("signed out everywhere", "siti")]


@both_databases
def test_a_copy_of_the_cookie_is_worth_nothing_once_its_user_has_signed_out(app, siti, knock, csrf_token, clock):
    client = knock()
    cookie = client.get_cookie("session").value
    thief = app.test_client()
    thief.set_cookie("session", cookie)
    before = is_in(thief)

    client.post("/sign-out", data=form_token(client, csrf_token))
    after = []
    for hours in (0, 11, 2):
        clock.advance(hours=hours)
        knock(client=client).post("/sign-out", data=form_token(client, csrf_token))  # what has ended is tidied up
        thief.set_cookie("session", cookie)  # an answer took it away
        after.append(is_in(thief))

    assert (before, after) == (True, [False] * 3)


def test_a_signed_in_user_finds_the_button_that_signs_out_everywhere(siti, knock):
    page = knock().get("/sign-in").text

    assert re.search(r'<button name="everywhere"[^>]*>Sign out everywhere</button>', page)


@both_databases
@pytest.mark.parametrize(
    "command",
    [
        ("passwd", "siti", "--generate"),
        ("disable", "siti"),
        ("add", "siti", "--role", "viewer", "--password", PASSWORD, "--replace"),
    ],
)
def test_a_new_password_a_disabled_user_and_another_role_end_every_session(siti, cli, knock, command):
    client = knock()

    assert cli("users", *command).exit_code == 0
    ended = not is_in(client)
    cli("users", "enable", "siti")

    assert (ended, is_in(client)) == (True, False)


def test_a_session_from_before_the_sign_in_does_not_live_on(app, siti, knock, csrf_token):
    client = app.test_client()
    planted = form_token(client, csrf_token)
    stolen = client.get_cookie("session").value
    with client.session_transaction() as before:
        before["planted"] = "by a stranger"

    knock(client=client)

    with client.session_transaction() as after:
        assert "planted" not in after
    thief = app.test_client()
    thief.set_cookie("session", stolen)
    assert not is_in(thief)
    assert client.post("/sign-out", data=planted).status_code == 400


def test_a_session_of_the_previous_release_has_to_sign_in_again(app, siti):
    client = app.test_client()
    with client.session_transaction() as kept:
        kept["_user_id"] = "1"

    assert client.get("/events").status_code == 302


def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_http(environment, request):
    environment["REQUIRE_HTTPS"] = "1"
    client = request.getfixturevalue("app").test_client()

    cookie = client.get("/sign-in", base_url="https://localhost").headers["Set-Cookie"]

    assert all(flag in cookie for flag in ("Secure", "HttpOnly", "SameSite=Lax"))
    assert "Expires" not in cookie


# Where a sign-in leads


def test_a_stranger_gets_to_the_page_that_they_asked_for(app, siti, knock):
    sent = app.test_client().get("/events?state=dead").headers["Location"]

    arrived = knock(path=sent).response.headers["Location"]

    assert arrived == "/events?state=dead"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/events\r\nSet-Cookie: a=b",
        "/\0/evil.example",
        "/\x7f/evil.example",
        " //evil.example",
        "/\u2028/evil.example",
        "evil.example",
        "@evil.example",
        "",
    ],
)
def test_a_sign_in_never_leads_to_another_host(siti, knock, app, target):
    with app.test_request_context():
        path = app.url_for("auth.sign_in", next=target)

    response = knock(path=path).response

    assert (response.status_code, response.headers["Location"]) == (302, "/events")


# Who may do what


@pytest.fixture
def as_role(app, add_user, knock):
    """A browser of an anonymous stranger, or of somebody who signed in with this role."""
    for role in ("viewer", "operator"):
        add_user(role, role)
    return lambda role: app.test_client() if role == "anonymous" else knock(role)


def calls(app, endpoint):
    """Method and path of every way to call the endpoint."""
    for rule in app.url_map.iter_rules(endpoint):
        path = re.sub("<[^>]*>", "1", rule.rule.replace("<path:filename>", "page.css"))
        yield from ((method, path) for method in sorted(rule.methods - {"HEAD", "OPTIONS"}))


def is_refused(response):
    to_sign_in = response.status_code == 302 and response.headers["Location"].startswith("/sign-in")
    return to_sign_in or response.status_code in (401, 403)


def test_no_route_is_without_a_declared_access(app):
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == set(ACCESS)
    assert set(ACCESS.values()) <= set(ALLOWED)


def test_each_role_gets_exactly_what_a_route_declares(environment, request, csrf_token):
    environment["METRICS_TOKEN"] = "a-token"
    app, as_role = request.getfixturevalue("app"), request.getfixturevalue("as_role")
    every = [(endpoint, *call) for endpoint in sorted(ACCESS) for call in calls(app, endpoint)]
    admitted = {call: set() for call in every}

    for role in ROLES:
        for endpoint, method, path in every:
            client = as_role(role)
            form = {"name": "viewer", "password": PASSWORD, **form_token(client, csrf_token)}
            response = client.open(path, method=method, data=form if method == "POST" else None, buffered=True)
            assert response.status_code < 500, (endpoint, method, role)
            if not is_refused(response):
                admitted[endpoint, method, path].add(role)

    assert admitted == {call: ALLOWED[ACCESS[call[0]]] for call in every}


def test_a_post_without_a_csrf_token_is_refused_whoever_sends_it(app, as_role):
    endpoints = set(ACCESS) - {"webhooks.receive"}
    paths = {path for endpoint in endpoints for method, path in calls(app, endpoint) if method != "GET"}

    answers = {(path, role): as_role(role).post(path).status_code for role in ROLES for path in paths}

    assert answers == dict.fromkeys(answers, 400)
    assert len(paths) > 5


# The commands


@both_databases
def test_adding_an_existing_user_is_an_error_unless_it_is_to_be_replaced(siti, cli, knock):
    refused = cli("users", "add", "siti", "--password", "another password")
    still_in = is_in(knock())
    replaced = cli("users", "add", "siti", "--password", "another password", "--replace")

    assert (refused.exit_code, still_in, replaced.exit_code) == (1, True, 0)
    assert "siti exists" in refused.output
    assert is_in(knock(password="another password"))


@both_databases
def test_users_are_listed_for_people_and_for_programs(siti, cli, knock):
    knock()
    cli("users", "add", "ahmad", "--role", "viewer", "--generate")
    cli("users", "disable", "siti")

    table, document = cli("users", "list").output, json.loads(cli("users", "list", "--json").output)

    moment = r"\d{4}-\d\d-\d\d \d\d:\d\dZ"
    assert re.search(rf"^ahmad  viewer    active    added {moment}  never signed in\n", table)
    assert re.search(rf"\nsiti   operator  disabled  added {moment}  last sign-in {moment}\n$", table)
    assert [bool(row["last_sign_in_at"]) for row in document] == [False, True]
    assert [(row["name"], row["role"], row["active"]) for row in document] == [
        ("ahmad", "viewer", True),
        ("siti", "operator", False),
    ]


def test_nobody_yet_is_an_empty_list(cli):
    assert (cli("users", "list").output, cli("users", "list", "--json").output) == ("", "[]\n")


@both_databases
def test_a_new_password_is_asked_for_or_made_up(siti, cli, knock):
    asked = cli("users", "passwd", "siti", input="a typed password\na typed password\n")
    typed = knock(password="a typed password")
    made_up = cli("users", "passwd", "siti", "--generate").output.split()[-1]

    assert (asked.exit_code, "a typed password" in asked.output) == (0, False)
    assert typed.response.status_code == 302
    assert is_in(knock(password=made_up))
    assert not is_in(typed)


def test_a_password_needs_twelve_characters(siti, cli):
    added = cli("users", "add", "ahmad", "--password", "eleven char")
    changed = cli("users", "passwd", "siti", input="eleven char\neleven char\n")

    assert (added.exit_code, changed.exit_code) == (1, 1)
    assert "at least 12 characters" in added.output
    assert "at least 12 characters" in changed.output


def test_a_password_that_is_no_text_is_refused(siti, cli):
    added = cli("users", "add", "ahmad", "--password", "half a character \ud800")

    assert (added.exit_code, "has to be text" in added.output) == (1, True)


@pytest.mark.parametrize("name", ["", " siti", "si\nti", "\x1b[31m", "s" * 101])
def test_a_name_that_cannot_be_shown_is_refused(cli, name):
    assert cli("users", "add", name, "--generate").exit_code == 1


@both_databases
@pytest.mark.parametrize("command", ["passwd", "disable", "enable"])
def test_an_unknown_user_is_a_clear_error(cli, command):
    result = cli("users", command, "nobody", *["--generate"][: command == "passwd"])

    assert (result.exit_code, result.output) == (1, "Error: There is no such user.\n")


@both_databases
def test_what_the_commands_do_is_in_the_audit_log_without_passwords(cli, trail):
    cli("users", "add", "siti", "--password", PASSWORD)
    cli("users", "add", "siti", "--role", "viewer", "--password", "a secret password", "--replace")
    cli("users", "passwd", "siti", input="a secret password\na secret password\n")
    cli("users", "disable", "siti")
    cli("users", "enable", "siti")

    rows = trail("users")
    results = ["added", "replaced: viewer", "password changed", "disabled", "enabled"]
    assert [row[:2] for row in rows] == [(result, "command line") for result in results]
    assert {row[2] for row in rows} == {"user 1: siti, operator", "user 1: siti"}
    assert "secret" not in str(rows)
