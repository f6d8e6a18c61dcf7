"""What is left of a person after an erasure: nothing, in the raw bytes of the database's files, the log and pages."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from receiver import registry
from receiver.actions.erasure import erase
from receiver.actions.person import Act
from receiver.database.engine import own_connection, reading, writing
from receiver.ingest.intake import arrival_store
from receiver.ingest.rows import Delivery, arrival
from receiver.protocol.kept import Kept
from receiver.queries.person import find_person
from receiver.store.models import PersonEntry, StoredEvent
from receiver.testing import both_databases
from tests.receiver.partner.models import ProbePayment
from tests.receiver.people import SUBJECTS
from tests.receiver.processes import within

PEOPLE = 40
COLUMNS = [column.name for column in StoredEvent.__table__.columns if column.name not in ("id", "event_id")]


@pytest.fixture
def environment(environment):
    return environment | SUBJECTS


def person(number):
    nric = f"9001{number:02d}-14-56{number:02d}"
    return {"nric": nric, "email": f"somebody{number:02d}@example.my", "name": f"Somebody Number{number:02d}"}


def body_of(number, inbox):
    whose = number % PEOPLE
    payload = {
        "event_id": f"evt_{number}", "event_type": "payment.success", "timestamp": inbox.clock.now().isoformat(),
        "transaction_id": f"TXN-{whose:02d}-{number}", "policy_id": f"POL-{whose:02d}-{number}",
        "data": {"amount": f"77{whose:02d}.{number % 100:02d}", "customer": person(whose)},
    }  # fmt: skip
    return json.dumps(payload).encode()


@pytest.fixture
def fill(inbox, work):
    """Keep events of all people as the door does, let a worker run them, then copy each so many times by SQL."""

    def run(events, copies):
        store, arrivals = arrival_store(inbox), []
        for number in range(events):
            body = body_of(number, inbox)
            arrivals.append(arrival(inbox.settings, inbox.settings.read_event(body), Delivery(Kept(body), "request")))
        for start in range(0, events, 50):
            store.store(arrivals[start : start + 50])
        store.close()
        work()
        if copies:
            multiply(inbox, copies)

    return run


def multiply(inbox, copies):
    names = ", ".join(COLUMNS)
    with writing(inbox.engine) as session:
        last = session.scalar(sa.select(sa.func.max(StoredEvent.id)))
        for copy in range(copies):
            session.execute(
                sa.text(
                    f"INSERT INTO events (event_id, {names}) SELECT event_id || '-{copy}', {names} FROM events"
                    f" WHERE id <= {last}"
                )
            )
        session.execute(
            sa.text(
                "INSERT INTO person_index (digest, inbox_id, kind, key_id) SELECT digest, copy.id, kind, key_id"
                " FROM person_index JOIN events AS first ON first.id = inbox_id"
                f" JOIN events AS copy ON copy.seal_id = first.seal_id AND copy.id > {last}"
            )
        )
    if inbox.engine.dialect.name == "postgresql":
        connection = own_connection(inbox.engine)
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE events, person_index")
        connection.close()


def traces_of(inbox, whose):
    """Everything that is kept of a person, as bytes: clear values, ciphertexts, digests, masked amounts."""
    act = Act(inbox, person(whose)["nric"], actor="test", reason="to know it")
    with reading(inbox.engine) as session:
        concerned = sa.select(PersonEntry.inbox_id).where(PersonEntry.digest.in_(act.person.digests))
        rows = session.scalars(sa.select(StoredEvent).where(StoredEvent.id.in_(concerned)).limit(10)).all()
        digests = session.scalars(sa.select(PersonEntry.digest).where(PersonEntry.inbox_id == rows[0].id)).all()
    clear = [*person(whose).values(), f"TXN-{whose:02d}-", f"POL-{whose:02d}-", f'"77{whose:02d}.']
    return {
        *(text.encode() for text in clear),
        *(part for row in rows for part in (row.sealed_payload[30:62], row.sealed_payload[-32:])),
        *set(digests),
    }


def files_of(inbox):
    """The files in which the database keeps its tables, on the disk."""
    if inbox.engine.dialect.name == "sqlite":
        path = Path(inbox.engine.url.database)
        return [it for it in path.parent.glob(f"{path.name}*") if it.is_file()]
    connection = own_connection(inbox.engine)
    connection.autocommit = True
    connection.execute("CHECKPOINT")
    (folder,) = connection.execute("SHOW data_directory").fetchone()
    (number,) = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    connection.close()
    return [it for it in (Path(folder) / "base" / str(number)).iterdir() if it.is_file()]


def found_in(files, traces):
    kept = [(it.name, it.read_bytes()) for it in files]
    return {(name, trace) for name, content in kept for trace in traces if trace in content}


@both_databases
@pytest.mark.parametrize(("events", "copies"), [(120, 1), pytest.param(1_000, 99, marks=pytest.mark.soak)])
def test_an_erased_person_leaves_no_trace(fill, inbox, events, copies, capsys, signed_in, app):
    @registry.erases
    def forget(event, session):
        session.execute(sa.delete(ProbePayment).where(ProbePayment.reference == event.transaction_id))

    fill(events, copies)
    act = Act(inbox, person(7)["email"], actor="test", reason="she asked for it")
    ours = traces_of(inbox, 7)

    def find():
        with reading(inbox.engine) as session:
            return find_person(session, inbox.settings, act.person)

    found, before = within(1.0, find), found_in(files_of(inbox), ours)
    done = erase(act, rewrite=True, seconds=0)

    number = events // PEOPLE * (copies + 1)
    assert (found.number, done.events, done.left) == (number, number, [])
    assert len({trace for _, trace in before}) > len(ours) / 2  # what is searched for could be found
    assert found_in(files_of(inbox), ours) == set()
    assert {trace for _, trace in found_in(files_of(inbox), {b"POL-08-"})} == {b"POL-08-"}
    assert find().number == 0
    operator = signed_in()
    pages = "".join(operator.get(path).text for path in ("/events", "/audit", "/person", "/events/export.csv?q=evt_47"))
    said = (pages + "".join(capsys.readouterr())).encode()
    assert [trace for trace in ours if trace in said] == []
