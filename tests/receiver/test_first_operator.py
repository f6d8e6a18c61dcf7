"""The first operator comes without a shell: by two settings, or by a link in the log. Neither works later."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from receiver.actions.users import hash_of
from receiver.config import ConfigurationError, load_settings
from receiver.store.models import AuditEntry, FirstSignInLink, User
from receiver.testing import PASSWORD, both_databases
from tests.receiver.settings import ENVIRONMENT

NAME = "puan nor"


@pytest.fixture
def logged(app, capsys):
    """The paths of the links that somebody's look at the sign-in page brought into the log."""

    def look(times=1):
        capsys.readouterr()
        pages = [app.test_client().get("/sign-in").text for _ in range(times)]
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "first_operator_link" in line]
        return pages[-1], [line["path"] for line in lines]

    return look


@pytest.fixture
def choose(app, csrf_token):
    """A browser that opened the link and chose a name and a password; `response` is the answer."""

    def fill_in(path, name=NAME, password=PASSWORD):
        client = app.test_client()
        form = {"name": name, "password": password, "csrf_token": csrf_token(client.get(path))}
        client.response = client.post(path, data=form)
        return client

    return fill_in


@pytest.fixture
def operators(inbox):
    def read():
        with inbox.engine.connect() as connection:
            return connection.scalars(sa.select(User.name).where(User.role == "operator")).all()

    return read


def is_in(client):
    return client.get("/events").status_code == 200


@both_databases
def test_the_link_in_the_log_makes_the_first_operator_and_signs_them_in(logged, choose, operators, session):
    page, (path,) = logged()

    client = choose(path)

    assert "first_operator_link" in page
    assert (client.response.status_code, is_in(client), operators()) == (302, True, [NAME])
    added = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "users")).one()
    assert (added.actor, added.result) == ("first operator by link", "added")


@both_databases
def test_the_link_works_once(logged, choose, app, operators):
    _page, (path,) = logged()
    choose(path)

    again = app.test_client().get(path)

    assert (again.status_code, "This link has ended" in again.text) == (410, True)
    assert operators() == [NAME]


@both_databases
def test_of_two_people_with_one_link_at_once_one_becomes_the_operator(logged, app, csrf_token, operators):
    _page, (path,) = logged()
    clients = [app.test_client() for _ in range(4)]
    tokens = [csrf_token(client.get(path)) for client in clients]

    def post(place):
        form = {"name": f"person {place}", "password": PASSWORD, "csrf_token": tokens[place]}
        return clients[place].post(path, data=form).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(post, range(4)))

    assert statuses[0] == 302
    assert set(statuses[1:]) <= {400, 410}
    assert len(operators()) == 1


def test_many_looks_at_the_page_bring_one_link_and_a_later_look_brings_another_that_replaces_it(
    logged, clock, app, choose
):
    _page, first = logged(times=20)
    clock.advance(minutes=11)
    _page, second = logged()

    assert (len(first), len(second)) == (1, 1)
    assert app.test_client().get(first[0]).status_code == 410
    assert is_in(choose(second[0]))


def test_the_masking_of_the_log_leaves_every_link_whole(logged, clock):
    paths = []
    for _ in range(200):
        clock.advance(minutes=11)
        paths += logged()[1]

    assert [path for path in paths if not re.fullmatch("/first-operator/[a-z]{28}", path)] == []
    assert len(set(paths)) == 200


@both_databases
def test_a_link_ends_after_a_day(logged, clock, app):
    _page, (path,) = logged()
    clock.advance(hours=25)

    assert app.test_client().get(path).status_code == 410


def test_the_database_keeps_a_digest_and_not_the_link(logged, session):
    _page, (path,) = logged()

    kept = session.scalars(sa.select(FirstSignInLink.digest)).one()

    assert path.rsplit("/", 1)[1] not in kept


def test_the_link_names_no_host_because_a_stranger_chooses_that(app, capsys):
    app.test_client().get("/sign-in", headers={"Host": "evil.example"})

    out = capsys.readouterr().out
    assert "first_operator_link" in out
    assert "evil.example" not in out


@pytest.mark.parametrize("is_active", [True, False])
def test_while_there_is_an_operator_even_a_disabled_one_there_is_no_link(add_user, logged, session, is_active):
    add_user("siti")
    session.execute(sa.update(User).values(active=is_active))
    session.commit()

    page, paths = logged()

    assert paths == []
    assert "Nobody can sign in yet" not in page


def test_a_link_from_before_is_worth_nothing_once_there_is_an_operator(logged, add_user, app):
    _page, (path,) = logged()
    add_user("siti")

    assert app.test_client().get(path).status_code == 410


def test_a_viewer_is_no_operator(add_user, logged, choose, operators):
    add_user(NAME, "viewer")
    _page, (path,) = logged()

    taken = choose(path).response

    assert (taken.status_code, "A viewer has this name" in taken.text) == (400, True)
    assert operators() == []
    assert is_in(choose(path, name="siti"))


@pytest.mark.parametrize(("name", "password"), [("", PASSWORD), (" x ", PASSWORD), ("\x1b", PASSWORD), (NAME, "short")])
def test_a_name_or_a_password_that_cannot_be_used_is_said_and_the_link_stays_good(
    logged, choose, operators, name, password
):
    _page, (path,) = logged()

    refused = choose(path, name=name, password=password).response

    assert (refused.status_code, 'role="alert"' in refused.text) == (400, True)
    assert operators() == []
    assert is_in(choose(path))


@pytest.mark.parametrize("token", ["x", "0" * 36, "%20", "é", "a" * 5000])
def test_a_guessed_link_is_a_page_that_says_no(app, logged, token):
    logged()

    assert app.test_client().get(f"/first-operator/{token}").status_code in (404, 410, 414)


@both_databases
def test_an_operator_of_the_settings_is_there_when_somebody_opens_the_page(
    assemble, environment, csrf_token, logged_in_as_first
):
    settings = {"FIRST_OPERATOR_NAME": NAME, "FIRST_OPERATOR_PASSWORD_HASH": hash_of(PASSWORD)}
    app = assemble(environment | settings)

    page, client = logged_in_as_first(app)

    assert "Nobody can sign in yet" not in page
    assert is_in(client)


def test_the_settings_add_nobody_once_there_is_an_operator(assemble, environment, add_user, logged_in_as_first):
    add_user("siti")
    settings = {"FIRST_OPERATOR_NAME": NAME, "FIRST_OPERATOR_PASSWORD_HASH": hash_of(PASSWORD)}

    _page, client = logged_in_as_first(assemble(environment | settings))

    assert not is_in(client)


@pytest.fixture
def logged_in_as_first(csrf_token):
    """The sign-in page of an application, and a browser that tried to sign in there."""

    def sign_in(app):
        client = app.test_client()
        page = client.get("/sign-in")
        client.post("/sign-in", data={"name": NAME, "password": PASSWORD, "csrf_token": csrf_token(page)})
        return page.text, client

    return sign_in


def test_a_name_without_a_hash_and_a_password_in_place_of_its_hash_are_refused():
    for settings, said in (
        ({"FIRST_OPERATOR_NAME": NAME}, "set both, or neither"),
        ({"FIRST_OPERATOR_NAME": NAME, "FIRST_OPERATOR_PASSWORD_HASH": PASSWORD}, "a password itself does not"),
    ):
        with pytest.raises(ConfigurationError, match=said) as refused:
            load_settings(ENVIRONMENT | settings)
        assert PASSWORD not in str(refused.value)


def test_the_command_prints_a_hash_that_the_setting_takes(app):
    printed = app.test_cli_runner().invoke(args=["users", "hash", "--generate"]).output.splitlines()

    settings = {"FIRST_OPERATOR_NAME": NAME, "FIRST_OPERATOR_PASSWORD_HASH": printed[0]}
    assert load_settings(ENVIRONMENT | settings).first_operator_name == NAME
    assert printed[1].startswith("password ")


def test_the_sign_in_page_stands_without_its_tables(app, inbox):
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE first_sign_in_link"))

    answer = app.test_client().get("/sign-in")

    assert (answer.status_code, "Nobody can sign in yet" in answer.text) == (200, False)


def test_behind_a_prefix_the_path_in_the_log_has_the_prefix(assemble, environment, capsys):
    app = assemble(environment | {"SCRIPT_NAME": "/pay"})

    app.test_client().get("/pay/sign-in")

    assert '"path": "/pay/first-operator/' in capsys.readouterr().out
