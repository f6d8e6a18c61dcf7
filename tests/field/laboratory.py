"""Each platform in small: its commands and settings behind a real router that terminates TLS as its own does.

`ROWS` has the platforms, each with the router that stands in for its own. `CHECKS` has what is tried there, in order;
what a check returns is a fact for the table in docs/deploy.md, and what is wrong is an AssertionError. A platform is a
line in `ROWS`, and another check is a function in `CHECKS`.

Clients come from addresses of their own, 127.0.0.2 and on, and the router comes from 127.0.0.1. So who the receiver
takes for the client can be told. Senders are other people's code: the package standardwebhooks signs, and curl sends.
"""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from ssl import SSLContext, create_default_context
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import sqlalchemy as sa
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import expect
from standardwebhooks.webhooks import Webhook

from receiver.config import Settings, load_settings
from receiver.privacy.sealing import body_digest
from receiver.sandbox.samples import sample
from receiver.store.models import SignInFailures, StoredEvent
from receiver.testing import PASSWORD
from receiver.testing.certificates import self_signed
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.field import platforms
from tests.field.deployed import Deployed, started
from tests.field.platforms import Deploy, section
from tests.receiver import routers
from tests.receiver.browser.chromium import running_chromium
from tests.receiver.browser.people import expect_path, find, follow, press, send, state_of
from tests.receiver.browser.world import USERS
from tests.receiver.machine import cpu_seconds, memory_mib
from tests.receiver.routers import Front, Place, caddy_around, nginx_around

ROUTER, INNER, LIE = "127.0.0.1", "198.51.100.1", "192.0.2.66"
OPERATOR = USERS["operator"]
WRONG_PASSWORDS = 10
LOAD_SENDERS, LOAD_ACCEPTED = 3, 30
FORGED: list[dict[str, str]] = [
    {},
    {"X-Forwarded-For": LIE, "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-For": f"{LIE}, {LIE}", "Forwarded": f"for={LIE};proto=http"},
    dict.fromkeys(("X-Real-IP", "CF-Connecting-IP", "Fly-Client-IP", "DO-Connecting-IP"), LIE),
]
"""What clients claim of themselves."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A platform: what it does with us, what its router tells us, and the memory of the smallest plan that fits."""

    deploy: Callable[[], Deploy]
    front: Front
    plan: str
    plan_mib: int
    shared: bool = False  # one memory for all processes
    configuration: Callable[[Place], str] | None = None  # of the router, where docs/deploy.md has it


def _image(known_by: str, grace: int = 30) -> Callable[[], Deploy]:
    """The image on a platform that sets this variable. What its router tells is left to the receiver to know."""

    def deploy() -> Deploy:
        found = platforms.image()
        own = {"REQUIRE_HTTPS", "FORWARDED_FOR_HOPS", "FORWARDED_PROTO_HOPS"}
        settings = {name: value for name, value in found.settings.items() if name not in own}
        settings["STOP_SECONDS"] = str(grace)
        return replace(found, settings=settings, announces={known_by: "1"}, grace=grace)

    return deploy


def _nginx_of_the_document(place: Place) -> str:
    lines = _block_of_the_document("nginx")
    for said, there in {
        "127.0.0.1:8000": f"127.0.0.1:{place.upstream}",
        "listen 443 ssl": f"listen 127.0.0.1:{place.port} ssl",
        "/etc/ssl/webhooks.partner.example.pem": str(place.certificate),
        "/etc/ssl/webhooks.partner.example.key": str(place.key),
    }.items():
        assert said in lines, said
        lines = lines.replace(said, there)
    return nginx_around(lines, place)


def _caddy_of_the_document(place: Place) -> str:
    lines = _block_of_the_document("")
    assert "webhooks.partner.example {" in lines
    lines = lines.replace(
        "webhooks.partner.example {", f":{place.port} {{\n    tls {place.certificate} {place.key}"
    ).replace("127.0.0.1:8000", f"127.0.0.1:{place.upstream}")
    return caddy_around(lines, place)


def _block_of_the_document(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", section("TLS on your own server"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


_APPENDING = Front(appends=True)
_REPLACING = Front(kind="caddy")
_SERVER = {"plan": "a server with 1 GiB", "plan_mib": 1024, "shared": True}
ROWS: dict[str, Row] = {
    "Heroku": Row(deploy=platforms.heroku, front=_APPENDING, plan="Basic", plan_mib=512),
    "Render": Row(
        deploy=platforms.render,
        front=Front(kind="haproxy", appends=True, inner=INNER, client_header="CF-Connecting-IP"),
        plan="Starter",
        plan_mib=512,
    ),
    "Railway": Row(
        deploy=platforms.railway, front=Front(kind="caddy", client_header="X-Real-IP"), plan="Free", plan_mib=512
    ),
    "Fly.io": Row(
        deploy=platforms.fly,
        front=Front(kind="haproxy", appends=True, inner=INNER, client_header="Fly-Client-IP"),
        plan="shared-cpu-1x",
        plan_mib=512,
    ),
    "Dokku": Row(deploy=platforms.dokku, front=Front(), **_SERVER),
    "Scalingo": Row(
        deploy=platforms.scalingo, front=Front(appends=True, client_header="X-Real-IP"), plan="M", plan_mib=512
    ),
    "DigitalOcean": Row(
        deploy=platforms.digitalocean,
        front=Front(kind="haproxy", appends=True, inner=INNER, client_header="DO-Connecting-IP"),
        plan="apps-s-1vcpu-0.5gb",
        plan_mib=512,
    ),
    "Kamal": Row(deploy=_image("KAMAL_VERSION"), front=_REPLACING, **_SERVER),
    "Coolify": Row(deploy=_image("COOLIFY_RESOURCE_UUID"), front=_REPLACING, **_SERVER),
    "CapRover": Row(deploy=_image("CAPROVER_GIT_COMMIT_SHA"), front=_APPENDING, **_SERVER),
    "Cloud Run": Row(
        deploy=_image("K_SERVICE", grace=10),
        front=Front(kind="haproxy"),
        plan="the default",
        plan_mib=512,
    ),
    "A server of your own, nginx": Row(
        deploy=platforms.compose, front=Front(), configuration=_nginx_of_the_document, **_SERVER
    ),
    "A server of your own, Caddy": Row(
        deploy=platforms.compose, front=_REPLACING, configuration=_caddy_of_the_document, **_SERVER
    ),
}


class Visitor:
    """A client with an address of its own, who keeps cookies. It follows no redirect."""

    def __init__(self, connect: Callable[[], HTTPConnection], forged: Mapping[str, str]) -> None:
        self._connect, self._forged = connect, forged
        self._cookies: dict[str, str] = {}
        self.location = ""

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        """The status and the text of the answer."""
        fields = {**self._forged, **headers}
        if self._cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        connection = self._connect()
        try:
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.partition(";")[0].partition("=")
                self._cookies[name] = value
            self.location = answer.headers.get("Location", "")
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def fill_in(self, path: str, **fields: str) -> int:
        """The status of the answer to the form at this path."""
        _, page = self.ask("GET", path)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None, f"no form at {path}"
        form = urlencode({"csrf_token": token[1], **fields})
        return self.ask("POST", path, form, **{"Content-Type": "application/x-www-form-urlencoded"})[0]


@dataclass
class Site:
    """A deploy behind its router. `facts` are what is known by starting it."""

    row: Row
    deployed: Deployed
    place: Place
    database: str
    tls: SSLContext
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """As a web process reads them."""
        return load_settings({**self.deployed.deploy.settings, **self.deployed.machine})

    @property
    def url(self) -> str:
        """Where the router is, for those who come by HTTPS."""
        return f"https://127.0.0.1:{self.place.port}"

    def visitor(self, address: str, forged: Mapping[str, str] | None = None, *, plain: bool = False) -> Visitor:
        """Somebody who comes from this address."""
        here = {"timeout": PATIENCE_SECONDS, "source_address": (address, 0)}

        def connect() -> HTTPConnection:
            if plain:
                return HTTPConnection(ROUTER, self.place.plain, **here)
            return HTTPSConnection(ROUTER, self.place.port, context=self.tls, **here)

        return Visitor(connect, forged or {})

    def signed(self, event_type: str = "payment.success") -> tuple[str, dict[str, str]]:
        """The body and the headers of a new delivery, signed by other people's code."""
        now, message = datetime.now(UTC), f"msg_{uuid4().hex}"
        body = json.dumps(sample(event_type, fields=self.settings.payload_fields, now=now))
        signature = Webhook(self.settings.webhook_secrets[0]).sign(message, now, body)
        return body, {
            "Content-Type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }

    def deliver(self, version: str, forged: Mapping[str, str] | None = None, *, plain: bool = False) -> str:
        """What curl says of a delivery: the status, and the version of HTTP that it spoke with the router."""
        body, headers = self.signed()
        url = f"http://127.0.0.1:{self.place.plain}" if plain else self.url
        command = ["curl", "--silent", "--show-error", version, "--cacert", str(self.place.certificate)]
        command += ["--interface", "127.0.0.2", "--data-binary", body, "--output", "/dev/null"]
        for name, value in {**headers, **(forged or {})}.items():
            command += ["--header", f"{name}: {value}"]
        command += ["--write-out", "%{http_code} %{http_version}", f"{url}{self.settings.webhook_path}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def select(self, statement: sa.Select[Any]) -> list[Any]:
        """The first column of what the database answers."""
        engine = sa.create_engine(self.database, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return list(connection.scalars(statement))


@contextmanager
def site(row: Row, code: Path, database: tuple[str, str], **settings: str) -> Iterator[Site]:
    """The platform's release phase, its processes and a router before them. `settings` replace what it sets."""
    url, address = database
    deploy = row.deploy()
    with TemporaryDirectory() as name, started(code, deploy, address) as deployed:
        deployed.machine |= settings
        certificate = self_signed(Path(name))
        place = routers.new_place(Path(name) / "router", deployed.receiver.port, certificate)
        configuration = row.configuration or (lambda there: routers.KINDS[row.front.kind](row.front, there))
        here = Site(row, deployed, place, url, create_default_context(cafile=str(certificate[0])))
        _start(here)
        with routers.started(row.front.kind, place, configuration(place)):
            yield here


def _start(site: Site) -> None:
    """As `Deployed.release_and_start`, step by step: what each step takes is a fact."""
    deployed, deploy = site.deployed, site.deployed.deploy
    if not deploy.releases_last:
        site.facts["release_seconds"] = _seconds(deployed.release)
    begun = time.monotonic()
    web = deployed.start(deploy.web)
    eventually(lambda: deployed.status("/healthz") == 200 or deployed.lost())
    assert not deployed.lost(), deployed.said()
    site.facts["cold_start_seconds"] = time.monotonic() - begun
    site.facts["cold_start_cpu_seconds"] = cpu_seconds(web.pid)
    if deploy.worker:
        deployed.start(deploy.worker, deploy.settings_of_worker)
    if deploy.releases_last:
        site.facts["release_seconds"] = _seconds(deployed.release)


def _seconds(do: Callable[[], object]) -> float:
    begun = time.monotonic()
    do()
    return time.monotonic() - begun


def asked_by_the_platform(site: Site) -> None:
    """What the platform asks before it sends traffic, and while it does, is answered 200."""
    deploy = site.deployed.deploy
    for path in {*deploy.gates, *deploy.restarts, platforms.READY}:
        eventually(lambda path=path: site.deployed.status(path) == 200 or site.deployed.lost())  # type: ignore[misc]
    assert not site.deployed.lost(), site.deployed.said()


def the_first_operator(site: Site) -> None:
    """The sign-in page brings a line into the log, whose path leads to a name and a password. No shell is needed."""
    somebody = site.visitor("127.0.0.2")
    assert somebody.ask("GET", "/sign-in")[0] == 200
    found = re.search(r'"path": "(/first-operator/[^"]+)"', site.deployed.log.read_text())
    assert found is not None, "the log has no path"
    assert somebody.fill_in(found[1], name=OPERATOR, password=PASSWORD) == 302


def deliveries(site: Site) -> None:
    """Deliveries by HTTP/1.1 and 2 are accepted, and worked on. What the sender claims of itself changes nothing."""
    spoken = {"--http1.1": "1.1", "--http2": "2" if site.row.configuration is not _nginx_of_the_document else "1.1"}
    for version, forged in ((version, forged) for version in spoken for forged in FORGED[:2]):
        assert site.deliver(version, forged) == f"200 {spoken[version]}"
    eventually(lambda: site.select(sa.select(StoredEvent.state)) == ["processed"] * 4 or site.deployed.lost())
    assert not site.deployed.lost(), site.deployed.said()


def plain_http(site: Site) -> None:
    """A delivery and a page over plain HTTP are refused, also where the client says that it came by HTTPS."""
    if site.row.configuration is not None:
        return  # the document's routers take none, or redirect by themselves
    claims = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on", "Forwarded": "proto=https"}
    for forged in ({}, claims):
        status, text = site.visitor("127.0.0.2", forged, plain=True).ask("GET", "/sign-in")
        assert (status, "HTTPS only" in text) == (403, True)
        assert site.deliver("--http1.1", forged, plain=True) == "403 1.1"


def client_address(site: Site) -> None:
    """A refused sign-in counts for the address from which the client came, and for no other."""
    own = {f"127.0.0.{20 + number}": forged for number, forged in enumerate(FORGED)}
    for address, forged in own.items():
        visitor = site.visitor(address, forged)
        assert visitor.fill_in("/sign-in", name="nobody", password="wrong") == 401
        assert visitor.ask("GET", "/events")[0] == 302
        assert "evil" not in visitor.location
    counted = set(site.select(sa.select(SignInFailures.source)))
    keys = site.settings.payload_keys
    seen = {
        address
        for address in (*own, ROUTER, INNER, LIE)
        if body_digest(f"sign-in address: {address}".encode(), keys) in counted
    }
    assert seen == set(own), f"the receiver saw {sorted(seen)}"


def wrong_passwords(site: Site) -> None:
    """Wrong passwords close the sign-in to their own address, whatever it says, and to nobody else."""
    guesser, operator = "127.0.0.11", {"name": OPERATOR, "password": PASSWORD}
    for number in range(WRONG_PASSWORDS):
        forged = {"X-Forwarded-For": f"198.18.0.{number}", "X-Real-IP": f"198.18.0.{number}"}
        assert site.visitor(guesser, forged).fill_in("/sign-in", name=OPERATOR, password="wrong") == 401
    assert site.visitor(guesser, {"X-Forwarded-For": LIE}).fill_in("/sign-in", **operator) == 401
    assert site.visitor("127.0.0.12").fill_in("/sign-in", **operator) == 302


def pages(site: Site) -> str:
    """An operator signs in with a real Chromium, finds an event, replays it and signs out. Which HTTP they spoke."""
    with running_chromium() as browser:
        profile = browser.new_context(base_url=site.url, ignore_https_errors=True)
        profile.set_default_timeout(PATIENCE_SECONDS * 1000)
        expect.set_options(timeout=PATIENCE_SECONDS * 1000)
        page = profile.new_page()
        page.goto("/sign-in")
        page.get_by_label("Name").fill(OPERATOR)
        page.get_by_label("Password").fill(PASSWORD)
        send(page, "Sign in")
        assert page.get_by_role("button", name="Sign out").count() == 1, "the sign-in form was refused"
        expect_path(page, "/events")
        spoken = page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
        find(page, event_type="payment.success")
        follow(page.locator("#list a.id").first)
        send(page, "Replay…")
        page.get_by_label("Reason").fill("a try")
        send(page, "Replay it")
        expect(state_of(page)).to_have_text(re.compile("pending|processed"))
        press(page, "Sign out")
        expect_path(page, "/sign-in")
    return str(spoken)


def memory(site: Site) -> dict[str, int]:
    """MiB of each process with its children, and whether that fits the plan."""
    names = ["web", "worker"][: len(site.deployed.processes)]
    used = dict(zip(names, (memory_mib(process.pid) for process in site.deployed.processes), strict=True))
    most = sum(used.values()) if site.row.shared else max(used.values())
    assert most <= site.row.plan_mib, f"{used} MiB, and the plan has {site.row.plan_mib}"
    return used


def stop_under_load(site: Site) -> float:
    """After the platform's signal in the middle of deliveries, all that was answered 2xx is there. The seconds it took.

    A process that the platform would have to kill has another status than 0.
    """
    accepted: list[str] = []
    has_begun = Event()

    def send_on() -> None:
        visitor, path, status = site.visitor("127.0.0.3"), site.settings.webhook_path, 200
        while status == 200 or not has_begun.is_set():
            body, headers = site.signed()
            try:
                status, _ = visitor.ask("POST", path, body, **headers)
            except (OSError, HTTPException):
                status = 0
            if status == 200:
                accepted.append(json.loads(body)["event_id"])

    senders = [Thread(target=send_on) for _ in range(LOAD_SENDERS)]
    for sender in senders:
        sender.start()
    try:
        eventually(lambda: len(accepted) >= LOAD_ACCEPTED)
        has_begun.set()
        begun = time.monotonic()
        statuses = site.deployed.stop()
        seconds = time.monotonic() - begun
    finally:
        has_begun.set()
        for sender in senders:
            sender.join()
    assert statuses == [0] * len(statuses), f"they ended with {statuses}: {site.deployed.said()}"
    missing = set(accepted) - set(site.select(sa.select(StoredEvent.event_id)))
    assert not missing, f"{len(missing)} of {len(accepted)} accepted deliveries are lost"
    return seconds


CHECKS: dict[str, Callable[[Site], Any]] = {
    check.__name__: check
    for check in (
        asked_by_the_platform,
        the_first_operator,
        deliveries,
        plain_http,
        client_address,
        wrong_passwords,
        pages,
        memory,
        stop_under_load,
    )
}


def examined(site: Site, checks: Sequence[Callable[[Site], Any]] = tuple(CHECKS.values())) -> dict[str, Any]:
    """What each check returned; of a check that failed, what was wrong, in `wrong`."""
    facts: dict[str, Any] = dict(site.facts)
    wrong: dict[str, str] = {}
    for check in checks:
        try:
            facts[check.__name__] = check(site)
        except (AssertionError, BrowserError, OSError, HTTPException) as error:
            wrong[check.__name__] = str(error) or type(error).__name__
    return facts | {"wrong": wrong}
