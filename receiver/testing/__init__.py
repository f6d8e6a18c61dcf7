"""The fixtures for your tests, as a pytest plugin: `pytest_plugins = ["receiver.testing"]` in a conftest.py.

    def test_a_payment_is_kept(perform, session):
        perform("payment.success", transaction_id="TXN-7", data={"amount": "99.50"})

        assert session.get(Payment, "TXN-7").status == "paid"

Each test has a receiver of its own: your `create_app()`, on an empty database with your tables and ours. There is no
network and no second process. What you need most:

- `perform(type, **changes)` delivers an event and runs its handler twice, as in production. It returns the event's row.
- `deliver(type, **changes)` only delivers; `work()` runs the handlers of what is due; `stored(event_id)` is the row.
- `work()` also does the follow-ups that are due. `follow_ups(event_id)` are the rows of those that a handler asked for.
  `mail_server` and `other_system` are the other side: they keep what they hear (receiver/testing/others.py).
- `session` reads the database. `clock.advance(hours=1)` moves the receiver's clock.
- `app` is the Flask app: `app.test_client()`, `app.test_cli_runner()`. `signed_in("viewer")` is such a client after a
  sign-in, `signed_in()` that of an operator.
- `environment` holds the settings. A fixture of yours, or a test that asks for it first, may change them.
- `@both_databases` runs a test on SQLite and on PostgreSQL; `pytest -m "not postgresql"` leaves PostgreSQL out.

`changes` are fields of the envelope: event_id, timestamp, transaction_id, policy_id, claim_id, status, data. None
leaves a field out. Your package may have samples of its own: see receiver/sandbox/samples.py.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_migrate import upgrade
from jinja2 import FileSystemBytecodeCache
from sqlalchemy.orm import Session
from werkzeug.security import generate_password_hash

from receiver import assembly, discovery, registry
from receiver.actions.replay import replay
from receiver.clock import Clock
from receiver.config import load_settings
from receiver.database.engine import reading, writing
from receiver.ingest.intake import close_all
from receiver.privacy.masking import show_more
from receiver.sandbox.samples import own_samples, sample
from receiver.sandbox.sender import Answer, Sender
from receiver.store.inbox import Inbox
from receiver.store.models import StoredEvent, User
from receiver.testing.others import MailServer, OtherSystem, listening
from receiver.testing.postgresql import WHEEL, Postgres
from receiver.worker.batch import process_next
from receiver.worker.workbench import Workbench

both_databases = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)

ENVIRONMENT = {
    "SENANG_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "PAYLOAD_KEYS": "8f1c2b7d4e5a69780123456789abcdef0fedcba98765432113579bdf02468ace",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "HANDLER_TIMEOUT": "5",
}
"""The settings of a receiver under test. Everybody knows these secrets, so `live` refuses them."""
PASSWORD = "correct horse battery"  # noqa: S105 - of nobody
"""The password of every user in a test."""
MOST_STATEMENTS = 2000
_QUICK_HASH = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")


class _Statements(dict[Any, Any]):
    """Compiled SQL for the engines of all tests. A receiver compiles a statement once, and each test has a new one.

    SQLAlchemy keeps what it compiled by the engine's dialect, among others. Dialects of a class compile alike.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        if len(self) >= MOST_STATEMENTS:
            self.clear()
        super().__setitem__(_of_any_engine(key), compiled)


def _of_any_engine(key: Any) -> Any:
    dialect, *statement = key
    return type(dialect), *statement


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark of this plugin known."""
    config.addinivalue_line("markers", "postgresql: needs PostgreSQL, which is started for the first such test")


@pytest.fixture(scope="session")
def partner_package() -> str:
    """The package under test: what PARTNER_PACKAGE is by default. Override the fixture where it is another one."""
    return load_settings(ENVIRONMENT).partner_package


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A migrated SQLite file with the tables of a package, to be copied."""
    made: dict[str, Path] = {}

    def template(package: str) -> Path:
        if package not in made:
            made[package] = tmp_path_factory.mktemp("sqlite") / "template.db"
            migrate(f"sqlite:///{made[package]}", package)
        return made[package]

    return template


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server. Without the wheel that brings it, the test is skipped."""
    if find_spec(WHEEL) is None:
        pytest.skip(f"there is no PostgreSQL: install {WHEEL}, which is in requirements-dev.txt")
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest, partner_package: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty database: on SQLite, or on what the test's parameter says."""
    kind = getattr(request, "param", "sqlite")
    if kind != "sqlite":
        server: Postgres = request.getfixturevalue("own_postgres" if kind == "own postgresql" else "postgres")
        with server.migrated(partner_package) as url:
            yield url
    else:
        template: Callable[[str], Path] = request.getfixturevalue("sqlite_template")
        shutil.copy(template(partner_package), tmp_path / "receiver.db")
        yield f"sqlite:///{tmp_path / 'receiver.db'}"


@pytest.fixture
def environment(partner_package: str) -> dict[str, str]:
    """The settings; a test may change them before it asks for `app`."""
    return ENVIRONMENT | {"PARTNER_PACKAGE": partner_package}


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Each app compiles its templates anew, for a tenth of a second and more; those of a test run compile them once."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture(scope="session")
def compiled_statements() -> dict[Any, Any]:
    """Each engine compiles its SQL anew, which is a third of what a test costs; those of a test run share it."""
    return _Statements()


@pytest.fixture
def delivery_seconds() -> float:
    """How long a delivery may take to be stored: more than in life, because a test's machine may be busy."""
    return 30.0


@pytest.fixture
def assemble(
    database: str,
    delivery_seconds: float,
    compiled_templates: FileSystemBytecodeCache,
    compiled_statements: dict[Any, Any],
) -> Iterator[Callable[[dict[str, str]], Flask]]:
    """Receivers by their settings, as wsgi.py has them, on the test's database if they name no other."""
    apps = []

    def make(settings: dict[str, str]) -> Flask:
        loaded = load_settings({"DATABASE_URL": database} | settings)
        app = assembly.partners_app(replace(loaded, delivery_seconds=delivery_seconds), Clock())
        app.jinja_env.bytecode_cache = compiled_templates
        app.extensions["inbox"].engine.update_execution_options(compiled_cache=compiled_statements)
        apps.append(app)
        return app

    yield make
    for app in apps:
        close_all(app)


@pytest.fixture
def app(environment: dict[str, str], assemble: Callable[[dict[str, str]], Flask]) -> Flask:
    """The receiver of the test: without a context of its own, for each request must get a fresh one, as in life."""
    return assemble(environment)


@pytest.fixture
def inbox(app: Flask) -> Inbox:
    """What the receiver keeps its events in."""
    found: Inbox = app.extensions["inbox"]
    return found


@pytest.fixture
def clock(inbox: Inbox) -> Clock:
    """The receiver's clock. `clock.advance(minutes=5)` moves it."""
    return inbox.clock


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
    settings = inbox.settings
    own = own_samples(settings.partner_package)

    def make(event_type: str = "payment.success", **changes: Any) -> dict[str, Any]:
        return sample(event_type, fields=settings.payload_fields, now=inbox.clock.now(), own=own, **changes)

    return make


@pytest.fixture
def deliver(sender: Sender, payload: Callable[..., dict[str, Any]]) -> Callable[..., Answer]:
    """Deliver an event of a type, signed."""

    def send(event_type: str = "payment.success", **changes: Any) -> Answer:
        return sender.deliver(payload(event_type, **changes))

    return send


@pytest.fixture
def workbench(inbox: Inbox) -> Workbench:
    """What the worker of the test remembers from one batch to the next."""
    return Workbench(inbox, "test worker", random=Random(0))  # noqa: S311 - the same in each run


@pytest.fixture
def work(workbench: Workbench) -> Callable[[], None]:
    """Run the worker until nothing is due."""

    def drain() -> None:
        while process_next(workbench):
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
def follow_ups(inbox: Inbox, stored: Callable[[str], StoredEvent]) -> Callable[[str], list[StoredEvent]]:
    """What the handler of an event asked for, as it is now, the first one first."""

    def find(event_id: str) -> list[StoredEvent]:
        asked = sa.select(StoredEvent).where(StoredEvent.caused_by == stored(event_id).id).order_by(StoredEvent.id)
        with reading(inbox.engine) as session:
            return list(session.scalars(asked))

    return find


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A mail server on loopback: `mail_server.url`, and the `messages` that came."""
    with listening(MailServer()) as server:
        yield server


@pytest.fixture
def other_system() -> Iterator[OtherSystem]:
    """Another system over HTTP on loopback: `other_system.url`, and the `calls` that came."""
    with listening(OtherSystem()) as server:
        yield server


@pytest.fixture
def handled() -> list[str]:
    """The event types and patterns that have a handler."""
    return [pattern for pattern, _ in registry.registered()]


@pytest.fixture
def perform(
    sender: Sender,
    payload: Callable[..., dict[str, Any]],
    work: Callable[[], None],
    stored: Callable[[str], StoredEvent],
    inbox: Inbox,
) -> Callable[..., StoredEvent]:
    """Deliver an event and run its handler twice, as happens in production. Fails with the handler's error."""

    def run(event_type: str, **changes: Any) -> StoredEvent:
        sent = payload(event_type, **changes)
        answer = sender.deliver(sent)
        assert answer.status == 200, answer
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
def _handlers_of_the_package(partner_package: str) -> Iterator[None]:
    """A test may register handlers of its own. They are forgotten after it. No other package has a say in it."""
    registry.keep_only(partner_package)
    discovery.discover(partner_package)
    show_more(*discovery.own_words(partner_package))
    before = registry.present()
    yield
    registry.restore(before)


def insert_user(inbox: Inbox, name: str, role: str = "operator") -> str:
    """Add a user with the password that all have here; the name.

    Their hash is quick to compare: one as slow as `users add` makes costs a tenth of a second at each sign-in.
    """
    row = {"name": name, "password_hash": _QUICK_HASH, "role": role, "created_at": inbox.now()}
    with writing(inbox.engine) as session:
        session.execute(sa.insert(User).values(row))
    return name


@contextmanager
def postgres_server(make: Callable[[Path, Callable[[str, str], None]], Postgres] = Postgres) -> Iterator[Any]:
    """A server that ends with the block."""
    # Not in pytest's folder, which keeps three runs only: a fourth would delete a server that is running.
    with TemporaryDirectory(prefix="senang-postgres-", ignore_cleanup_errors=True) as folder:
        server = make(Path(folder) / "data", migrate)
        try:
            yield server
        finally:
            server.stop()


def migrate(url: str, package: str) -> None:
    """Build the tables of the receiver and of the partner's package, by their migrations."""
    app = assembly.create_app(load_settings(ENVIRONMENT | {"DATABASE_URL": url, "PARTNER_PACKAGE": package}))
    with app.app_context():
        upgrade(revision="heads")
        app.extensions["inbox"].close()
