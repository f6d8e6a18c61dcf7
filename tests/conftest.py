"""The test bench: a real database per test, the real front door, the real worker.

`deliver()` signs real bytes and POSTs them; `work()` drains what is due; `perform()` is what a partner's handler
test needs. Every test that asks for `app` runs on SQLite; with `@both_databases` on PostgreSQL too.
"""

import re
import shutil
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from secrets import token_bytes, token_hex
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_migrate import upgrade
from jinja2 import FileSystemBytecodeCache
from sqlalchemy.orm import Session
from werkzeug.security import generate_password_hash

from receiver import create_app, registry
from receiver.actions.replay import replay
from receiver.clock import Clock
from receiver.config import Settings, load_settings
from receiver.database.engine import reading, writing
from receiver.ingest.storing import storing
from receiver.sandbox.samples import sample
from receiver.sandbox.sender import Answer, Sender
from receiver.store.inbox import Inbox
from receiver.store.models import StoredEvent, User
from receiver.worker.batch import process_next
from receiver.worker.time_limit import TimeLimit
from tests import forget_the_shell, work_in_memory
from tests.receiver.databases import Postgres
from tests.receiver.processes import eventually

ENVIRONMENT = {
    "SENANG_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "PAYLOAD_KEYS": "8f1c2b7d4e5a69780123456789abcdef0fedcba98765432113579bdf02468ace",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "HANDLER_TIMEOUT": "5",
}
PASSWORD = "correct horse battery"
_QUICK_HASH = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
LIVE = {
    "SENANG_ENVIRONMENT": "live",
    "SENANG_WEBHOOK_SECRETS": f"whsec_{b64encode(token_bytes(32)).decode()}",
    "PAYLOAD_KEYS": token_hex(32),
    "SECRET_KEY": token_hex(32),
}
"""What makes the environment of a test a live one: `live` refuses the secrets above, which everybody can read."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of our own, from a wheel, with a migrated template database."""
    with _server() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """Another such server, for a test that breaks it."""
    with _server() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(_settings(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="module")
def shared_database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a migrated SQLite database for a receiver that the tests of a module share."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path_factory.mktemp('shared'))}"


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty database: SQLite, or what the test's parameter says."""
    kind = getattr(request, "param", "sqlite")
    if kind != "sqlite":
        server: Postgres = request.getfixturevalue("own_postgres" if kind == "own postgresql" else "postgres")
        with server.database() as url:
            yield url
    else:
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copy(template, tmp_path / "receiver.db")
        yield f"sqlite:///{tmp_path / 'receiver.db'}"


@pytest.fixture
def environment() -> dict[str, str]:
    """The settings; a test may change them before it asks for `app`."""
    return dict(ENVIRONMENT)


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Each app compiles its templates anew, for a tenth of a second and more; those of a test run compile them once."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def assemble(database: str, compiled_templates: FileSystemBytecodeCache) -> Iterator[Callable[[dict[str, str]], Flask]]:
    """Receivers by their settings, as `create_app()` assembles them, on the test's database if they name no other."""
    apps = []

    def make(settings: dict[str, str]) -> Flask:
        app = create_app(load_settings({"DATABASE_URL": database} | settings), Clock())
        app.jinja_env.bytecode_cache = compiled_templates
        app.extensions["inbox"].random.seed(0)
        apps.append(app)
        return app

    yield make
    eventually(lambda: storing().is_idle)  # or it would open a connection that nobody closes
    for app in apps:
        app.extensions["inbox"].close()


@pytest.fixture
def app(environment: dict[str, str], assemble: Callable[[dict[str, str]], Flask]) -> Flask:
    """The receiver of the test: without a context of its own, for each request must get a fresh one, as in life."""
    return assemble(environment)


@pytest.fixture
def inbox(app: Flask) -> Inbox:
    return app.extensions["inbox"]


@pytest.fixture
def clock(inbox: Inbox) -> Clock:
    return inbox.clock


@pytest.fixture
def early_in_a_minute(clock: Clock) -> None:
    """For what is counted by the minute: no other minute begins before the test is over."""
    clock.advance(seconds=60 - clock.now().second)


@pytest.fixture
def sender(app: Flask, inbox: Inbox) -> Sender:
    """The sender that `senang trigger` uses, knocking without a network."""
    client = app.test_client()

    def post(url: str, body: bytes, headers: Any) -> Answer:
        response = client.post(url, data=body, headers=dict(headers))
        return Answer(response.status_code, response.get_data(as_text=True), dict(response.headers))

    return Sender("/webhooks/senang", inbox.settings.scheme, inbox.settings.signature_keys[0], inbox.clock, post)


@pytest.fixture
def payload(inbox: Inbox) -> Callable[..., dict[str, Any]]:
    """A realistic payload of a type, with envelope fields changed at will."""

    def make(event_type: str = "payment.success", **changes: Any) -> dict[str, Any]:
        return sample(event_type, fields=inbox.settings.payload_fields, now=inbox.clock.now(), **changes)

    return make


@pytest.fixture
def deliver(sender: Sender, payload: Callable[..., dict[str, Any]]) -> Callable[..., Answer]:
    """Deliver an event of a type, signed."""

    def send(event_type: str = "payment.success", **changes: Any) -> Answer:
        return sender.deliver(payload(event_type, **changes))

    return send


@pytest.fixture
def work(inbox: Inbox) -> Callable[[], None]:
    """Run the worker until nothing is due."""

    def drain() -> None:
        while process_next(inbox, "test worker", TimeLimit()):
            pass

    return drain


@pytest.fixture
def session(inbox: Inbox) -> Iterator[Session]:
    """A fresh look at the database."""
    with reading(inbox.engine) as session:
        yield session


@pytest.fixture
def stored(inbox: Inbox) -> Callable[[str], StoredEvent]:
    """The inbox row of an event ID, as it is now."""

    def find(event_id: str) -> StoredEvent:
        with reading(inbox.engine) as session:
            return session.scalars(sa.select(StoredEvent).where(StoredEvent.event_id == event_id)).one()

    return find


@pytest.fixture
def rows_read(inbox: Inbox) -> Callable[[Callable[[], object]], int]:
    """How many rows of `events` PostgreSQL reads while something is done, on one connection."""

    def read() -> int:
        with inbox.engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_stat_force_next_flush()"))
        with inbox.engine.begin() as connection:
            total = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'events'"
            return int(connection.scalar(sa.text(total)) or 0)

    def count(do: Callable[[], object]) -> int:
        before = read()
        do()
        return read() - before

    return count


@pytest.fixture
def perform(
    sender: Sender, payload: Callable[..., dict[str, Any]], work: Callable[[], None], stored: Any, inbox: Inbox
) -> Callable[..., StoredEvent]:
    """Deliver an event and run its handler, twice, as life does. Fails with the handler's error."""

    def run(event_type: str, **changes: Any) -> StoredEvent:
        sent = payload(event_type, **changes)
        assert sender.deliver(sent).status == 200
        work()
        replay(inbox, stored(sent["event_id"]).id, actor="test")
        work()
        row = stored(sent["event_id"])
        assert row.state == "processed", row.last_error
        return row

    return run


@pytest.fixture
def csrf_token() -> Callable[[Any], str]:
    """The token of the form on a page."""

    def find(response: Any) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', response.text)
        assert found, response.text
        return found[1]

    return find


@pytest.fixture
def add_user(inbox: Inbox) -> Callable[..., str]:
    """Add a user with the password that all have here; the name."""
    return partial(insert_user, inbox)


@pytest.fixture
def signed_in(app: Flask, add_user: Callable[..., str], csrf_token: Callable[[Any], str]) -> Callable[..., Any]:
    """A browser that signed in as a user of the role."""
    added: set[str] = set()

    def sign_in(role: str = "operator", password: str = PASSWORD) -> Any:
        name = {"operator": "siti", "viewer": "devi"}[role]
        if name not in added:
            added.add(add_user(name, role))
        client: Any = app.test_client()
        form = {"name": name, "password": password, "csrf_token": csrf_token(client.get("/sign-in"))}
        client.response = client.post("/sign-in", data=form)
        return client

    return sign_in


@pytest.fixture(autouse=True)
def _forget_handlers_of_the_test() -> Iterator[None]:
    registry.discover("app")
    before = registry.present()
    yield
    registry.restore(before)


@pytest.fixture(autouse=True)
def _alarm_is_off() -> Iterator[None]:
    yield
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def insert_user(inbox: Inbox, name: str, role: str = "operator") -> str:
    """Add a user with the password that all have here; the name.

    Their hash is quick to compare: one as slow as `users add` makes costs a tenth of a second at each sign-in.
    """
    row = {"name": name, "password_hash": _QUICK_HASH, "role": role, "created_at": inbox.now()}
    with writing(inbox.engine) as session:
        session.execute(sa.insert(User).values(row))
    return name


@contextmanager
def _server() -> Iterator[Postgres]:
    # Not in pytest's folder, which keeps three runs only: a fourth would delete a server that is running.
    with TemporaryDirectory(prefix="senang-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder) / "data")
        server.make_template(lambda url: _migrate(_settings(url)))
        yield server
        server.stop()


def _settings(url: str) -> Settings:
    return load_settings(ENVIRONMENT | {"DATABASE_URL": url})


def _migrate(settings: Settings) -> None:
    app = create_app(settings)
    with app.app_context():
        upgrade(revision="heads")
        app.extensions["inbox"].close()


forget_the_shell()
work_in_memory()
# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
