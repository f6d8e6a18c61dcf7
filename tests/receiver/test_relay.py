"""`senang relay`: from the inbox of one receiver to the front door of another, over the network.

Where it is stopped or asks at a terminal it is a process; the receiver that it relays to runs in this one.
"""

import json
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, make_transient

from receiver.actions.relay import Waiting, take_body
from receiver.database.engine import reading
from receiver.privacy.sealing import unseal
from receiver.sandbox.loopback import held_port
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing.waiting import eventually
from tests import inherited
from tests.receiver.databases import on_postgresql, postgresql_and_sqlite_in_long_runs
from tests.receiver.processes import ROOT
from tests.receiver.served import served
from tests.receiver.settings import LIVE

SECRET = "the laptop's very own secret"
THEIRS = {
    "SENANG_WEBHOOK_SECRETS": SECRET,
    "SENANG_SIGNATURE_SCHEME": "stripe",
    "PAYLOAD_KEYS": "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210",
}


@pytest.fixture
def environment(environment):
    """All of them but the relay may run in this process here, and keep out of what the relay prints."""
    return environment | {"LOG_LEVEL": "ERROR"}


class Laptop:
    """The other receiver, with a secret, a scheme and a database of its own. It answers from `start()` on."""

    def __init__(self, app, url, place):
        self._app, self._place = app, place
        self.url, self.host = url, urlsplit(url).netloc
        self.inbox = app.extensions["inbox"]

    def start(self):
        self._place.enter_context(served(self._app, urlsplit(self.url).port))


@pytest.fixture
def place():
    with ExitStack() as place:
        yield place


@pytest.fixture
def laptop_url(place):
    """Nobody answers there yet."""
    return f"http://127.0.0.1:{held_port(place)}/webhooks/senang"


@pytest.fixture
def home(environment, database, app):
    """The settings of the sandbox whose events are relayed, on the same database as `deliver()` and `inbox`."""
    return environment | {"DATABASE_URL": database, "RELAY_SECRET": SECRET}


@pytest.fixture
def theirs(environment):
    """The laptop's settings."""
    return environment | THEIRS


@pytest.fixture
def laptop(theirs, assemble, laptop_url, place, sqlite_template, partner_package, tmp_path):
    database = tmp_path / "laptop.db"
    database.write_bytes(sqlite_template(partner_package).read_bytes())
    return Laptop(assemble(theirs | {"DATABASE_URL": f"sqlite:///{database}"}), laptop_url, place)


@pytest.fixture
def relay(environment, assemble, app, laptop):
    """Relay everything that is there, and stop."""

    def run(*arguments, scheme=("--scheme", "stripe"), secret=SECRET, settings=environment):
        command = ["senang", "relay", "--to", laptop.url, *scheme, "--once", *arguments]
        return assemble(settings | {"RELAY_SECRET": secret}).test_cli_runner().invoke(args=command)

    return run


@pytest.fixture
def arrived(laptop):
    """The bodies in the laptop's inbox, in the order in which they arrived."""

    def bodies():
        with reading(laptop.inbox.engine) as session:
            rows = session.scalars(sa.select(StoredEvent).order_by(StoredEvent.id)).all()
        keys = laptop.inbox.settings.payload_keys
        return [unseal(row.sealed_payload, row=row.seal_id, keys=keys) for row in rows]

    return bodies


@pytest.fixture
def arrived_ids(arrived):
    return lambda: [json.loads(body)["event_id"] for body in arrived()]


@contextmanager
def relaying(home, folder, *arguments):
    """`senang relay` while it runs, as a process, and what it has said so far."""
    log = folder / "relay.log"
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "senang", "relay", *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=inherited() | home, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        eventually(lambda: process.poll() is not None or "Relaying to" in log.read_text())
        yield process, log.read_text
    finally:
        process.kill()
        process.wait()


@postgresql_and_sqlite_in_long_runs
def test_verified_events_arrive_byte_for_byte_and_in_order_under_another_secret_and_scheme(
    relay, laptop, arrived, sender, session
):
    odd = '{ "event_id":"evt_%d", "event_type": "policy.issued",\t"timestamp":1700000000, "name":"Nurül" }\n'
    bodies = [(odd % number).encode() for number in (3, 1, 2)]
    laptop.start()
    answers = [sender.deliver(body) for body in (bodies[0], b"quarantined: no JSON", *bodies[1:])]

    done = relay("--from", "start")

    printed = [line for line in done.stdout.splitlines() if "evt_" in line]
    assert done.exit_code == 0
    assert [answer.status for answer in answers] == [200] * 4
    assert arrived() == bodies
    assert [line.split()[1:5] for line in printed] == [
        ["policy.issued", f"evt_{number}", "200", "accepted"] for number in (3, 1, 2)
    ]
    assert SECRET not in done.output
    assert _audited(session) == [(f"evt_{number}", f"relayed to {laptop.host}") for number in (3, 1, 2)]


@postgresql_and_sqlite_in_long_runs
def test_a_receiver_that_is_down_holds_everything_back_until_it_is_up(
    home, laptop, arrived_ids, deliver, session, tmp_path
):
    deliver(event_id="evt_0")
    with relaying(home, tmp_path, "--to", laptop.url, "--scheme", "stripe") as (process, said):
        for number in (2, 1, 3):
            deliver(event_id=f"evt_{number}")
        eventually(lambda: said().count("no answer: ConnectionRefusedError") >= 2)
        laptop.start()
        eventually(lambda: len(arrived_ids()) == 3)
        process.send_signal(signal.SIGINT)
        ended = process.wait()

    assert arrived_ids() == ["evt_2", "evt_1", "evt_3"]
    assert (ended, said().splitlines()[-1]) == (130, "Stopped. Go on with: --from evt_3")
    assert [event_id for event_id, _ in _audited(session)] == ["evt_2", "evt_1", "evt_3"]


@pytest.mark.soak
def test_ctrl_c_says_where_to_go_on_and_nothing_is_lost(home, laptop, relay, arrived_ids, deliver, tmp_path):
    for number in (1, 2, 3):
        deliver(event_id=f"evt_{number}")
    with relaying(home, tmp_path, "--to", laptop.url, "--from", "evt_2", "--scheme", "stripe") as (process, said):
        eventually(lambda: "no answer" in said())
        process.send_signal(signal.SIGINT)
        process.wait()
    laptop.start()

    *_, place = said().split()
    relay("--from", place)

    assert place == "evt_2"
    assert arrived_ids() == ["evt_2", "evt_3"]


@pytest.mark.soak
def test_before_the_first_event_ctrl_c_names_a_row_to_go_on_from(home, laptop, relay, arrived_ids, deliver, tmp_path):
    deliver(event_id="evt_1")
    with relaying(home, tmp_path, "--to", laptop.url, "--scheme", "stripe") as (process, said):
        process.send_signal(signal.SIGINT)
        process.wait()
    deliver(event_id="evt_2")
    laptop.start()

    relay("--from", "#2")

    assert said().split()[-1] == "'#2'"
    assert arrived_ids() == ["evt_2"]


def test_a_wrong_secret_is_said_and_nothing_is_skipped(home, laptop, arrived_ids, deliver, tmp_path):
    deliver(event_id="evt_1")
    laptop.start()
    home["RELAY_SECRET"] = "not the laptop's own secret"

    with relaying(home, tmp_path, "--to", laptop.url, "--from", "start", "--scheme", "stripe") as (_, said):
        eventually(lambda: said().count("401 Unauthorized") >= 2)

    assert "check the secret" in said()
    assert arrived_ids() == []


def test_type_picks_events_by_pattern(laptop, relay, arrived_ids, deliver):
    for number, event_type in enumerate(("payment.success", "policy.issued", "claim.submitted", "policy.cancelled")):
        deliver(event_type, event_id=f"evt_{number}")
    laptop.start()

    relay("--from", "start", "--type", "policy.*", "--type", "claim.submitted")

    assert arrived_ids() == ["evt_1", "evt_2", "evt_3"]


def test_what_is_erased_or_unreadable_is_skipped_and_said(laptop, relay, arrived_ids, deliver, inbox, session):
    for number in (1, 2, 3):
        deliver(event_id=f"evt_{number}")
    _change(inbox, "evt_1", sealed_payload=None)
    laptop.start()

    erased = relay("--from", "evt_1")
    _change(inbox, "evt_2", sealed_payload=b"broken")
    unreadable = relay("--from", "evt_2")

    assert "evt_1  skipped: retention erased its payload" in erased.stdout
    assert "evt_2  skipped: its payload can't be unsealed (malformed)" in unreadable.stdout
    assert unreadable.exit_code == 1
    assert arrived_ids() == ["evt_2", "evt_3"]
    assert [event_id for event_id, _ in _audited(session)] == ["evt_2", "evt_3", "evt_3"]


def test_a_live_receiver_relays_nothing_and_a_sandbox_none_of_its_live_rows(
    environment, laptop, relay, arrived_ids, deliver, inbox
):
    deliver(event_id="evt_1")
    deliver(event_id="evt_2")
    _change(inbox, "evt_1", environment="live")
    laptop.start()

    relay("--from", "evt_1")
    refused = relay("--from", "start", settings=environment | LIVE | {"REQUIRE_HTTPS": "1"})

    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: A live receiver never passes events on. Relay from a sandbox.\n",
    )
    assert arrived_ids() == ["evt_2"]


def test_the_secret_is_asked_for_on_a_terminal_without_showing_it(home, laptop, arrived_ids, deliver):
    deliver(event_id="evt_1")
    laptop.start()
    del home["RELAY_SECRET"]
    relay = ("senang", "relay", "--to", laptop.url, "--from", "start", "--once", "--scheme", "stripe")
    terminal = [sys.executable, "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))"]
    command = [*terminal, sys.executable, "-m", "flask", "--app", "wsgi", *relay]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    with subprocess.Popen(command, cwd=ROOT, env=inherited() | home, **pipes) as process:
        shown = b""
        while b"secret: " not in shown:
            shown += process.stdout.read(1)
        process.stdin.write(f"{SECRET}\n".encode())
        process.stdin.flush()
        shown += process.stdout.read()

    assert arrived_ids() == ["evt_1"]
    assert SECRET.encode() not in shown


@pytest.mark.parametrize(
    ("secret", "start", "message"),
    [
        ("", "start", "RELAY_SECRET is not set"),
        ("short", "start", "RELAY_SECRET can't be used with stripe"),
        (SECRET, "evt_unknown", "There is no such event"),
    ],
)
def test_what_it_can_not_start_with_is_a_clear_error(relay, secret, start, message):
    refused = relay("--from", start, secret=secret)

    assert refused.exit_code == 1
    assert message in refused.stderr


@on_postgresql
def test_a_row_that_is_committed_late_is_neither_skipped_nor_overtaken(
    home, laptop, arrived_ids, deliver, inbox, tmp_path
):
    deliver(event_id="evt_late")
    row = _taken_out(inbox, "evt_late")
    with Session(inbox.engine) as late:
        late.add(row)
        late.flush()
        deliver(event_id="evt_early")
        laptop.start()
        with relaying(home, tmp_path, "--to", laptop.url, "--from", "start", "--scheme", "stripe") as (_, said):
            eventually(lambda: _waits_for_writers(inbox))
            before = said()
            late.commit()
            eventually(lambda: len(arrived_ids()) == 2)

    assert "evt_early" not in before
    assert arrived_ids() == ["evt_late", "evt_early"]


@on_postgresql
def test_a_transaction_in_its_way_is_waited_for(laptop, home, arrived_ids, deliver, inbox, tmp_path):
    deliver(event_id="evt_1")
    laptop.start()
    with inbox.engine.connect() as blocker:
        blocker.execute(sa.text("LOCK TABLE audit_log IN EXCLUSIVE MODE"))
        attempts = set()
        with relaying(home, tmp_path, "--to", laptop.url, "--from", "start", "--scheme", "stripe"):
            eventually(lambda: attempts.update(_blocked_transactions(inbox)) or len(attempts) > 1)
            blocker.rollback()
            eventually(lambda: arrived_ids() == ["evt_1"])


def test_our_own_address_in_a_signature_becomes_the_receivers(environment, theirs, laptop_url, request):
    environment |= {"SENANG_SIGNATURE_CONTENT": "{url}{id}.{timestamp}.{body}", "SENANG_SIGNATURE_URL": "https://home/"}
    secret = environment["SENANG_WEBHOOK_SECRETS"]
    theirs |= environment | {"PAYLOAD_KEYS": theirs["PAYLOAD_KEYS"], "SENANG_SIGNATURE_SCHEME": "standard-webhooks"}
    theirs |= {"SENANG_SIGNATURE_URL": laptop_url}
    laptop, relay, deliver = (request.getfixturevalue(name) for name in ("laptop", "relay", "deliver"))
    deliver(event_id="evt_1")
    laptop.start()

    result = relay("--from", "start", scheme=(), secret=secret)

    assert "evt_1  200 accepted" in result.stdout


def test_the_audit_row_fits_however_long_the_receivers_name_is(deliver, stored, inbox, session):
    deliver(event_id="evt_1")
    event = Waiting(stored("evt_1").id, "evt_1", "payment.success")

    take_body(inbox, event, f"{'long-' * 20}.trycloudflare.com")

    ((_, result),) = _audited(session)
    assert len(result) == 60
    assert result.startswith("relayed to …")
    assert result.endswith(".trycloudflare.com")


def _audited(session):
    """The events that were relayed, and where to."""
    rows = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "relay").order_by(AuditEntry.id))
    return [(row.event_id, row.result) for row in rows]


def _change(inbox, event_id, **values):
    with inbox.engine.begin() as connection:
        connection.execute(sa.update(StoredEvent).where(StoredEvent.event_id == event_id).values(**values))


def _taken_out(inbox, event_id):
    """The row, deleted, and ready to be stored again under another number."""
    with Session(inbox.engine) as session:
        row = session.scalars(sa.select(StoredEvent).where(StoredEvent.event_id == event_id)).one()
        session.delete(row)
        session.commit()
    make_transient(row)
    row.id = None
    return row


def _waits_for_writers(inbox):
    """Whether somebody asks PostgreSQL who is writing."""
    with inbox.engine.connect() as connection:
        asking = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_locks%' AND pid != pg_backend_pid()"
        )
        return connection.scalar(asking) > 0


def _blocked_transactions(inbox):
    with inbox.engine.connect() as connection:
        return connection.scalars(
            sa.text("SELECT xact_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        ).all()
