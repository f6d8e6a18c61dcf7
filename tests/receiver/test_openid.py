"""Sign-in at a real OpenID provider through TLS: who gets in as what, who does not, and how a session ends."""

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import parse_qs, urlsplit

import certifi
import pytest
import sqlalchemy as sa

from receiver.clock import Clock
from receiver.config import ConfigurationError, load_settings
from receiver.sandbox.samples import sample
from receiver.sandbox.sender import Sender
from receiver.store.models import AuditEntry, User
from receiver.testing import PASSWORD
from receiver.testing.waiting import eventually
from receiver.web.openid import values_of
from tests.receiver.openid_provider import CLIENT_SECRET, Silence, path_of, running_provider, settings_of
from tests.receiver.processes import free_port, running
from tests.receiver.settings import ENVIRONMENT, LIVE

OPENID = ENVIRONMENT | settings_of("https://login.example")
BROWSER = {"Accept": "text/html"}
OPERATOR, VIEWER = ["claims-operator"], ["something", "claims-viewer"]


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    with running_provider(tmp_path_factory.mktemp("provider") / "openid") as found:
        yield found


@pytest.fixture
def environment(environment, provider, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", provider.ca_file)
    return environment | settings_of(provider.issuer)


@pytest.fixture
def enter(app, provider):
    """Sign in at the provider in a browser of one's own; the client, its answer, and the browser."""

    def sign_in(name, client=None, browser=None, path="/sign-in/oidc"):
        client, browser = client or app.test_client(), browser or provider.browser()
        back = browser.signs_in(client.get(path).headers["Location"], name)
        client.response, client.browser, client.came_back = client.get(back), browser, back
        return client

    return sign_in


@pytest.fixture
def trail(inbox):
    def read(*actions):
        columns = AuditEntry.action, AuditEntry.result, AuditEntry.actor, AuditEntry.detail
        chosen = sa.select(*columns).where(AuditEntry.action.in_(actions)).order_by(AuditEntry.id)
        with inbox.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(chosen)]

    return read


def is_in(client):
    return client.get("/events").status_code == 200


def may_act(client):
    return client.get("/captures").status_code == 200


def test_who_has_a_role_at_the_provider_gets_in_with_it_and_to_the_page_that_was_wanted(provider, enter, trail):
    provider.says("aminah", roles=OPERATOR)
    provider.says("badrul", roles=VIEWER)

    aminah, badrul = enter("aminah", path="/sign-in/oidc?next=/audit"), enter("badrul")

    assert aminah.response.headers["Location"] == "/audit"
    assert [(is_in(one), may_act(one)) for one in (aminah, badrul)] == [(True, True), (True, False)]
    assert trail("users", "sign_in") == [
        ("users", "added", "OpenID provider", "user 1: aminah, operator"),
        ("sign_in", "signed in", "aminah", "by OpenID Connect"),
        ("users", "added", "OpenID provider", "user 2: badrul, viewer"),
        ("sign_in", "signed in", "badrul", "by OpenID Connect"),
    ]


def test_who_has_no_role_is_told_so_and_gets_no_row(provider, enter, trail, session):
    provider.says("chong", roles=["another-team"])
    provider.says("devan")

    strangers = [enter("chong"), enter("devan")]

    assert [(one.response.status_code, is_in(one)) for one in strangers] == [(403, False)] * 2
    assert "no role here" in strangers[0].response.text
    assert trail("sign_in") == [("sign_in", "failed", None, "by OpenID Connect: no_role")] * 2
    assert session.scalars(sa.select(User)).all() == []


def test_the_role_is_taken_anew_at_each_sign_in_and_ends_the_older_sessions(provider, enter, trail):
    provider.says("farah", roles=OPERATOR)
    before = enter("farah")
    provider.says("farah", roles=VIEWER)

    after = enter("farah")

    assert (is_in(before), is_in(after), may_act(after)) == (False, True, False)
    assert ("users", "role: viewer", "OpenID provider", "user 1: farah") in trail("users")


def test_who_lost_every_role_is_refused_and_their_sessions_end(provider, enter):
    provider.says("gopal", roles=VIEWER)
    before = enter("gopal")
    provider.says("gopal", roles=[])

    refused = enter("gopal")

    assert (refused.response.status_code, is_in(before)) == (403, False)


def test_a_disabled_user_stays_out_whatever_the_provider_says(app, provider, enter):
    provider.says("hana", roles=OPERATOR)
    before = enter("hana")
    app.test_cli_runner().invoke(args=["users", "disable", "hana"])

    refused = enter("hana")

    assert (refused.response.status_code, is_in(before)) == (403, False)
    assert "disabled" in refused.response.text


def test_a_name_that_is_taken_leads_nobody_into_the_account_of_another(add_user, provider, enter, session):
    add_user("siti", "operator")
    provider.says("u-1", preferred_username="siti", email="siti@example.my", roles=VIEWER)
    provider.says("u-2", preferred_username="siti", email="siti@example.my", roles=VIEWER)

    first, second, again = enter("u-1"), enter("u-2"), enter("u-1")

    assert [may_act(one) for one in (first, second, again)] == [False] * 3
    rows = session.execute(sa.select(User.name, User.role, User.identity.is_not(None)).order_by(User.id)).all()
    assert [tuple(row) for row in rows] == [
        ("siti", "operator", False),
        ("siti@example.my", "viewer", True),
        ("siti 2", "viewer", True),
    ]


def test_who_comes_from_the_provider_has_no_password(app, provider, enter, csrf_token, session):
    provider.says("indra", roles=OPERATOR)
    enter("indra")
    client = app.test_client()
    command = app.test_cli_runner().invoke(args=["users", "passwd", "indra", "--generate"])

    form = {"name": "indra", "csrf_token": csrf_token(client.get("/sign-in"))}
    refused = client.post("/sign-in", data=form | {"password": "the hash of a user who does not exist"})

    assert (command.exit_code, refused.status_code) == (1, 401)
    assert "has no password" in command.output
    assert session.scalars(sa.select(User.password_hash)).all() == [None]


def test_signing_out_ends_the_session_here_and_at_the_provider_and_leads_back(provider, enter, csrf_token):
    provider.says("jamal", roles=VIEWER)
    client = enter("jamal")
    begun = client.get("/sign-in").text

    page = client.post("/sign-out", data={"csrf_token": re.search(r'csrf_token" value="([^"]+)"', begun)[1]})
    leads_to = unescape(re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)"', page.text)[1])
    back = client.browser.signs_out(leads_to)
    asked_again = client.browser.get(client.get("/sign-in/oidc").headers["Location"])

    assert not is_in(client)
    assert leads_to.startswith(f"{provider.issuer}/session?")
    assert back == "https://receiver.example/sign-in"
    assert "<label>User" in asked_again.text


def test_the_session_at_the_provider_is_enough_for_another_sign_in(provider, enter):
    provider.says("kavi", roles=VIEWER)
    client = enter("kavi")

    again = client.browser.get(client.get("/sign-in/oidc").headers["Location"])

    assert client.get(path_of(again.headers["Location"])).status_code == 302


def test_what_comes_back_works_once_and_only_in_the_browser_that_began(app, provider, enter, clock):
    provider.says("lina", roles=OPERATOR)
    begun, victim = app.test_client(), app.test_client()
    victim.get("/sign-in/oidc")
    back = provider.browser().signs_in(begun.get("/sign-in/oidc").headers["Location"], "lina")

    elsewhere = victim.get(back)
    without_state = begun.get(back.split("&state")[0].split("state=")[0])
    replayed = enter("lina")
    late = app.test_client()
    late_back = provider.browser().signs_in(late.get("/sign-in/oidc").headers["Location"], "lina")
    clock.advance(minutes=11)

    answers = [elsewhere, without_state, replayed.get(replayed.came_back), late.get(late_back)]
    assert [answer.status_code for answer in answers] == [400] * 4
    assert not any(map(is_in, (victim, begun, late)))


def test_nothing_that_opens_a_session_is_in_the_log_however_much_it_says(environment, provider, request, capfd):
    environment["LOG_LEVEL"] = "DEBUG"
    provider.says("omar", roles=VIEWER)
    client = request.getfixturevalue("enter")("omar")
    with client.session_transaction() as kept:
        token = parse_qs(urlsplit(kept["ends at"]).query)["id_token_hint"][0]
    begun = client.get("/sign-in/oidc")
    with client.session_transaction() as kept:
        secrets = [kept["begun at the provider"][name] for name in ("state", "nonce", "verifier")]
    code = parse_qs(urlsplit(client.came_back).query)["code"][0]

    said = "".join(capfd.readouterr())

    assert begun.status_code == 302
    assert '"act"' in said
    assert [secret for secret in (*secrets, code, token, CLIENT_SECRET) if secret in said] == []


def test_the_request_has_pkce_a_state_and_a_nonce_and_each_is_new(app):
    asked = [parse_qs(urlsplit(app.test_client().get("/sign-in/oidc").headers["Location"]).query) for _ in range(2)]

    first, second = asked
    assert first["code_challenge_method"] == ["S256"]
    assert first["redirect_uri"] == ["https://receiver.example/sign-in/oidc/return"]
    assert all(first[name] != second[name] for name in ("state", "nonce", "code_challenge"))


@pytest.mark.parametrize("other", ["code", "nonce"])
def test_a_code_that_was_stolen_from_another_sign_in_is_worth_nothing(app, provider, other):
    provider.says("mei", roles=OPERATOR)
    thief, victim = app.test_client(), app.test_client()
    stolen = provider.browser().signs_in(victim.get("/sign-in/oidc").headers["Location"], "mei")
    begun = parse_qs(urlsplit(thief.get("/sign-in/oidc").headers["Location"]).query)
    if other == "nonce":  # the thief even has the verifier
        with victim.session_transaction() as theirs, thief.session_transaction() as mine:
            kept = theirs["begun at the provider"]
            mine["begun at the provider"] |= {"verifier": kept["verifier"]}

    code = parse_qs(urlsplit(stolen).query)["code"][0]
    answer = thief.get("/sign-in/oidc/return", query_string={"code": code, "state": begun["state"][0]})

    assert answer.status_code in (403, 502)
    assert not is_in(thief)


def test_a_refusal_of_the_provider_is_a_page_with_its_reason_and_words_of_strangers_are_not_repeated(app, provider):
    client = app.test_client()
    address = client.get("/sign-in/oidc").headers["Location"]
    refused = provider.browser().get(f"{address}&prompt=none")
    page = client.get(path_of(refused.headers["Location"]), headers=BROWSER)
    state = parse_qs(urlsplit(client.get("/sign-in/oidc").headers["Location"]).query)["state"][0]
    strangers = client.get(f"/sign-in/oidc/return?state={state}&error=call+0123+at+once", headers=BROWSER)

    assert (page.status_code, "refused: login_required." in page.text) == (403, True)
    assert (strangers.status_code, "call" in strangers.text) == (403, False)


def test_the_sign_in_page_has_a_way_to_the_provider_and_keeps_passwords_unless_they_are_off(
    app, environment, assemble, add_user, signed_in, csrf_token
):
    page = app.test_client().get("/sign-in?next=/audit").text
    off = assemble(environment | {"PASSWORD_SIGN_IN": "0"}).test_client()
    token = csrf_token(signed_in().get("/sign-in"))

    assert 'href="/sign-in/oidc?next=/audit">Sign in at 127.0.0.1</a>' in page
    assert "Nobody can sign in yet" not in page
    assert is_in(signed_in())
    assert 'name="password"' not in off.get("/sign-in").text
    assert off.get(f"/first-operator/{'a' * 28}").status_code == 410
    assert off.post("/sign-in", data={"name": "siti", "password": PASSWORD, "csrf_token": token}).status_code in (
        400,
        403,
    )


def test_a_second_factor_is_the_providers_business(environment, provider, request):
    environment["REQUIRE_SECOND_FACTOR"] = "1"
    provider.says("nora", roles=VIEWER)

    client = request.getfixturevalue("enter")("nora")

    assert is_in(client)
    assert "You sign in at 127.0.0.1" in client.get("/account").text


@pytest.mark.parametrize(
    ("claim", "said", "role"),
    [
        ("realm.access", {"realm": {"access": OPERATOR}}, "operator"),
        ("https://x.example/roles", {"https://x.example/roles": "claims-viewer"}, "viewer"),
        ("email", {"email": "claims-operator", "email_verified": True}, "operator"),
        ("email", {"email": "claims-operator", "email_verified": False}, None),
        ("email", {"email": "claims-operator"}, None),
        ("roles", {"roles": {"claims-operator": True}}, None),
        ("roles", {"roles": [["claims-operator"], 1, None]}, None),
    ],
)
def test_a_role_is_read_from_the_claim_that_the_settings_name(claim, said, role):
    known = load_settings(OPENID | {"OIDC_ROLE_CLAIM": claim}).openid

    assert known.role_of(values_of(said, claim)) == role


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"OIDC_CLIENT_SECRET": ""}, "OIDC_CLIENT_SECRET"),
        ({"OIDC_REDIRECT_URI": "https://receiver.example/sign-in"}, "OIDC_REDIRECT_URI"),
        ({"SCRIPT_NAME": "/pay"}, "OIDC_REDIRECT_URI"),
        ({"OIDC_OPERATOR_VALUES": "", "OIDC_VIEWER_VALUES": " , "}, "OIDC_OPERATOR_VALUES"),
        ({"OIDC_SCOPES": "profile"}, "OIDC_SCOPES"),
        ({"OIDC_ISSUER": "", "PASSWORD_SIGN_IN": "0"}, "PASSWORD_SIGN_IN"),
        ({"OIDC_ISSUER": "login.example"}, "OIDC_ISSUER"),
        (LIVE | {"OIDC_ISSUER": "http://login.example", "DATABASE_URL": "sqlite:////tmp/x.db"}, "OIDC_ISSUER"),
    ],
)
def test_settings_with_which_nobody_could_sign_in_stop_the_start(changes, named):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(OPENID | changes)

    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [named]


# A provider that fails


def test_a_provider_that_nobody_trusts_or_that_is_not_there_is_a_page_which_says_so(assemble, environment, monkeypatch):
    client = assemble(environment | {"OIDC_ISSUER": f"https://127.0.0.1:{free_port()}"}).test_client()
    away = client.get("/sign-in/oidc", headers=BROWSER)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    untrusted = assemble(environment).test_client().get("/sign-in/oidc", headers=BROWSER)

    assert (away.status_code, untrusted.status_code) == (503, 503)
    assert all("does not answer" in page.text for page in (away, untrusted))
    assert away.headers["Retry-After"]


def test_a_description_of_another_issuer_is_not_believed(assemble, environment, provider):
    other = provider.issuer.replace("127.0.0.1", "localhost")
    client = assemble(environment | {"OIDC_ISSUER": other}).test_client()

    assert client.get("/sign-in/oidc").status_code in (502, 503)


@pytest.mark.soak
def test_deliveries_go_on_while_the_provider_is_silent_and_who_waits_for_it_is_told(environment, provider, database):
    """With real gunicorn: its greenlets wait for the provider, and a delivery does not."""
    silence, settings = Silence(provider.port), load_settings(environment)
    here = {"OIDC_ISSUER": f"https://127.0.0.1:{silence.port}", "WEB_CONCURRENCY": "1", "EMBEDDED_WORKER": "0"}
    silence.close()
    with running(environment | here | {"DATABASE_URL": database}) as receiver, ThreadPoolExecutor(2) as people:
        receiver.web()
        pages = [people.submit(receiver.status, "/sign-in/oidc") for _ in range(2)]
        eventually(lambda: silence.waiting)
        sender, delivered = Sender(receiver.url, settings.scheme, settings.signature_keys[0], Clock()), []
        while not all(page.done() for page in pages):
            payload = sample("payment.success", fields=settings.payload_fields, now=Clock().now())
            delivered.append(sender.deliver(payload).status)
        silence.end()

    assert [page.result() for page in pages] == [503, 503]
    assert set(delivered) == {200}
    assert len(delivered) > len(pages)  # or each delivery had waited for a page
