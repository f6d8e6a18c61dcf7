"""No redirect leads to a host that the client named."""

from itertools import product
from urllib.parse import quote

from werkzeug.test import EnvironBuilder, run_wsgi_app

PARTS = ("", "static", "x", "events", "..", ".", "sign-in", "bulk", "evil.example", "\\evil.example", "export.csv")
STRANGERS_WORDS = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "//evil.example"}
NEXT = (
    "http://evil.example",
    "https:evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\x00/evil.example",
    " //evil.example",
    "javascript:alert(1)",
    "evil.example",
    "/\u2028/evil.example",
)


def location(app, path, method):
    """Where the answer to this very path leads."""
    environ = EnvironBuilder(method=method, headers=STRANGERS_WORDS).get_environ()
    environ["PATH_INFO"] = path
    answer, _, headers = run_wsgi_app(app, environ)
    b"".join(answer)
    return headers.get("Location")


def leads_elsewhere(target):
    return not target.startswith("/") or target.startswith(("//", "/\\")) or "evil" in target.partition("?")[0]


def test_no_path_is_redirected_to_the_host_that_the_client_names(app):
    paths = ["", "/", "//"] + [f"{start}{a}/{b}" for start, a, b in product(("/", "//"), PARTS, PARTS)]

    targets = {(path, method): location(app, path, method) for path in paths for method in ("GET", "POST", "HEAD")}

    led = {asked: target for asked, target in targets.items() if target is not None}
    assert len(led) > len(paths) / 100
    assert {asked: target for asked, target in led.items() if leads_elsewhere(target)} == {}


def test_sign_in_leads_to_no_other_host(app, signed_in, csrf_token):
    signed_in()
    targets = {}
    for target in NEXT:
        client = app.test_client()
        address = f"/sign-in?next={quote(target)}"
        form = {"name": "siti", "password": "correct horse battery", "csrf_token": csrf_token(client.get(address))}
        targets[target] = client.post(address, data=form, headers={"Host": "localhost"}).headers["Location"]

    assert {target for target, led_to in targets.items() if leads_elsewhere(led_to)} == set()
