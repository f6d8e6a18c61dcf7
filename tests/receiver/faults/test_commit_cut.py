"""The connection to PostgreSQL breaks at COMMIT: did it arrive or not? Either way nothing is lost or done twice."""

import json
from itertools import count

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from receiver.database.engine import reading
from receiver.privacy.sealing import unseal
from receiver.registry import handles
from receiver.store.models import AuditEntry, StoredEvent
from receiver.worker.batch import BatchInterrupted
from receiver.worker.leases import recover
from tests.receiver.faults.wire import cutting_proxy
from tests.receiver.partner.models import ProbePayment

before_and_after = pytest.mark.parametrize("cut", ["before", "after"])


@pytest.fixture
def proxy(postgres, partner_package):
    with postgres.migrated(partner_package) as uri, cutting_proxy(uri) as proxy:
        yield proxy


@pytest.fixture
def database(proxy):
    return proxy.url


@pytest.fixture(autouse=True)
def _no_first_connection_anymore(inbox):
    """SQLAlchemy's very first connection commits too, to look up types: that is not the COMMIT that we mean."""
    inbox.engine.connect().close()


@pytest.fixture
def body(payload):
    return json.dumps(payload("payment.success", event_id="evt_1")).encode()


@pytest.fixture
def paying_once_cut(proxy, cut):
    """A handler whose every run leaves a payment of its own. Its first run has the settlement's COMMIT cut."""
    runs = count(1)

    @handles("test.event")
    def pay(event, session):
        run = next(runs)
        session.add(
            ProbePayment(
                reference=f"run {run}", status="paid", rank=0, occurred_at=event.occurred_at, event_id=event.id
            )
        )
        if run == 1:
            proxy.cut_at_next_commit(cut)


@pytest.fixture
def effects(inbox):
    """The payments that there are."""

    def find():
        with reading(inbox.engine) as session:
            return session.scalars(sa.select(ProbePayment.reference)).all()

    return find


@pytest.fixture
def attempts(inbox):
    """What the audit log says of the attempts, in order."""

    def find():
        with reading(inbox.engine) as session:
            attempts = sa.select(AuditEntry.result).where(AuditEntry.action == "attempt")
            return session.scalars(attempts.order_by(AuditEntry.id)).all()

    return find


@before_and_after
def test_a_delivery_that_is_cut_once_is_stored_on_a_fresh_connection_and_is_new_to_its_sender(
    cut, proxy, sender, body, stored
):
    proxy.cut_at_next_commit(cut)

    answer = sender.deliver(body)

    assert (answer.status, answer.json["status"], proxy.cuts) == (200, "accepted", [cut])
    assert (stored("evt_1").state, stored("evt_1").deliveries) == ("pending", 1)


@before_and_after
@pytest.mark.parametrize("kind", ["duplicate", "quarantined"])
def test_a_delivery_that_is_no_new_event_is_tried_again_on_a_fresh_connection_too(
    kind, cut, proxy, sender, body, session
):
    sent = body if kind == "duplicate" else b"not json"
    sender.deliver(sent)
    proxy.cut_at_next_commit(cut)

    answer = sender.deliver(sent)

    assert (answer.status, answer.json["status"], proxy.cuts) == (200, kind, [cut])
    assert len(session.scalars(sa.select(StoredEvent)).all()) == 1


def test_a_delivery_that_is_cut_before_its_commit_again_and_again_is_answered_503_and_leaves_nothing(
    proxy, sender, body, session
):
    proxy.cut_at_next_commit("before", "before")

    answer = sender.deliver(body)

    assert (answer.status, "Retry-After" in answer.headers, proxy.cuts) == (503, True, ["before", "before"])
    assert session.scalars(sa.select(StoredEvent)).all() == []
    assert session.scalars(sa.select(AuditEntry)).all() == []


def test_a_delivery_that_is_cut_after_its_commit_again_and_again_is_answered_503_and_is_whole_in_the_inbox(
    proxy, sender, body, stored, inbox
):
    proxy.cut_at_next_commit("after", "after")

    answer = sender.deliver(body)

    row = stored("evt_1")
    assert (answer.status, "Retry-After" in answer.headers, proxy.cuts) == (503, True, ["after", "after"])
    assert unseal(row.sealed_payload, row=row.seal_id, keys=inbox.settings.payload_keys) == body
    assert row.state == "pending"


@pytest.mark.parametrize(("cut", "status"), [("before", "accepted"), ("after", "duplicate")])
def test_the_retry_of_a_delivery_that_was_cut_has_one_effect(
    cut, status, proxy, sender, body, work, stored, effects, attempts
):
    proxy.cut_at_next_commit(cut, cut)
    sender.deliver(body)

    retried = sender.deliver(body)
    work()

    assert (retried.status, retried.json["status"], proxy.cuts) == (200, status, [cut, cut])
    assert stored("evt_1").state == "processed"
    assert (len(effects()), attempts()) == (1, ["processed"])


@before_and_after
@pytest.mark.usefixtures("paying_once_cut")
def test_a_settlement_that_is_cut_has_its_effect_exactly_once(
    cut, proxy, deliver, work, clock, stored, effects, attempts
):
    deliver("test.event", event_id="evt_1")
    with pytest.raises(BatchInterrupted):
        work()

    clock.advance(hours=2)
    work()

    assert proxy.cuts == [cut]
    assert effects() == ["run 2" if cut == "before" else "run 1"]
    assert (stored("evt_1").state, stored("evt_1").last_error) == ("processed", None)
    assert (attempts().count("processed"), attempts()[-1]) == (1, "processed")


@before_and_after
def test_a_claim_that_is_cut_is_taken_again_after_its_lease_and_has_its_effect_exactly_once(
    cut, proxy, sender, body, work, clock, stored, effects, attempts
):
    sender.deliver(body)
    proxy.cut_at_next_commit(cut)
    with pytest.raises(OperationalError):
        work()

    clock.advance(hours=2)
    work()

    assert proxy.cuts == [cut]
    assert stored("evt_1").state == "processed"
    assert (len(effects()), attempts().count("processed"), attempts()[-1]) == (1, 1, "processed")


@before_and_after
def test_a_worker_whose_claim_was_cut_recovers_at_once_and_no_attempt_is_charged_for_it(
    cut, proxy, sender, body, work, inbox, stored, attempts
):
    sender.deliver(body)
    proxy.cut_at_next_commit(cut)
    with pytest.raises(OperationalError):
        work()

    recover(inbox, "test worker", begun=0, died=False)
    work()

    assert (stored("evt_1").state, stored("evt_1").attempts) == ("processed", 1)
    assert "worker lost" not in attempts()


def test_a_batch_that_loses_the_database_charges_the_attempt_that_was_under_way_and_no_other(
    proxy, deliver, work, inbox, stored, clock
):
    @handles("test.event")
    def fail_and_cut(event, session):
        if not proxy.cuts:
            proxy.cut_at_next_commit("before")
            raise RuntimeError("the record of this failure is cut")

    for number in range(3):
        deliver("test.event", event_id=f"evt_{number}")
    with pytest.raises(BatchInterrupted) as interrupted:
        work()

    recover(inbox, "test worker", begun=interrupted.value.begun, died=False)
    clock.advance(seconds=2)  # a worker looks for lost leases once a second
    work()

    assert [stored(f"evt_{number}").state for number in range(3)] == ["processed"] * 3
    assert [stored(f"evt_{number}").attempts for number in range(3)] == [2, 1, 1]
