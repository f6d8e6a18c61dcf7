"""Handlers that are quick share a transaction. When one of them fails, the others run again and keep their effects."""

from contextlib import suppress
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from receiver import advance
from receiver.database.engine import writing
from receiver.registry import PermanentFailure, handles
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from receiver.testing.waiting import eventually
from receiver.worker.batch import Batch, BatchInterrupted, process_next
from receiver.worker.leases import lease_due
from receiver.worker.time_limit import HandBack, HandlerTimeout, TimeLimit
from receiver.worker.workbench import Workbench
from tests.receiver.databases import on_postgresql
from tests.receiver.partner.models import ProbePayment, ProbeRefund

FOREIGN_KEY = ("[constraint (23503)]", "[constraint (SQLITE_CONSTRAINT_FOREIGNKEY)]")


class Stopwatch:
    """Time passes when a handler says so: all others are quick, on a machine that stalls too."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def environment(environment):
    """Handlers that hang are stopped soon."""
    return environment | {"HANDLER_TIMEOUT": "2", "WORKER_BATCH": "70"}


@pytest.fixture
def stopwatch():
    return Stopwatch()


@pytest.fixture
def workbench(workbench, stopwatch):
    return replace(workbench, stopwatch=stopwatch)


@pytest.fixture
def runs():
    """The events that handlers ran for, in order."""
    return []


@pytest.fixture
def transactions():
    """Those in which handlers ran."""
    return set()


@pytest.fixture
def paying(inbox, runs, transactions, stopwatch):
    """A handler that leaves a payment. After that it does what the event says."""

    @handles("test.paying")
    def pay(event, session):
        runs.append(event.id)
        transactions.add(session.connection().get_transaction())
        session.add(
            ProbePayment(reference=event.id, status="paid", rank=0, occurred_at=event.occurred_at, event_id=event.id)
        )
        session.flush()
        if event.status == "broken":
            raise RuntimeError("broken")
        if event.status == "hopeless":
            raise PermanentFailure("hopeless")
        if event.status == "hangs":
            session.execute(sa.text("SELECT pg_sleep(60)"))
        stopwatch.seconds += {"dawdles": 0.03, "lags": 0.3, "drags": 2.0}.get(event.status, 0.0)
        if event.status == "loses its connection" and runs.count(event.id) == 1:
            lose_connection(session, inbox.engine)
        if event.status == "leaves a savepoint":
            session.begin_nested()
            session.add(
                ProbeRefund(reference=event.id, status="paid", rank=0, occurred_at=event.occurred_at, event_id=event.id)
            )
        if event.status == "is stopped" and runs.count(event.id) == 1:
            raise HandBack
        if event.status in ENDS_IT:
            ENDS_IT[event.status](session)
        if event.status == "swallows":
            with suppress(DBAPIError):
                session.execute(sa.text("SELECT nothing FROM nowhere"))


ENDS_IT = {
    "rolls its connection back": lambda session: session.connection().rollback(),
    "rolls its transaction back": lambda session: session.connection().get_transaction().rollback(),
    "rolls the driver back": lambda session: session.connection().connection.driver_connection.rollback(),
    "says ROLLBACK behind a comment": lambda session: session.execute(sa.text("/* so */ ROLLBACK")),
    "says COMMIT behind a comment": lambda session: session.execute(sa.text("-- so\n COMMIT")),
}


def lose_connection(session, engine):
    """The server ends it."""
    with engine.connect() as other:
        own = session.connection().connection.driver_connection.info.backend_pid
        other.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": own})


@pytest.fixture
def get_to_know(deliver, work, runs, transactions):
    """Let the worker see an event of a type before the test begins."""

    def process_one(event_type, event_id):
        deliver(event_type, event_id=event_id)
        work()
        runs.clear()
        transactions.clear()

    return process_one


@pytest.fixture
def known_to_be_quick(paying, get_to_know):
    """The worker has seen such an event before."""
    get_to_know("test.paying", "evt_first")


@pytest.fixture
def batch_of_five(known_to_be_quick, deliver):
    """Five due events, the third of which says what is wrong with it."""

    def deliver_five(wrong, event_type="test.paying"):
        for number in range(1, 6):
            deliver(event_type, event_id=f"evt_{number}", status=wrong if number == 3 else "paid")

    return deliver_five


@pytest.fixture
def paid(session):
    """The events that left their payment."""

    def find():
        session.rollback()
        return sorted(set(session.scalars(sa.select(ProbePayment.event_id))) - {"evt_first", "evt_second"})

    return find


@both_databases
def test_the_attempts_of_a_batch_are_settled_together(batch_of_five, work, paid, transactions, runs):
    batch_of_five("paid")

    work()

    assert len(runs) == len(paid()) == 5
    assert len(transactions) == 1


@both_databases
@pytest.mark.parametrize(
    ("wrong", "state", "says"), [("broken", "pending", "RuntimeError at"), ("hopeless", "dead", "hopeless")]
)
def test_one_that_fails_fails_alone_and_its_neighbours_run_again_and_keep_their_effects(
    batch_of_five, work, stored, paid, runs, wrong, state, says
):
    batch_of_five(wrong)

    work()

    assert [runs.count(f"evt_{number}") for number in range(1, 6)] == [2, 2, 1, 1, 1]
    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert (stored("evt_3").state, says in stored("evt_3").last_error) == (state, True)
    assert {stored(f"evt_{number}").attempts for number in range(1, 6)} == {1}


@both_databases
def test_one_that_no_key_opens_is_dead_alone(batch_of_five, inbox, work, stored, paid):
    batch_of_five("paid")
    with writing(inbox.engine) as session:
        session.execute(sa.update(StoredEvent).where(StoredEvent.event_id == "evt_3").values(sealed_payload=b"broken"))

    work()

    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert (stored("evt_3").state, {stored(f"evt_{number}").attempts for number in range(1, 6)}) == ("dead", {1})


@on_postgresql
@pytest.mark.parametrize(("wrong", "says"), [("hangs", "time limit"), ("swallows", "begin_nested")])
def test_one_that_hangs_in_sql_or_swallows_its_error_fails_alone_and_its_neighbours_keep_their_effects(
    batch_of_five, work, stored, paid, runs, wrong, says
):
    batch_of_five(wrong)

    work()

    assert [runs.count(f"evt_{number}") for number in range(1, 6)] == [2, 2, 1, 1, 1]
    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert says in stored("evt_3").last_error


@on_postgresql
def test_where_the_connection_is_lost_between_two_attempts_the_earlier_ones_run_again_and_the_later_fails(
    batch_of_five, work, stored, paid, runs
):
    batch_of_five("loses its connection")

    work()

    assert [runs.count(f"evt_{number}") for number in range(1, 6)] == [2, 2, 2, 1, 1]
    assert paid() == ["evt_1", "evt_2", "evt_3", "evt_5"]
    assert (stored("evt_4").state, stored("evt_4").attempts) == ("pending", 1)


@both_databases
def test_what_was_done_behind_a_savepoint_that_was_left_open_is_kept(batch_of_five, work, paid, session):
    batch_of_five("leaves a savepoint")

    work()

    assert session.scalars(sa.select(ProbeRefund.event_id)).all() == ["evt_3"]
    assert len(paid()) == 5


@both_databases
def test_one_that_is_stopped_half_way_leaves_nothing_of_its_work_and_all_run_again(
    batch_of_five, workbench, paying, paid, runs, stored
):
    batch_of_five("is stopped")

    with pytest.raises(HandBack):
        process_next(workbench)
    left = paid(), {stored(f"evt_{number}").attempts for number in range(1, 6)}
    while process_next(replace(workbench, limit=TimeLimit())):
        pass

    assert left == ([], {0})
    assert paid() == [f"evt_{number}" for number in range(1, 6)]


@both_databases
@pytest.mark.parametrize(
    "wrong",
    [
        "rolls its connection back",
        "rolls its transaction back",
        "rolls the driver back",
        "says ROLLBACK behind a comment",
        "says COMMIT behind a comment",
    ],
)
def test_one_that_ends_the_transaction_fails_and_takes_nothing_from_its_neighbours(
    batch_of_five, work, paid, stored, wrong
):
    batch_of_five(wrong)

    work()

    assert (paid(), stored("evt_3").state) == (["evt_1", "evt_2", "evt_4", "evt_5"], "pending")
    assert "HandlerMisuse" in stored("evt_3").last_error


@pytest.fixture
def advancing(batch_of_five, get_to_know, runs, transactions, inbox):
    """Five events whose handler sets a state by `advance()`, after what the third of them says."""
    first_done = {
        "fails before any statement": lambda _session: 1 / 0,
        "is misspelt": lambda session: session.connection().exec_driver_sql("SELEKT 1"),
        "has half a character": lambda session: session.connection().exec_driver_sql("SELECT %s", ("\ud800",)),
        "is refused": lambda session: session.connection().exec_driver_sql("SELECT 1 / 0"),
        "hangs": lambda session: session.connection().exec_driver_sql("SELECT pg_sleep(60)"),
        "copies and fails": lambda session: copy_payments(session) / 0,
        "reads in portions and fails": lambda session: session.execute(
            sa.text("SELECT 1 / 0"), execution_options={"stream_results": True}
        ),
        "forgets what was prepared": lambda session: session.execute(sa.text("DEALLOCATE ALL")),
        "sends 2 megabytes": lambda session: session.connection().exec_driver_sql(
            "SELECT length(%s)", ("x" * 2_000_000,)
        ),
        "loses its connection": lambda session: lose_connection(session, inbox.engine),
    }

    @handles("test.advancing")
    def set_state(event, session):
        runs.append(event.id)
        first_done.get(event.status, lambda _session: None)(session)
        advance(session, ProbePayment, event.id, status="paid", event=event)
        transactions.add(session.connection().get_transaction())
        if event.status == "fails after it":
            raise RuntimeError

    def deliver_five(wrong):
        get_to_know("test.advancing", "evt_second")
        batch_of_five(wrong, "test.advancing")

    return deliver_five


def copy_payments(session):
    """By the driver itself, past SQLAlchemy. Returns how many."""
    with session.connection().connection.cursor().copy("COPY probe_payments FROM STDIN") as copying:
        copying.write_row(("evt_copied", "paid", 0, "2026-01-01T00:00:00Z", "evt_copied"))
    return 1


@on_postgresql
@pytest.mark.parametrize(
    "wrong",
    [
        "fails before any statement",
        "is misspelt",
        "has half a character",
        "is refused",
        "hangs",
        "copies and fails",
        "reads in portions and fails",
        "fails after it",
    ],
)
def test_whatever_its_first_statement_is_one_that_fails_is_undone_alone(advancing, work, stored, paid, runs, wrong):
    advancing(wrong)

    work()

    assert [runs.count(f"evt_{number}") for number in range(1, 6)] == [2, 2, 1, 1, 1]
    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert stored("evt_3").state == "pending"


@on_postgresql
@pytest.mark.parametrize("strange", ["forgets what was prepared", "sends 2 megabytes"])
def test_whatever_one_does_first_its_neighbours_set_their_states_in_the_same_transaction(
    advancing, work, paid, runs, transactions, strange
):
    advancing(strange)

    work()

    assert len(runs) == len(paid()) == 5
    assert len(transactions) == 1


@both_databases
def test_of_handlers_that_begin_in_different_ways_each_fails_alone(advancing, deliver, work, stored, paid, runs):
    advancing("fails after it")
    for number, status in enumerate(("paid", "broken", "paid"), 6):
        deliver("test.paying", event_id=f"evt_{number}", status=status)
        deliver("test.advancing", event_id=f"evt_{number}a", status="paid" if number == 7 else "fails after it")

    work()

    kept = {"evt_1", "evt_2", "evt_4", "evt_5", "evt_6", "evt_7a", "evt_8"}
    assert len(set(runs)) == 11
    assert set(paid()) == kept
    assert {(stored(event_id).state, stored(event_id).attempts) for event_id in set(runs) - kept} == {("pending", 1)}


@on_postgresql
def test_where_the_connection_is_lost_before_the_first_statement_the_earlier_ones_run_again(
    advancing, work, stored, paid, runs
):
    advancing("loses its connection")

    work()

    assert [runs.count(f"evt_{number}") for number in range(1, 6)] == [2, 2, 1, 1, 1]
    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert (stored("evt_3").state, stored("evt_3").attempts) == ("pending", 1)


@on_postgresql
def test_a_statement_that_is_interrupted_costs_its_connection_and_the_server_goes_on_with_nothing(inbox, session):
    with inbox.engine.begin() as connection:
        connection.execute(sa.text("SELECT 1"))

        with pytest.raises(HandlerTimeout), TimeLimit().of(1):
            connection.exec_driver_sql("SELECT pg_sleep(60)")

        assert connection.invalidated
        connection.get_transaction().close()
    under_way = sa.text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ '^SELECT pg_sleep'")
    eventually(lambda: (session.rollback(), session.scalar(under_way))[1] == 0)


@both_databases
def test_where_one_lease_is_lost_the_others_are_run_again_and_keep_their_effects(
    batch_of_five, inbox, workbench, stored, paid, runs
):
    batch_of_five("paid")
    leases = lease_due(workbench)
    with writing(inbox.engine) as session:
        session.execute(sa.update(StoredEvent).where(StoredEvent.event_id == "evt_3").values(lease_token=None))

    with Batch(workbench, leases) as batch:
        for lease in leases:
            batch.attempt(lease)
        batch.commit()

    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert stored("evt_3").state == "pending"
    assert (runs.count("evt_1"), runs.count("evt_3")) == (2, 1)


@both_databases
def test_a_handler_that_nobody_knows_yet_has_a_transaction_to_itself(paying, deliver, work, transactions):
    for number in range(1, 4):
        deliver("test.paying", event_id=f"evt_{number}")

    work()

    assert len(transactions) == 2


@both_databases
def test_a_handler_that_was_slow_lately_has_a_transaction_to_itself(batch_of_five, work, transactions):
    batch_of_five("lags")

    work()

    together, alone = 1, 2
    assert len(transactions) == together + alone


@both_databases
def test_a_quick_handler_that_had_to_wait_once_goes_on_sharing(batch_of_five, work, transactions):
    """On a busy machine any handler has to wait for the processor now and then."""
    batch_of_five("dawdles")

    work()

    assert len(transactions) == 1


@pytest.fixture
def backlog(known_to_be_quick, deliver):
    """As many due events as asked for, all alike."""

    def send(count, status):
        for number in range(count):
            deliver("test.paying", event_id=f"evt_{number}", status=status)

    return send


@both_databases
def test_a_quick_worker_leases_as_many_events_at_once_as_the_setting_says(backlog, workbench, transactions):
    backlog(100, "paid")

    leased = [process_next(workbench) for _ in range(3)]

    assert leased == [70, 30, 0]
    assert len(transactions) == 2


@both_databases
def test_a_slow_worker_leases_less_so_that_others_can_take_the_rest(backlog, workbench):
    backlog(20, "dawdles")
    workbench.paces.note_batch(1, 0.06)

    leased = [process_next(workbench) for _ in range(2)]

    assert leased == [8, 12]


@both_databases
def test_a_handler_that_failed_lately_has_a_transaction_to_itself(batch_of_five, work, deliver, runs):
    batch_of_five("broken")
    deliver("test.paying", event_id="evt_6", status="broken")
    deliver("test.paying", event_id="evt_7", status="paid")

    work()

    assert [runs.count(f"evt_{number}") for number in range(1, 8)] == [2, 2, 1, 1, 1, 1, 1]


@both_databases
def test_a_batch_whose_handlers_became_slow_hands_the_rest_back(backlog, workbench, stopwatch, session):
    backlog(20, "drags")

    leased = process_next(workbench)

    session.rollback()
    left = session.scalars(sa.select(StoredEvent).where(StoredEvent.state == "pending")).all()
    assert (leased, len(left)) == (20, 17)
    assert {(row.lease_token, row.attempts) for row in left} == {(None, 0)}


@pytest.fixture
def orders(inbox):
    """A table of the partner's, whose constraint is looked at when the transaction is committed."""
    with inbox.engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE orders (id VARCHAR(50), reference VARCHAR(200)"
                " REFERENCES probe_payments (reference) DEFERRABLE INITIALLY DEFERRED)"
            )
        )


@pytest.fixture
def ordering(orders, paying, get_to_know, inbox):
    """A handler that leaves a payment and an order, which refers to nothing when the event says so."""

    @handles("test.ordering")
    def order(event, session):
        session.add(
            ProbePayment(reference=event.id, status="paid", rank=0, occurred_at=event.occurred_at, event_id=event.id)
        )
        reference = "nothing" if event.status == "refers to nothing" else event.id
        session.flush()
        session.execute(sa.text("INSERT INTO orders VALUES (:id, :to)"), {"id": event.id, "to": reference})

    get_to_know("test.ordering", "evt_first")


@pytest.fixture
def refuse(inbox):
    """Let PostgreSQL refuse something with an error, as a trigger of the partner's may."""

    def create(when, code="P0001", moment="BEFORE UPDATE", table="events", body="RETURN NEW;"):
        kind, tail = ("CONSTRAINT ", "DEFERRABLE INITIALLY DEFERRED ") if "AFTER" in moment else ("", "")
        with inbox.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SEQUENCE tries")
            connection.exec_driver_sql(
                f"CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN IF {when} THEN"
                f" RAISE EXCEPTION 'the books are closed' USING ERRCODE = '{code}'; END IF; {body} END $$"
                " LANGUAGE plpgsql"
            )
            connection.exec_driver_sql(
                f"CREATE {kind}TRIGGER refusing {moment} ON {table} {tail}FOR EACH ROW EXECUTE FUNCTION refuse()"
            )

    return create


@pytest.fixture
def attempts(session):
    """The results of the attempts at an event, by the audit log."""

    def find(event_id):
        session.rollback()
        of_event = sa.select(AuditEntry).where(AuditEntry.event_id == event_id, AuditEntry.action == "attempt")
        return [(entry.result, entry.detail or "") for entry in session.scalars(of_event.order_by(AuditEntry.id))]

    return find


@both_databases
@pytest.mark.usefixtures("ordering")
def test_a_constraint_that_is_broken_at_the_commit_is_the_failure_of_its_handler_alone(
    batch_of_five, workbench, stored, paid, attempts, clock
):
    batch_of_five("refers to nothing", "test.ordering")

    leased = process_next(workbench)

    row = stored("evt_3")
    assert leased == 5
    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert (row.state, row.attempts, row.lease_token, row.due_at > clock.now()) == ("pending", 1, None, True)
    assert any(code in row.last_error for code in FOREIGN_KEY)
    assert attempts("evt_3") == [("failed", row.last_error)]
    assert {stored(f"evt_{number}").attempts for number in range(1, 6)} == {1}


@both_databases
@pytest.mark.usefixtures("ordering")
def test_a_handler_that_never_commits_is_dead_when_its_attempts_are_used_up(inbox, deliver, work, stored, clock):
    most = inbox.settings.max_attempts
    deliver("test.ordering", event_id="evt_1", status="refers to nothing")

    for _ in range(most + 1):
        work()
        clock.advance(days=2)

    assert (stored("evt_1").state, stored("evt_1").attempts) == ("dead", most)
    assert any(code in stored("evt_1").last_error for code in FOREIGN_KEY)


@on_postgresql
def test_a_trigger_that_refuses_the_commit_is_the_failure_of_its_handler_alone(
    batch_of_five, workbench, refuse, stored, paid, attempts
):
    refuse("NEW.reference = 'evt_3'", moment="AFTER INSERT", table="probe_payments")
    batch_of_five("paid")

    process_next(workbench)

    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert "[raise_exception (P0001)]" in stored("evt_3").last_error
    assert [result for result, _ in attempts("evt_3")] == ["failed"]


@on_postgresql
def test_a_conflict_that_shows_at_the_commit_is_nobodys_failure(batch_of_five, workbench, refuse, stored, paid):
    refuse(
        "NEW.reference = 'evt_3' AND nextval('tries') < 3", code="40001", moment="AFTER INSERT", table="probe_payments"
    )
    batch_of_five("paid")

    process_next(workbench)

    assert paid() == [f"evt_{number}" for number in range(1, 6)]
    assert {stored(f"evt_{number}").attempts for number in range(1, 6)} == {1}


@on_postgresql
@pytest.mark.parametrize("code", ["P0001", "57014"])
def test_an_event_that_cannot_be_settled_as_processed_has_failed_and_says_why(
    batch_of_five, workbench, refuse, stored, paid, code
):
    refuse("NEW.event_id = 'evt_3' AND NEW.state = 'processed'", code=code)
    batch_of_five("paid")

    process_next(workbench)

    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert (stored("evt_3").state, f"({code})]" in stored("evt_3").last_error) == ("pending", True)


@on_postgresql
@pytest.mark.parametrize("code", ["P0001", "40001"])
def test_an_event_that_cannot_be_settled_at_all_is_left_to_its_lease_and_its_neighbours_are_processed(
    batch_of_five, workbench, refuse, stored, paid, attempts, code
):
    refuse("NEW.event_id = 'evt_3' AND NEW.lease_token IS NULL", code=code)
    batch_of_five("paid")

    leased = [process_next(workbench) for _ in range(2)]

    assert leased == [5, 0]
    assert paid() == ["evt_1", "evt_2", "evt_4", "evt_5"]
    assert (stored("evt_3").attempts, stored("evt_3").leased_by, attempts("evt_3")) == (1, "test worker", [])


@on_postgresql
def test_a_database_that_is_full_at_the_commit_is_nobodys_failure(batch_of_five, workbench, refuse, stored):
    refuse("NEW.reference = 'evt_3'", code="53100", moment="AFTER INSERT", table="probe_payments")
    batch_of_five("paid")

    with pytest.raises(BatchInterrupted):
        process_next(workbench)

    assert {stored(f"evt_{number}").state for number in range(1, 6)} == {"pending"}


@on_postgresql
def test_an_event_that_is_tried_again_and_again_keeps_its_lease(paying, deliver, inbox, workbench, stopwatch, clock):
    others, other = [], Workbench(inbox, "other worker")

    @handles("test.contended")
    def always_in_conflict(event, session):
        stopwatch.seconds += 4
        clock.advance(seconds=4)
        others.extend(lease_due(other))
        session.execute(sa.text("DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '40001'; END $$"))

    deliver("test.contended", event_id="evt_1")

    process_next(workbench)

    assert stopwatch.seconds == 4 * 6
    assert others == []
