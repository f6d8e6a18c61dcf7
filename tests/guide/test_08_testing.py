"""§8 Testing webhooks: the four cases of §8.2 first."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from app.handlers.models import Policy
from app.inbox.models import AuditEntry, StoredEvent
from app.sandbox.sender import Sender, post_over_http
from tests.databases import both_databases, on_own_postgresql
from tests.processes import eventually, running

clause = pytest.mark.clause


@clause("8.2")
@both_databases
def test_successful_event_delivery(deliver, work, session):
    answer = deliver("policy.issued", policy_id="POL-7")
    work()

    assert answer.status == 200
    assert session.get(Policy, "POL-7").status == "issued"


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
    assert session.get(Policy, "POL-7").status == "issued"


@clause("8.2")
@on_own_postgresql
def test_endpoint_downtime_postgresql_stops_for_a_while_and_web_and_worker_recover_by_themselves(
    own_postgres, environment, database, inbox, payload, session
):
    settings = environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR", "EMBEDDED_WORKER": "0"}
    with running(settings) as receiver:
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
    assert session.get(Policy, "POL-7").status == "issued"
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
def test_trigger_sends_every_type_from_another_process_and_each_is_processed(environment, database):
    settings = environment | {"DATABASE_URL": database, "LOG_LEVEL": "ERROR"}

    with running(settings, EMBEDDED_WORKER="0") as receiver:
        receiver.web()
        sent = receiver.flask("senang", "trigger", "all", "--to", receiver.url)
        receiver.flask("worker", "--drain")
        listed = receiver.flask("events", "list")

    assert sent.stdout.count("accepted") == 8
    assert listed.stdout.count(" processed ") == 8


@clause("8.3")
def test_live_refuses_a_database_that_holds_sandbox_events(deliver, environment, database):
    deliver()
    settings = environment | {"DATABASE_URL": database, "SENANG_ENVIRONMENT": "live"}

    with running(settings, EMBEDDED_WORKER="0", REQUIRE_HTTPS="1") as receiver:
        receiver.web()

        assert not receiver.answers("/readyz")


@clause("8.3")
def test_trigger_never_signs_with_a_live_secret(environment, database):
    settings = environment | {"DATABASE_URL": database, "SENANG_ENVIRONMENT": "live"}

    with running(settings) as receiver:
        refused = receiver.flask("senang", "trigger", "payment.success", check=False)

    assert refused.returncode == 1
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
