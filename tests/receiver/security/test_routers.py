"""Who the client is behind each platform's router, and whether it came by HTTPS, whatever headers a client makes up.

`SHAPES` has what a router does with a request, for each platform of receiver/settings/platforms.py. A request passes
through it as header fields, then through our own reader of requests. `FORGERIES` is what a client may send. To add a
lie, add its fields there.
"""

from collections.abc import Callable
from itertools import product

import pytest
from flask import request
from gevent import socket
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

from receiver import create_app
from receiver.config import load_settings
from receiver.server.peer import Peer
from receiver.server.request import Request
from receiver.settings.platforms import PLATFORMS
from receiver.testing import PASSWORD

CLIENT, ROUTER, INNER_ROUTER = "203.0.113.7", "10.0.0.9", "198.51.100.1"
LIE = "192.0.2.66"
Fields = list[tuple[str, str]]


def _all(fields: Fields, name: str) -> list[str]:
    return [value for known, value in fields if known.lower() == name]


def _without(fields: Fields, *names: str) -> Fields:
    return [(known, value) for known, value in fields if known.lower() not in names]


def _proto(fields: Fields, scheme: str) -> Fields:
    return [*_without(fields, "x-forwarded-proto"), ("X-Forwarded-Proto", scheme)]


def _appends(*addresses: str, **named: str) -> Callable[[Fields, str], Fields]:
    """It adds these to X-Forwarded-For, in one field. It replaces X-Forwarded-Proto, and the headers that it names."""

    def route(fields: Fields, scheme: str) -> Fields:
        own = {name.replace("_", "-"): value for name, value in named.items()}
        listed = ", ".join([*_all(fields, "x-forwarded-for"), *addresses])
        return [
            *_proto(_without(fields, "x-forwarded-for", *map(str.lower, own)), scheme),
            ("X-Forwarded-For", listed),
            *own.items(),
        ]

    return route


def _replaces(fields: Fields, scheme: str) -> Fields:
    return [*_proto(_without(fields, "x-forwarded-for"), scheme), ("X-Forwarded-For", CLIENT)]


def _first_field_alone(fields: Fields, scheme: str) -> Fields:
    """Heroku's legacy router: of several fields of a name it changes the first, and the others stay."""
    changed: dict[str, str] = {}
    for name, own in (("x-forwarded-for", CLIENT), ("x-forwarded-proto", scheme)):
        first = next(iter(_all(fields, name)), None)
        changed[name] = f"{first}, {own}" if first is not None and name == "x-forwarded-for" else own
    found: Fields = []
    for name, value in fields:
        found.append((name, changed.pop(name.lower(), value)))
    return [*found, *changed.items()]


SHAPES: dict[str, list[Callable[[Fields, str], Fields]]] = {
    "heroku": [_first_field_alone, _appends(CLIENT), _replaces],
    "render": [_appends(CLIENT, INNER_ROUTER, CF_Connecting_IP=CLIENT)],
    "railway": [_appends(CLIENT, X_Real_IP=CLIENT), _appends(X_Real_IP=CLIENT)],
    "fly": [_appends(CLIENT, INNER_ROUTER, Fly_Client_IP=CLIENT)],
    "scalingo": [_appends(CLIENT, X_Real_IP=CLIENT)],
    "digitalocean": [_appends(CLIENT, INNER_ROUTER, DO_Connecting_IP=CLIENT)],
    "caprover": [_appends(CLIENT, X_Real_IP=CLIENT)],
    "coolify": [_replaces],
    "kamal": [_replaces, _appends(CLIENT)],
    "cloud-run": [_replaces, _appends(CLIENT)],
}
FORGERIES: list[Fields] = [
    [],
    [("X-Forwarded-For", LIE)],
    [("x-forwarded-for", LIE)],
    [("X-Forwarded-For", f"{LIE}, {LIE}, {LIE}")],
    [("X-Forwarded-For", f'"{LIE}')],
    [("X-Forwarded-For", f"{LIE},")],
    [("X-Forwarded-For", "")],
    [("X-Forwarded-For", "not an address")],
    [("X-Forwarded-For", LIE), ("X-Forwarded-For", LIE)],
    [("X-Forwarded-For", LIE), ("x-forwarded-for", f"{LIE}, {LIE}")],
    [("X_Forwarded_For", LIE)],
    [("Forwarded", f"for={LIE};proto=https")],
    [("X-Forwarded-Proto", "https")],
    [("X-Forwarded-Proto", "https, https")],
    [("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", "https")],
    [("X-Forwarded-Proto", '"https')],
    [("X-Forwarded-Ssl", "on"), ("X-Url-Scheme", "https"), ("Front-End-Https", "on")],
    [("X-Forwarded-Host", "evil.example")],
    [("X-Forwarded-Prefix", "/evil")],
    [(name, LIE) for name in ("X-Real-IP", "CF-Connecting-IP", "Fly-Client-IP", "DO-Connecting-IP", "True-Client-IP")],
    [("Fly_Client_IP", LIE), ("CF_Connecting_IP", LIE), ("X_Real_IP", LIE), ("DO_Connecting_IP", LIE)],
]


def ask(app, path, fields, peer=ROUTER, method="GET"):
    """The answer to a request with these fields, as our own server reads it from a connection."""
    here, there = socket.socketpair()
    with here, there:
        head = [f"{method} {path} HTTP/1.1", "Host: pay.example", "Content-Length: 0"]
        head += [f"{name}: {value}" for name, value in fields]
        there.sendall("\r\n".join([*head, "", ""]).encode())
        base = {"SCRIPT_NAME": "", "wsgi.url_scheme": "http", "SERVER_NAME": "x", "SERVER_PORT": "80"}
        environ = Request(Peer(here)).environ(base, (peer, 4711))
        body, status, headers = run_wsgi_app(app.wsgi_app, environ)
        return Response(body, status, headers)


@pytest.fixture
def on(environment, database):
    """The receiver with these settings. Its page /who says who asks, as a page of the partner's sees it."""

    def start(**settings):
        app = create_app(load_settings(environment | {"DATABASE_URL": database} | settings))
        app.add_url_rule("/who", view_func=lambda: f"{request.remote_addr} {request.scheme} {request.host}")
        return app

    return start


def who(app, fields, peer=ROUTER):
    """The address, the scheme and the host of the client, as the receiver sees them; or that it was refused."""
    answer = ask(app, "/who", fields, peer)
    return answer.get_data(as_text=True) if answer.status_code == 200 else f"refused {answer.status_code}"


def place(platform):
    """What a process finds in its environment there."""
    return {platform.named_by[0]: "x"} if platform.named_by else {"HOSTING_PLATFORM": platform.name}


def test_every_platform_has_a_shape():
    assert list(SHAPES) == [platform.name for platform in PLATFORMS]


def test_no_header_of_a_client_decides_who_it_is_or_that_it_came_by_https(on):
    """Where a client can write behind the router's own word, it has the router's address, or is refused."""
    wrong = []
    for platform in PLATFORMS:
        app = on(**place(platform))
        for (shape, route), forged in product(enumerate(SHAPES[platform.name]), FORGERIES):
            seen = who(app, route(forged, "https")), who(app, route(forged, "http"))
            expected = f"{CLIENT} https pay.example"
            if route is _first_field_alone and len({name.lower() for name, _ in forged}) < len(forged):
                expected = "refused 403" if "Proto" in forged[0][0] else f"{ROUTER} https pay.example"
            if seen != (expected, "refused 403"):
                wrong.append((platform.name, shape, forged, seen))

    assert wrong == []


def test_both_ways_of_a_delivery_refuse_a_client_that_only_says_that_it_came_by_https(on):
    forged = [("X-Forwarded-Proto", "https")]
    for fast_lane, platform in product(("auto", "0"), ("fly", "heroku")):
        app, route = on(HOSTING_PLATFORM=platform, FAST_LANE=fast_lane), SHAPES[platform][0]
        statuses = [
            ask(app, "/webhooks/senang", route(forged, scheme), method="POST").status_code
            for scheme in ("http", "https")
        ]

        assert statuses == [403, 401], (fast_lane, platform)


@pytest.mark.parametrize("platform", ["fly", "heroku", "caprover"])
def test_wrong_passwords_close_the_sign_in_to_their_own_address_whatever_it_says_and_to_no_other(
    on, platform, csrf_token
):
    app, route = on(HOSTING_PLATFORM=platform), SHAPES[platform][-1]
    app.test_cli_runner().invoke(args=["users", "add", "siti", "--password", PASSWORD])

    def sign_in(password, *forged, address=CLIENT):
        client = app.test_client()
        fields = [(name, value.replace(CLIENT, address)) for name, value in route(list(forged), "https")]
        form = {"name": "siti", "csrf_token": csrf_token(client.get("/sign-in", headers=fields)), "password": password}
        return client.post("/sign-in", data=form, headers=fields).status_code

    for number in range(10):
        own = f"198.18.0.{number}"
        assert sign_in("wrong", ("X-Forwarded-For", own), ("Fly-Client-IP", own), ("X-Real-IP", own)) == 401

    assert sign_in(PASSWORD, ("X-Forwarded-For", LIE), ("Fly-Client-IP", LIE)) == 401
    assert sign_in(PASSWORD, address="203.0.113.8") == 302


FOR, PROTO = "FORWARDED_FOR_HOPS", "FORWARDED_PROTO_HOPS"
NAMED = {"CLIENT_ADDRESS_HEADER": "X-Real-IP"}
BELIEVED = [
    ({}, [("X-Forwarded-For", LIE), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "b")], f"{ROUTER} http a"),
    ({FOR: "2"}, [("X-Forwarded-For", f"{LIE}, {CLIENT}, 10.0.0.1")], f"{CLIENT} http a"),
    ({FOR: "2"}, [("X-Forwarded-For", CLIENT)], f"{ROUTER} http a"),
    ({FOR: "1"}, [("X-Forwarded-For", f"{LIE}, junk")], f"{ROUTER} http a"),
    ({FOR: "1"}, [("X-Forwarded-For", f"{CLIENT}:4711")], f"{CLIENT} http a"),
    ({FOR: "1"}, [("X-Forwarded-For", "[2001:db8::1]:4711")], "2001:db8::1 http a"),
    ({FOR: "1"}, [("X-Forwarded-For", f"::ffff:{CLIENT}")], f"{CLIENT} http a"),
    ({FOR: "1"}, [("X-Forwarded-For", LIE), ("X-Forwarded-For", CLIENT)], f"{CLIENT} http a"),
    ({FOR: "1"}, [("X-Forwarded-For", "fe80::1%<b>")], f"{ROUTER} http a"),
    ({PROTO: "1"}, [("X-Forwarded-Proto", "http, HTTPS")], f"{ROUTER} https a"),
    ({PROTO: "2"}, [("X-Forwarded-Proto", "https,http")], f"{ROUTER} https a"),
    ({"FORWARDED_HOST_HOPS": "1"}, [("X-Forwarded-Host", "b")], f"{ROUTER} http b"),
    (NAMED, [("X-Real-IP", CLIENT), ("X-Forwarded-For", LIE)], f"{CLIENT} http a"),
    (NAMED, [("X-Real-IP", LIE), ("X-Real-IP", CLIENT)], f"{ROUTER} http a"),
    (NAMED, [("X-Forwarded-For", LIE)], f"{ROUTER} http a"),
]
"""Settings, what a router sends, and what is seen."""


def test_each_question_has_a_setting_of_its_own(on):
    wrong = [
        (settings, fields, found)
        for settings, fields, seen in BELIEVED
        if (found := who(on(**settings), fields).replace("pay.example", "a")) != seen
    ]

    assert wrong == []


def test_a_client_that_reaches_a_socket_of_both_kinds_by_ipv4_has_its_ipv4_address(on):
    assert who(on(), [], peer=f"::ffff:{CLIENT}").startswith(f"{CLIENT} ")


def test_what_is_set_replaces_what_the_platforms_row_says_of_the_client(environment):
    fly = environment | {"FLY_APP_NAME": "x", "DATABASE_URL": "postgres://u:p@db/x"}

    def trusted(**settings):
        found = load_settings(fly | settings)
        return found.client_address_header, found.forwarded_for_hops, found.forwarded_proto_hops

    assert trusted() == ("Fly-Client-IP", 0, 1)
    assert trusted(CLIENT_ADDRESS_HEADER="CF-Connecting-IP") == ("CF-Connecting-IP", 0, 1)
    assert trusted(FORWARDED_FOR_HOPS="3", FORWARDED_PROTO_HOPS="2") == ("", 3, 2)
    assert trusted(FORWARDED_FOR_HOPS="0") == ("", 0, 1)
    assert trusted(HOSTING_PLATFORM="none") == ("", 0, 0)
    assert trusted(HOSTING_PLATFORM="heroku") == ("", 1, 1)
