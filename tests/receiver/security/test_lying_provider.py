"""An OpenID provider that lies, or that somebody plays: no token that must not be believed lets anybody in.

A real provider never sends such answers, so here is one that sends what a test wants. To try another lie, add it to
`LIES` or to `DESCRIPTIONS`.
"""

import base64
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from receiver.store.models import AuditEntry
from receiver.testing.others import listening
from tests.receiver.openid_provider import CLIENT_ID, CLIENT_SECRET, settings_of

KEY, OTHER_KEY = (RSAKey.generate_key(2048, {"kid": "k1"}) for _ in range(2))
RS256 = {"alg": "RS256", "kid": "k1"}
BROWSER = {"Accept": "text/html"}
BAD_PAGES = {(502, "text/html"), (503, "text/html")}


class Liar(ThreadingHTTPServer):
    """Answers what `answers` says for a path: JSON, or the bytes of a whole answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked = []
        self.answers = {"/jwks": {"keys": [KEY.as_dict(private=False)]}}
        self.describes()

    def describes(self, **changes):
        """Give this description of itself."""
        self.answers["/.well-known/openid-configuration"] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        } | changes

    def claims(self, nonce, **changes):
        """What an honest token says."""
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "1", "nonce": nonce, "iat": now, "exp": now + 60}
        return {
            name: value
            for name, value in (honest | {"roles": "claims-operator"} | changes).items()
            if value is not None
        }


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, {})
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            return
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_line):
        """Nothing."""


def unsigned(claims):
    parts = [{"alg": "none", "kid": "k1"}, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def signed(claims, key=KEY, **header):
    return jwt.encode(RS256 | header, claims, key)


def tampered(claims):
    head, body, signature = signed(claims).split(".")
    return f"{head}.{body[:-2]}{'A' if body[-2] != 'A' else 'B'}{body[-1]}.{signature}"


HOUR = 3600
LIES = {
    "unsigned": lambda liar, nonce: unsigned(liar.claims(nonce)),
    "signed by the client secret": lambda liar, nonce: jwt.encode(
        {"alg": "HS256", "kid": "k1"}, liar.claims(nonce), OctKey.import_key(CLIENT_SECRET)
    ),
    "signed by the public key as if it were a secret": lambda liar, nonce: jwt.encode(
        {"alg": "HS256", "kid": "k1"}, liar.claims(nonce), OctKey.import_key(KEY.as_dict(private=False)["n"])
    ),
    "signed by another key": lambda liar, nonce: signed(liar.claims(nonce), OTHER_KEY),
    "signed by an unknown key": lambda liar, nonce: signed(liar.claims(nonce), OTHER_KEY, kid="k2"),
    "changed after it was signed": lambda liar, nonce: tampered(liar.claims(nonce)),
    "of another issuer": lambda liar, nonce: signed(liar.claims(nonce, iss="https://login.example")),
    "for another client": lambda liar, nonce: signed(liar.claims(nonce, aud="another")),
    "for many, and made for another": lambda liar, nonce: signed(
        liar.claims(nonce, aud=[CLIENT_ID, "another"], azp="another")
    ),
    "expired": lambda liar, nonce: signed(liar.claims(nonce, exp=int(time.time()) - HOUR)),
    "without an end": lambda liar, nonce: signed(liar.claims(nonce, exp=None)),
    "from the future": lambda liar, nonce: signed(
        liar.claims(nonce, iat=int(time.time()) + HOUR, nbf=int(time.time()) + HOUR)
    ),
    "of another sign-in": lambda liar, nonce: signed(liar.claims("another")),
    "without a nonce": lambda liar, nonce: signed(liar.claims(None)),
    "of nobody": lambda liar, nonce: signed(liar.claims(nonce, sub=None)),
    "of a number": lambda liar, nonce: signed(liar.claims(nonce, sub=7)),
    "of an empty name": lambda liar, nonce: signed(liar.claims(nonce, sub="")),
    "no token at all": lambda liar, nonce: None,
    "words": lambda liar, nonce: "no token",
    "a list": lambda liar, nonce: [1, 2],
}
DESCRIPTIONS = {
    "words": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "an error": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"SSH-2.0\r\n",
    "nothing": b"",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
    "more than anybody reads": {"padding": "x" * 600_000},
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "another issuer": {"issuer": "https://login.example"},
    "no issuer": {"issuer": None},
    "no place for tokens": {"token_endpoint": None},
    "keys in a file": {"jwks_uri": "file:///etc/passwd"},
    "a place without a host": {"authorization_endpoint": "https:///x"},
    "numbers": {"authorization_endpoint": 7},
    "algorithms that are none": {"id_token_signing_alg_values_supported": 7},
}


@pytest.fixture
def liar():
    with listening(Liar()) as found:
        yield found


@pytest.fixture
def environment(environment, liar):
    return environment | settings_of(liar.issuer)


def outcome(app, liar, lie):
    """The status of the last page, and whether somebody is in."""
    client = app.test_client()
    begun = parse_qs(urlsplit(client.get("/sign-in/oidc").headers["Location"]).query)
    liar.answers["/token"] = {"access_token": "a", "token_type": "Bearer", "id_token": lie(liar, begun["nonce"][0])}
    page = client.get("/sign-in/oidc/return", query_string={"code": "c", "state": begun["state"][0]}, headers=BROWSER)
    return page.status_code, client.get("/events").status_code == 200


def test_no_token_that_must_not_be_believed_lets_anybody_in(app, liar):
    honest = outcome(app, liar, lambda liar, nonce: signed(liar.claims(nonce)))
    believed = {name: outcome(app, liar, lie) for name, lie in LIES.items()}

    assert honest == (302, True)
    assert {name: found for name, found in believed.items() if found != (502, False)} == {}


def test_whatever_comes_instead_of_a_description_is_a_page_and_followed_nowhere(app, liar):
    found = {}
    for name, said in DESCRIPTIONS.items():
        liar.describes(**said) if isinstance(said, dict) else liar.answers.update(
            {"/.well-known/openid-configuration": said}
        )
        page = app.test_client().get("/sign-in/oidc", headers=BROWSER)
        found[name] = page.status_code, page.mimetype
    liar.describes()

    assert {name: answer for name, answer in found.items() if answer not in BAD_PAGES} == {}
    assert "/elsewhere" not in liar.asked
    assert app.test_client().get("/sign-in/oidc").status_code == 302


def test_a_key_that_the_provider_changed_is_asked_for_once_more_and_the_description_is_kept(app, liar):
    outcome(app, liar, lambda liar, nonce: signed(liar.claims(nonce)))
    liar.answers["/jwks"] = {"keys": [RSAKey.import_key(OTHER_KEY.as_dict(private=False) | {"kid": "k2"}).as_dict()]}

    after = outcome(app, liar, lambda liar, nonce: signed(liar.claims(nonce), OTHER_KEY, kid="k2"))

    assert after == (302, True)
    assert liar.asked.count("/jwks") == 2
    assert liar.asked.count("/.well-known/openid-configuration") == 1


def test_the_userinfo_of_somebody_else_is_not_believed(app, liar):
    liar.describes(userinfo_endpoint=f"{liar.issuer}/userinfo")

    def without_role(liar, nonce):
        return signed(liar.claims(nonce, roles=None))

    liar.answers["/userinfo"] = {"sub": "2", "roles": ["claims-operator"]}
    of_another = outcome(app, liar, without_role)
    liar.answers["/userinfo"] = {"sub": "1", "roles": ["claims-operator"]}

    assert (of_another, outcome(app, liar, without_role)) == ((502, False), (302, True))


def test_failures_do_not_fill_the_audit_log(app, liar, session, clock):
    clock.advance(seconds=60 - clock.now().second)
    for _ in range(15):
        outcome(app, liar, LIES["unsigned"])

    rows = session.query(AuditEntry).filter_by(action="sign_in", result="failed").all()
    assert [row.detail for row in rows] == ["by OpenID Connect: untrusted, UnsupportedAlgorithmError"] * 10
