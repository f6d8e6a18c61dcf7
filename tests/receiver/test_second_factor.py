"""The second factor: how a user sets it up, what a sign-in asks for, and what a stranger with the password can do."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from secrets import token_hex

import pyotp
import pytest
import sqlalchemy as sa

from receiver.store.models import AuditEntry, RecoveryCode
from receiver.testing import PASSWORD, both_databases
from tests.receiver.processes import ROOT

WRONG = "The code is wrong"


class Telephone:
    """Where somebody keeps the secret and the recovery codes."""

    def __init__(self, clock, secret, recovery_codes):
        self.clock, self.app, self.recovery_codes = clock, pyotp.TOTP(secret), recovery_codes

    def code(self):
        """A code that was not used before."""
        self.clock.advance(seconds=30)
        return self.app.at(self.clock.now())


@pytest.fixture
def send(csrf_token):
    """Send a form, with the token of the client's session."""

    def post(client, path, address="192.0.2.1", **form):
        form["csrf_token"] = csrf_token(client.get("/sign-in" if path.startswith("/sign-in") else "/account"))
        return client.post(path, data=form, environ_overrides={"REMOTE_ADDR": address})

    return post


@pytest.fixture
def set_up(signed_in, send, clock):
    """Set up a second factor for the operator siti; her telephone."""

    def enrol(client=None):
        client = client or signed_in()
        assert send(client, "/account/second-factor", password=PASSWORD).status_code == 303
        secret = re.search(r"<code>([A-Z2-7]{32})</code>", client.get("/account").text)[1]
        page = send(client, "/account/second-factor/confirm", code=pyotp.TOTP(secret).at(clock.now()))
        codes = re.findall(r"<code>([a-z2-7-]{19})</code>", page.text)
        assert len(codes) == 10, page.text
        return Telephone(clock, secret, codes)

    return enrol


@pytest.fixture
def half_in(app, send):
    """A browser after the right password, whom the receiver asks for a code."""

    def knock(path="/sign-in", **options):
        client = app.test_client()
        client.response = send(client, path, name="siti", password=PASSWORD, **options)
        assert client.response.headers["Location"].startswith("/sign-in/code")
        return client

    return knock


@pytest.fixture
def trail(session):
    def read(*actions):
        chosen = sa.select(AuditEntry.action, AuditEntry.result, AuditEntry.detail)
        return [tuple(row) for row in session.execute(chosen.where(AuditEntry.action.in_(actions)).order_by("id"))]

    return read


def is_in(client):
    return client.get("/events").status_code == 200


def test_a_sign_in_asks_for_a_code_once_the_second_factor_is_set_up(set_up, half_in, send, trail):
    telephone = set_up()
    client = half_in("/sign-in?next=/audit")
    before = is_in(client)

    asked = client.response.headers["Location"]
    answer = send(client, asked, code=telephone.code())

    assert (before, is_in(client)) == (False, True)
    assert answer.headers["Location"] == "/audit"
    assert trail("second_factor", "sign_in") == [
        ("sign_in", "signed in", "by password"),
        ("second_factor", "set up", None),
        ("sign_in", "a code has to follow", None),
        ("sign_in", "signed in", "by password and code"),
    ]


def test_a_code_works_once_and_the_one_that_set_it_up_not_again(set_up, half_in, send, clock):
    telephone = set_up()
    first = telephone.app.at(clock.now())

    refused = send(half_in(), "/sign-in/code", code=first)
    code = telephone.code()
    accepted, again = (send(half_in(), "/sign-in/code", code=code) for _ in range(2))

    assert WRONG in refused.text
    assert (accepted.status_code, again.status_code) == (302, 401)


@both_databases
def test_of_two_sign_ins_with_one_code_at_the_same_time_one_gets_in(set_up, half_in, send):
    telephone = set_up()
    clients, code = [half_in() for _ in range(4)], telephone.code()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda client: send(client, "/sign-in/code", code=code).status_code, clients))

    assert sorted(answers) == [302, 401, 401, 401]


def test_each_recovery_code_works_once_and_is_kept_as_a_hash(set_up, half_in, send, session):
    telephone = set_up()
    code = telephone.recovery_codes[0]
    kept = " ".join(session.scalars(sa.select(RecoveryCode.digest)))
    session.rollback()

    accepted = send(half_in(), "/sign-in/code", code=code.upper().replace("-", " "))
    again = send(half_in(), "/sign-in/code", code=code)

    assert (accepted.status_code, again.status_code) == (302, 401)
    assert not any(code in kept or code.replace("-", "") in kept for code in telephone.recovery_codes)
    assert len(session.scalars(sa.select(RecoveryCode)).all()) == 9


def test_wrong_codes_are_limited_for_a_user_from_all_addresses_and_a_lockout_is_audited(
    app, set_up, half_in, send, clock, trail
):
    telephone = set_up()
    for host in range(10):
        send(half_in(), "/sign-in/code", address=f"198.51.100.{host}", code="000000")

    closed = send(half_in(), "/sign-in/code", code=telephone.code())
    app.test_cli_runner().invoke(args=["users", "enable", "siti"])
    opened = send(half_in(), "/sign-in/code", code=telephone.code())

    assert WRONG in closed.text
    assert opened.status_code == 302
    assert trail("lockout") == [("lockout", "closed", "user 1, second factor")]
    assert ("sign_in", "failed", "user 1, second factor") in trail("sign_in")


def test_a_code_alone_or_too_late_opens_nothing(app, set_up, half_in, send, clock):
    telephone = set_up()
    stranger, late = app.test_client(), half_in()

    alone = send(stranger, "/sign-in/code", code=telephone.code())
    clock.advance(minutes=5)
    too_late = send(late, "/sign-in/code", code=telephone.code())

    assert (alone.status_code, too_late.status_code) == (400, 400)
    assert not is_in(stranger)
    assert not is_in(late)


def test_a_new_password_between_password_and_code_ends_the_sign_in(app, set_up, half_in, send):
    telephone = set_up()
    client = half_in()

    app.test_cli_runner().invoke(args=["users", "passwd", "siti", "--generate"])

    assert send(client, "/sign-in/code", code=telephone.code()).status_code == 401


def test_setting_it_up_needs_the_password_and_turning_it_off_needs_a_code(signed_in, set_up, send, half_in):
    client = signed_in()
    refused = send(client, "/account/second-factor", password="wrong")
    telephone = set_up(client)

    replaced = send(client, "/account/second-factor", password=PASSWORD)
    stays = send(client, "/account/second-factor/remove", code="000000")
    still_asked = half_in()
    removed = send(client, "/account/second-factor/remove", code=telephone.code())

    assert [answer.status_code for answer in (refused, replaced, stays, removed)] == [400, 400, 400, 303]
    assert still_asked
    assert is_in(signed_in())


def test_new_recovery_codes_replace_the_old_ones(signed_in, set_up, send, half_in):
    client = signed_in()
    telephone = set_up(client)

    page = send(client, "/account/recovery-codes", code=telephone.code()).text
    (new, *_) = re.findall(r"<code>([a-z2-7-]{19})</code>", page)

    assert send(half_in(), "/sign-in/code", code=telephone.recovery_codes[0]).status_code == 401
    assert send(half_in(), "/sign-in/code", code=new).status_code == 302


def test_the_secret_is_shown_until_it_is_confirmed_and_is_nowhere_in_the_database(signed_in, set_up, inbox, database):
    client = signed_in()
    telephone = set_up(client)

    with inbox.engine.connect() as connection:
        connection.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))
    kept = Path(database.removeprefix("sqlite:///")).read_bytes()
    assert telephone.app.secret not in client.get("/account").text
    assert telephone.app.secret.encode() not in kept
    assert not any(code.encode() in kept for code in telephone.recovery_codes)


def test_the_picture_holds_what_the_secret_says_and_has_no_style_of_its_own(signed_in, send):
    client = signed_in()
    send(client, "/account/second-factor", password=PASSWORD)

    page = unescape(client.get("/account").text)

    picture = re.search(r"<svg.*?</svg>", page, re.DOTALL)[0]
    assert not re.search(r"style|<script|href", picture)


def test_everybody_has_to_set_it_up_first_where_the_settings_say_so(environment, request):
    environment["REQUIRE_SECOND_FACTOR"] = "1"
    signed_in, set_up = (request.getfixturevalue(name) for name in ("signed_in", "set_up"))
    for role in ("viewer", "operator"):
        client = signed_in(role)
        answers = [client.get(path) for path in ("/", "/events", "/audit", "/captures", "/events/export.csv")]
        assert {answer.headers.get("Location") for answer in answers} == {"/account"}
        assert "asks everybody for a second factor" in client.get("/account").text

    set_up(client)

    assert is_in(client)


def test_who_lost_the_telephone_is_helped_by_a_command_which_ends_the_sessions(app, signed_in, set_up, trail):
    client = signed_in()
    set_up(client)

    done = app.test_cli_runner().invoke(args=["users", "reset", "siti"])
    listed = app.test_cli_runner().invoke(args=["users", "list"]).output

    assert (done.exit_code, "second factor" in listed) == (0, False)
    assert not is_in(client)
    assert is_in(signed_in())
    assert ("users", "second factor reset", "user 1: siti") in trail("users")


def test_the_secret_outlives_the_key_that_sealed_it_by_a_reseal(environment, assemble, set_up, send):
    telephone = set_up()
    old, new = environment["PAYLOAD_KEYS"], token_hex(32)
    both = assemble(environment | {"PAYLOAD_KEYS": f"{new},{old}"})
    assert both.test_cli_runner().invoke(args=["events", "reseal"]).exit_code == 0

    rotated = assemble(environment | {"PAYLOAD_KEYS": new})
    telephone.clock = rotated.extensions["inbox"].clock
    client = rotated.test_client()
    send(client, "/sign-in", name="siti", password=PASSWORD)

    assert send(client, "/sign-in/code", code=telephone.code()).status_code == 302


@pytest.mark.soak
def test_a_process_that_signs_nobody_in_by_a_code_does_not_load_what_codes_need():
    loads = "import receiver.cli, receiver.web, sys; print(*{'pyotp', 'segno', 'authlib', 'requests'} & {*sys.modules})"

    found = subprocess.run([sys.executable, "-c", loads], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout == "\n"
