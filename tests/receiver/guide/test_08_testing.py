"""§8 Testing webhooks: the four cases of §8.2 first."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from receiver import create_app
from receiver.clock import Clock
from receiver.config import load_settings
from receiver.ingest.intake import close_all
from receiver.sandbox.sender import Sender, post_over_http
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from receiver.worker.batch import process_next
from receiver.worker.workbench import Workbench
from tests.receiver.databases import on_own_postgresql
from tests.receiver.partner.models import ProbePolicy
from tests.receiver.processes import running
from tests.receiver.settings import LIVE

clause = pytest.mark.clause


@clause("8.2")
@both_databases
def test_successful_event_delivery(deliver, work, session):
    answer = deliver("policy.issued", policy_id="POL-7")
    work()

    assert answer.status == 200
    assert session.get(ProbePolicy, "POL-7").status == "issued"


@clause("8.2")
@both_databases
def test_invalid_signature_handling(sender, payload, session):
    sender.key = b"x" * 32

    answer = sender.deliver(payload())

    assert answer.status == 401
    assert session.scalars(sa.select(StoredEvent)).all() == []


@clause("8.2")
def test_endpoint_downtime_the_database_goes_away_the_sender_retries_and_there_is_one_effect(
    sender, payload, inbox, work, session
):
    blocker = inbox.engine.execution_options(sqlite_begin="EXCLUSIVE").connect()
    blocker.begin()
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            blocker.close()

    answer = sender.deliver_until_accepted(payload("policy.issued", policy_id="POL-7"), wait=wait)
    work()

    assert (answer.status, waits) == (200, sorted(waits))
    assert len(waits) == 2
    assert session.get(ProbePolicy, "POL-7").status == "issued"


@clause("8.2")
@on_own_postgresql
def test_endpoint_downtime_postgresql_stops_for_a_while_and_web_and_worker_recover_by_themselves(
    own_postgres, environment, database, inbox, payload, session
):
    settings = environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR", "EMBEDDED_WORKER": "0"}
    with running(settings, WEB_CONCURRENCY="1") as receiver:
        web, worker = receiver.web(), receiver.worker()
        sender, answers = _noting_answers(receiver.url, inbox)
        sender.deliver(payload(event_id="before"))
        eventually(lambda: _processed(inbox, "before") == 1)

        own_postgres.kill()
        with ThreadPoolExecutor(1) as senang:
            sent = payload("policy.issued", event_id="during", policy_id="POL-7")
            delivered = senang.submit(sender.deliver_until_accepted, sent, attempts=12)
            eventually(lambda: len(answers) > 4)  # more than a second: the worker meets the downtime too
            own_postgres.start()
            delivered.result()
        eventually(lambda: _processed(inbox, "during") > 0)

        assert [answer.status for answer in answers[1:]] == [503] * (len(answers) - 2) + [200]
        assert (web.poll(), worker.poll()) == (None, None)
    assert session.get(ProbePolicy, "POL-7").status == "issued"
    assert _processed(inbox, "during") == 1


@clause("8.2")
@both_databases
def test_duplicate_event_handling(sender, payload, work, session):
    sent = payload("policy.issued", event_id="evt_1")

    answers = [sender.deliver(sent).json["status"] for _ in range(3)]
    work()

    assert answers == ["accepted", "duplicate", "duplicate"]
    assert session.scalars(sa.select(StoredEvent.deliveries)).all() == [3]


@clause("8.1")
def test_trigger_sends_every_type_from_another_process_and_each_is_processed(environment, database, work, session):
    settings = environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR"}

    with running(settings, EMBEDDED_WORKER="0") as receiver:
        receiver.web()
        sent = receiver.flask("senang", "trigger", "all", "--to", receiver.url)
    work()

    assert sent.stdout.count("accepted") == 8
    assert session.scalars(sa.select(StoredEvent.state)).all() == ["processed"] * 8


@pytest.fixture
def live(environment, database):
    """The same database under `live`."""
    settings = environment | LIVE | {"DATABASE_URL": database}
    app = create_app(load_settings(settings), Clock())
    yield app
    close_all(app)


@pytest.fixture
def deliver_live(live, sender, payload):
    """Deliver to `live`, by HTTPS."""
    settings = live.extensions["inbox"].settings
    sender = Sender(sender.url, settings.scheme, settings.signature_keys[0], sender.clock)

    def send(body=None, **changes):
        signed = sender.signed(body or json.dumps(payload(**changes)).encode())
        return live.test_client().post("https://x/webhooks/senang", data=signed.body, headers=dict(signed.headers))

    return send


@clause("8.3")
@both_databases
def test_live_stores_nothing_in_a_database_that_holds_sandbox_events(deliver, deliver_live, session):
    deliver(event_id="of_the_sandbox")

    answers = [
        deliver_live(event_id="new"),
        deliver_live(event_id="of_the_sandbox"),
        deliver_live(b"not json"),
    ]

    assert [(answer.status_code, "Retry-After" in answer.headers) for answer in answers] == [(503, True)] * 3
    assert session.scalars(sa.select(StoredEvent.event_id)).all() == ["of_the_sandbox"]


@clause("8.3")
def test_live_accepts_into_a_database_of_its_own_and_notices_when_the_sandbox_gets_in(deliver, deliver_live, live):
    first = deliver_live(event_id="evt_1")
    deliver(event_id="of_the_sandbox")

    eventually(lambda: deliver_live().status_code == 503)

    assert first.status_code == 200


@clause("8.3")
def test_a_worker_of_live_runs_no_handler_on_a_database_that_holds_sandbox_events(deliver, live, stored):
    deliver(event_id="of_the_sandbox")

    worked = process_next(Workbench(live.extensions["inbox"], "worker"))

    assert (worked, stored("of_the_sandbox").state) == (0, "pending")


@clause("8.3")
@pytest.mark.parametrize(
    "command", ["worker --drain", "events replay --state dead", "events purge", "events reseal", "events remask"]
)
def test_no_command_of_live_acts_on_a_database_that_holds_sandbox_events(deliver, live, command):
    deliver()

    refused = live.test_cli_runner().invoke(args=command.split())

    assert refused.exit_code == 78
    assert "this database holds sandbox events" in refused.stderr


@clause("8.3")
def test_gunicorn_refuses_to_start_live_on_a_database_that_holds_sandbox_events(deliver, environment, database):
    deliver()
    settings = environment | LIVE | {"DATABASE_URL": database}

    with running(settings, EMBEDDED_WORKER="0") as receiver:
        web = receiver.web()

        assert web.wait(PATIENCE_SECONDS) == 78


@clause("8.3")
def test_gunicorn_starts_live_while_its_database_is_away(environment):
    away = LIVE | {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/nowhere"}

    with running(environment | away, EMBEDDED_WORKER="0", WEB_CONCURRENCY="1") as receiver:
        receiver.web()

        assert receiver.answers("/healthz")


@clause("8.3")
def test_trigger_never_signs_with_a_live_secret(live):
    refused = live.test_cli_runner().invoke(args=["senang", "trigger", "payment.success"])

    assert refused.exit_code == 1
    assert "live" in refused.stderr


def _noting_answers(url, inbox):
    """A sender over the network, and a list that every answer is added to."""
    answers = []

    def post(*request):
        answers.append(post_over_http(*request))
        return answers[-1]

    return Sender(url, inbox.settings.scheme, inbox.settings.signature_keys[0], inbox.clock, post), answers


def _processed(inbox, event_id):
    """How many attempts succeeded."""
    succeeded = sa.select(sa.func.count()).where(AuditEntry.event_id == event_id, AuditEntry.result == "processed")
    with inbox.engine.connect() as connection:
        return connection.scalar(succeeded)
