"""A real OpenID provider over TLS, in a process of its own: idpyoidc, which shares no code with authlib.

Here is what idpyoidc leaves to its user: the web server, the pages, and who may sign in. To let it say something else
of somebody, call `says()`. To make it silent, use a `Silence` in front of it.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html.parser import HTMLParser
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import requests

from receiver.testing import PASSWORD
from receiver.testing.certificates import self_signed
from receiver.testing.waiting import eventually
from tests import inherited
from tests.receiver.processes import ROOT, free_port, listens

CLIENT_ID, CLIENT_SECRET = "receiver", "the client secret of nobody at all"
RETURN = "/sign-in/oidc/return"
LOGIN = """<!doctype html><html lang="en"><head><title>Provider</title></head><body><main><h1>Provider</h1>
<form method="post" action="{{ action }}"><input type="hidden" name="token" value="{{ token }}">
<label>User <input name="username"></label><label>Secret <input name="password" type="password"></label>
<button>Enter</button></form></main></body></html>"""
LOGOUT = """<!doctype html><html lang="en"><head><title>Provider</title></head><body><main>
<h1>Sign out of the provider?</h1>
<form method="post" action="/rp_logout"><input type="hidden" name="sjwt" value="{{ sjwt }}">
<button name="logout" value="yes">Yes</button></form></main></body></html>"""


class Provider:
    """The provider as tests see it."""

    def __init__(self, folder: Path, port: int, certificate: Path) -> None:
        self._people, self.port = folder / "people.json", port
        self.issuer, self.ca_file = f"https://127.0.0.1:{port}", str(certificate)

    def says(self, name: str, **claims: Any) -> None:
        """Let the provider say this of somebody from now on."""
        people = json.loads(self._people.read_text())
        people[name] = {"sub": name, "preferred_username": name, **claims}
        self._people.write_text(json.dumps(people))

    def browser(self) -> "Browser":
        """A browser that knows nobody yet."""
        return Browser(self)


class Browser:
    """What a browser does at the provider."""

    def __init__(self, provider: Provider) -> None:
        self._session = requests.Session()
        self._session.trust_env, self._session.verify = False, provider.ca_file
        self._provider = provider

    def get(self, address: str) -> requests.Response:
        return self._session.get(address, allow_redirects=False)

    def signs_in(self, address: str, name: str) -> str:
        """Follow the address to the provider and sign in there; where the provider leads back to, without the host."""
        page = self.get(address)
        if page.status_code == 200:
            form = {"username": name, "password": PASSWORD, **_fields(page.text)}
            page = self._session.post(f"{self._provider.issuer}/verify/user", data=form, allow_redirects=False)
        assert page.is_redirect, page.text
        return path_of(page.headers["Location"])

    def signs_out(self, address: str) -> str:
        """Follow the address to the provider and confirm; where the provider leads back to."""
        page = self._session.get(address)
        form = {"logout": "yes", **_fields(page.text)}
        left = self._session.post(f"{self._provider.issuer}/rp_logout", data=form, allow_redirects=False)
        return left.headers["Location"]


class Silence:
    """A way to the provider that can be closed: who comes then waits for an answer until it is opened again."""

    def __init__(self, port: int) -> None:
        self._to, self._open = port, Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.waiting = self._listener.getsockname()[1], 0
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def end(self) -> None:
        self.open()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        self.waiting += 1
        self._open.wait()
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            back = Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


@contextmanager
def running_provider(folder: Path, *redirect_uris: str) -> Iterator[Provider]:
    """A provider that lets a receiver with these addresses sign people in."""
    folder.mkdir()
    certificate, key = self_signed(folder)
    (folder / "people.json").write_text("{}")
    (folder / "login.jinja2").write_text(LOGIN)
    (folder / "logout.jinja2").write_text(LOGOUT)
    provider = Provider(folder, free_port(), certificate)
    known = [f"https://receiver.example{RETURN}", *redirect_uris]
    what = "-m", "tests.receiver.openid_provider", str(folder), str(provider.port), str(key), *known
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *what], cwd=ROOT, env=inherited(), stdout=log, stderr=log)
    try:
        eventually(lambda: process.poll() is not None or listens(provider.port))
        assert process.poll() is None, (folder / "log").read_text()
        yield provider
    finally:
        process.kill()
        process.wait()


def settings_of(issuer: str) -> dict[str, str]:
    """What a receiver has to know of a provider."""
    return {
        "OIDC_ISSUER": issuer,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_REDIRECT_URI": f"https://receiver.example{RETURN}",
        "OIDC_SCOPES": "openid profile email roles",
        "OIDC_OPERATOR_VALUES": "claims-operator",
        "OIDC_VIEWER_VALUES": "claims-viewer, everybody",
    }


def path_of(address: str) -> str:
    """The address without its host, as it reaches a receiver."""
    found = urlsplit(address)
    return f"{found.path}?{found.query}"


def _fields(page: str) -> dict[str, str]:
    """The hidden fields of the form."""
    found: dict[str, str] = {}

    class Fields(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            named = dict(attrs)
            if tag == "input" and named.get("type") == "hidden":
                found[str(named["name"])] = str(named["value"])

    Fields().feed(page)
    return found


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _serve(folder: Path, port: int, key: str, redirect_uris: list[str]) -> None:
    from werkzeug.serving import ThreadedWSGIServer

    app = _app(folder, f"https://127.0.0.1:{port}", redirect_uris)
    server = ThreadedWSGIServer("127.0.0.1", port, app, ssl_context=(str(folder / "cert.pem"), key))
    server.serve_forever()


class _People(dict[str, Any]):
    """Who may sign in, with the claims of the moment."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = Path(file)

    def __contains__(self, name: object) -> bool:
        return name in json.loads(self._file.read_text())

    def __getitem__(self, name: str) -> Any:
        return json.loads(self._file.read_text())[name]


class Passwords(_People):
    """Everybody has the same."""

    def __getitem__(self, name: str) -> Any:
        return PASSWORD


def _app(folder: Path, issuer: str, redirect_uris: list[str]) -> Any:
    """The web application around idpyoidc."""
    from flask import Flask, make_response, redirect, render_template_string, request
    from idpyoidc.message.oauth2 import ResponseMessage
    from idpyoidc.message.oidc import AccessTokenRequest, AuthorizationRequest
    from idpyoidc.server import Server
    from idpyoidc.server.user_info import UserInfo
    from werkzeug.wrappers import Response

    server = Server(_configuration(folder, issuer), cwd=str(folder))
    context = server.get_context()
    context.userinfo = UserInfo(db=_People(str(folder / "people.json")))
    context.cdb[CLIENT_ID] = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [(uri, {}) for uri in redirect_uris],
        "post_logout_redirect_uri": [(uri.removesuffix("/oidc/return"), None) for uri in redirect_uris],
        "response_types": ["code"],
        "allowed_scopes": ["openid", "profile", "email", "roles"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    server.get_endpoint("session").client_authentication = lambda *_, **__: {}  # a browser comes there, and no client
    server.keyjar.add_symmetric(CLIENT_ID, CLIENT_SECRET)
    app = Flask(__name__)

    def asked(endpoint: Any) -> Response:
        info = {
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "method": request.method,
            "url": request.url,
            "cookie": [{"name": name, "value": value} for name, value in request.cookies.items()],
        }
        given = request.args.to_dict() if request.method == "GET" else request.form.to_dict()
        try:
            read = endpoint.parse_request(given, http_info=info)
            if isinstance(read, ResponseMessage) and "error" in read and "redirect_uri" not in given:
                return make_response(read.to_json(), 400)
            kind = AccessTokenRequest(**read) if endpoint.name == "token" and "error" not in read else read
            args = endpoint.process_request(kind, http_info=info)
        except Exception as error:
            app.logger.exception("refused")
            return make_response(ResponseMessage(error="invalid_request", error_description=str(error)).to_json(), 400)
        if "redirect_location" in args:
            return redirect(args["redirect_location"])
        if "http_response" in args:
            return make_response(args["http_response"], 200)
        return answered(endpoint, read, args)

    def answered(endpoint: Any, read: Any, args: Any) -> Response:
        info = endpoint.do_response(request=read, **args)
        if info.get("response_placement", endpoint.response_placement) == "body":
            response = make_response(info["response"], info.get("response_code", 200))
        else:
            response = redirect(info["response"])
        for name, value in info["http_headers"]:
            response.headers[name] = value
        with_cookies(response, info.get("cookie", []))
        return response

    def with_cookies(response: Response, cookies: list[dict[str, Any]]) -> None:
        for cookie in cookies:
            response.set_cookie(cookie["name"], cookie["value"], samesite="Lax", max_age=cookie.get("max_age"))

    @app.route("/.well-known/openid-configuration")
    def description() -> Response:
        return asked(server.get_endpoint("provider_config"))

    @app.route("/jwks")
    def keys() -> Response:
        return make_response(server.keyjar.export_jwks())

    @app.route("/<any(authorization, token, userinfo, session):name>", methods=["GET", "POST"])
    def endpoint(name: str) -> Response:
        return asked(server.get_endpoint(name))

    @app.post("/verify/user")
    def verify() -> Response:
        method = context.authn_broker.get_method_by_id("user")
        name = method.verify(**request.form.to_dict())
        kept = method.unpack_token(request.form["token"])
        wanted = AuthorizationRequest().from_urlencoded(kept["query"])
        endpoint = server.get_endpoint("authorization")
        begun = endpoint.create_session(wanted, name, kept["authn_class_ref"], kept["iat"], method)
        return answered(endpoint, wanted, endpoint.authz_part2(request=wanted, session_id=begun))

    @app.get("/verify_logout")
    def ask() -> str:
        return render_template_string(LOGOUT, sjwt=request.args["sjwt"])

    @app.post("/rp_logout")
    def leave() -> Response:
        endpoint = server.get_endpoint("session")
        told = endpoint.unpack_signed_jwt(request.form["sjwt"])
        endpoint.do_verified_logout(alla=True, **told)
        response = redirect(told["redirect_uri"])
        with_cookies(response, endpoint.kill_cookies())
        return response

    return app


def _configuration(folder: Path, issuer: str) -> dict[str, Any]:
    of_server = "idpyoidc.server"
    no_key: dict[str, Any] = {"client_authn_method": None}
    by_secret = {"client_authn_method": ["client_secret_basic", "client_secret_post"]}
    lifetime = {"kwargs": {"lifetime": 600}}
    return {
        "issuer": issuer,
        "httpc_params": {"verify": False},
        "keys": {
            "key_defs": [{"type": "RSA", "use": ["sig"]}, {"type": "EC", "crv": "P-256", "use": ["sig"]}],
            "uri_path": "jwks",
        },
        "template_dir": str(folder),
        "preference": {"subject_types_supported": ["public"], "grant_types_supported": ["authorization_code"]},
        "add_on": {
            "pkce": {
                "function": f"{of_server}.oauth2.add_on.pkce.add_support",
                "kwargs": {"essential": True, "code_challenge_method": "S256"},
            }
        },
        "authentication": {
            "user": {
                "acr": "urn:oasis:names:tc:SAML:2.0:ac:classes:InternetProtocolPassword",
                "class": f"{of_server}.user_authn.user.UserPassJinja2",
                "kwargs": {
                    "verify_endpoint": "/verify/user",
                    "template": "login.jinja2",
                    "db": {"class": Passwords, "kwargs": {"file": str(folder / "people.json")}},
                },
            }
        },
        "cookie_handler": {
            "class": f"{of_server}.cookie_handler.CookieHandler",
            "kwargs": {
                "keys": {
                    "key_defs": [
                        {"type": "OCT", "use": ["enc"], "kid": "enc"},
                        {"type": "OCT", "use": ["sig"], "kid": "sig"},
                    ]
                },
                "name": {"session": "op", "register": "op_rp", "session_management": "op_sman"},
            },
        },
        "endpoint": {
            "provider_config": {
                "path": ".well-known/openid-configuration",
                "class": f"{of_server}.oidc.provider_config.ProviderConfiguration",
                "kwargs": no_key,
            },
            "authorization": {
                "path": "authorization",
                "class": f"{of_server}.oidc.authorization.Authorization",
                "kwargs": no_key | {"response_types_supported": ["code"], "response_modes_supported": ["query"]},
            },
            "token": {"path": "token", "class": f"{of_server}.oidc.token.Token", "kwargs": by_secret},
            "userinfo": {"path": "userinfo", "class": f"{of_server}.oidc.userinfo.UserInfo", "kwargs": {}},
            "end_session": {
                "path": "session",
                "class": f"{of_server}.oidc.session.Session",
                "kwargs": {
                    "logout_verify_url": f"{issuer}/verify_logout",
                    "post_logout_uri_path": "",
                    "signing_alg": "ES256",
                },
            },
        },
        "token_handler_args": {
            "key_conf": {"key_defs": [{"type": "OCT", "bytes": 24, "use": ["enc"], "kid": "code"}]},
            "code": lifetime,
            "token": {"class": f"{of_server}.token.jwt_token.JWTToken", **lifetime},
            "id_token": {"class": f"{of_server}.token.id_token.IDToken", "kwargs": {"add_claims_by_scope": True}},
        },
        "scopes_to_claims": {
            "openid": ["sub"],
            "profile": ["preferred_username", "name"],
            "email": ["email", "email_verified"],
            "roles": ["roles"],
        },
        "claims_interface": {"class": f"{of_server}.session.claims.ClaimsInterface", "kwargs": {}},
        "userinfo": {"class": f"{of_server}.user_info.UserInfo", "kwargs": {"db": {}}},
    }


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
