"""`SealedText`: personal data in a partner's tables. The database holds ciphertext that opens in its own row alone."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, make_transient

from receiver import advance, handles
from receiver.database.engine import make_engine, reading, writing
from receiver.maintenance.rewrite import BATCH
from receiver.privacy.sealing import CannotUnseal
from receiver.testing import ENVIRONMENT, both_databases
from tests.receiver.databases import on_postgresql, postgresql_and_sqlite_in_long_runs
from tests.receiver.partner.models import ProbeNote, ProbePerson, ProbeShare
from tests.receiver.processes import ROOT

OLD, NEW = ENVIRONMENT["PAYLOAD_KEYS"], "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="
NAME, OTHER = "Siti Zulaikha", "Devi Ramasamy"
AWKWARD = ["", " ", "Siti", "Nguyễn Thị 🦋 陳", "a\x00b", "half \ud83d", "'; DROP TABLE x --", "ñ" * 100_000]


OF_1_0 = "01623230623230646558a53415919fda7d28013ca9e4df9ad328fdc95f34cf5e1bed6acadca4a7ab3891496b18a6380e41da"
"""NAME, as 1.0 seals it for the holder of the share 7 of POL-ñ."""


@pytest.fixture
def cli(app):
    return lambda *arguments: app.test_cli_runner().invoke(args=list(arguments))


@pytest.fixture
def people(deliver, work):
    """Deliver an event that names a person, or several, by policy. A handler keeps the name by `advance()`."""

    @handles("person.named")
    def person_named(event, session):
        advance(session, ProbePerson, event.policy_id, event=event, status="named", name=event.data["name"])

    def keep(**names):
        for policy, name in names.items():
            assert deliver("person.named", policy_id=policy, data={"name": name}).status == 200
        work()

    return keep


@pytest.fixture
def change(inbox):
    """Change rows as nothing of ours would."""

    def run(statement, value=None):
        with inbox.engine.begin() as connection:
            connection.execute(sa.text(statement), {} if value is None else {"value": value})

    return run


def person(session, policy):
    return session.get(ProbePerson, policy)


@both_databases
def test_every_text_is_read_as_it_was_written(deliver, work, inbox, people, session):
    people(**{f"POL-{number}": text for number, text in enumerate(AWKWARD)}, none=None)
    with writing(inbox.engine) as writer:
        writer.add_all(ProbeNote(words=text) for text in AWKWARD)

    assert [person(session, f"POL-{number}").name for number in range(len(AWKWARD))] == AWKWARD
    assert (person(session, "none").status, person(session, "none").name) == ("named", None)
    assert [note.words for note in session.scalars(sa.select(ProbeNote).order_by(ProbeNote.id))] == AWKWARD


@both_databases
def test_a_sealed_name_is_nowhere_in_the_database_in_clear(people, inbox, database):
    people(R1=NAME)
    with writing(inbox.engine) as session:
        session.add(ProbeNote(words=NAME, about="seen elsewhere"))
        session.add(ProbeShare(policy_id="R1", number=1, holder=NAME))

    kept = everything(inbox.engine, database)

    assert b"seen elsewhere" in kept
    assert [part for part in NAME.split() if part.encode() in kept or part.encode().hex().encode() in kept] == []


def everything(engine, database):
    """All that the database holds: its files, or every row of every table as text."""
    if database.startswith("sqlite"):
        path = Path(database.removeprefix("sqlite:///"))
        return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    with engine.connect() as connection:
        tables = sa.inspect(connection).get_table_names()
        rows = [connection.scalars(sa.text(f'SELECT t::text FROM "{table}" t')).all() for table in tables]
    return "\n".join(text for found in rows for text in found).encode()


def test_no_statement_has_the_text_among_its_parameters(inbox, people):
    seen = []
    sa.event.listen(inbox.engine, "before_cursor_execute", lambda *told: seen.append(repr(told[3])))
    sa.event.listen(inbox.engine, "before_execute", lambda *told: seen.append(repr(told[2:4])))

    people(R1=NAME)
    with writing(inbox.engine) as session:
        session.add_all([ProbeNote(words=NAME), ProbeShare(policy_id="R1", number=1, holder=NAME)])
        person(session, "R1").address = NAME

    assert any("R1" in parameters for parameters in seen)
    assert [parameters for parameters in seen if "Siti" in parameters] == []


@both_databases
@pytest.mark.parametrize(
    ("copy", "read"),
    [
        ("UPDATE probe_people SET name = (SELECT name FROM probe_people WHERE reference = 'R2')", "name"),
        ("UPDATE probe_people SET address = name", "address"),
        ("UPDATE probe_people SET name = (SELECT holder FROM probe_shares)", "name"),
    ],
    ids=["row", "column", "table"],
)
def test_a_ciphertext_opens_in_no_other_place(people, change, inbox, session, copy, read):
    people(R1=NAME, R2=OTHER)
    with writing(inbox.engine) as writer:
        writer.add(ProbeShare(policy_id="R1", number=1, holder=NAME))

    change(f"{copy} WHERE reference = 'R1'")

    first, second = session.scalars(sa.select(ProbePerson).order_by(ProbePerson.reference)).all()
    with pytest.raises(CannotUnseal, match="tampered"):
        getattr(first, read)
    assert (first.status, second.name) == ("named", OTHER)


def test_what_cannot_be_read_is_refused_at_each_reading_and_can_be_written_anew(people, change, inbox):
    people(R1=NAME)
    change("UPDATE probe_people SET name = :value", b"broken")
    with writing(inbox.engine) as session:
        row = person(session, "R1")
        row.status = "seen"
        session.flush()
        detached = pickle.loads(pickle.dumps(row))
        readings = {
            "loaded": lambda: row.name,
            "again": lambda: row.name,
            "refreshed": lambda: session.refresh(row) or row.name,
            "expired": lambda: session.expire(row) or row.name,
            "expired, another first": lambda: session.expire(row) or (row.status and row.name),
            "detached": lambda: detached.name,
            "copied": lambda: session.merge(detached).name,
            "moved": lambda: move(session, row, "R9"),
            "written elsewhere": lambda: write_elsewhere(session, detached, "R9"),
        }
        for case, read in readings.items():
            with pytest.raises(CannotUnseal) as refused:
                read()
            assert refused.value.reason == "malformed", case
        row.name = OTHER

    with reading(inbox.engine) as session:
        assert (person(session, "R1").name, person(session, "R1").status) == (OTHER, "seen")


def move(session, row, reference):
    with session.begin_nested():
        row.reference = reference
        session.flush()


def write_elsewhere(session, row, reference):
    make_transient(row)
    row.reference = reference
    with session.begin_nested():
        session.add(row)
        session.flush()


def test_a_handler_that_reads_what_cannot_be_opened_leaves_its_event_dead_with_a_reason(
    people, change, deliver, work, stored
):
    @handles("person.greeted")
    def person_greeted(event, session):
        assert person(session, event.policy_id).name

    people(R1=NAME, R2=OTHER)
    change("UPDATE probe_people SET name = :value WHERE reference = 'R1'", b"broken")
    for policy in ("R1", "R2"):
        deliver("person.greeted", event_id=f"greets_{policy}", policy_id=policy)
    work()

    assert [stored(f"greets_{policy}").state for policy in ("R1", "R2")] == ["dead", "processed"]
    assert "malformed" in stored("greets_R1").last_error


@pytest.mark.parametrize("spoilt", ["words", 1_000_000_000_000, 1.5], ids=str)
def test_a_value_of_another_type_in_a_file_of_sqlite_spoils_itself_alone(people, change, session, cli, spoilt):
    people(R1=NAME, R2=OTHER)
    change("UPDATE probe_people SET name = :value WHERE reference = 'R1'", spoilt)

    first, second = session.scalars(sa.select(ProbePerson).order_by(ProbePerson.reference)).all()
    with pytest.raises(CannotUnseal, match="malformed"):
        first.name  # noqa: B018
    assert second.name == OTHER
    assert json.loads(cli("events", "reseal", "--json").stdout) == {"resealed": 0, "unreadable": 1}


@both_databases
def test_the_text_may_be_set_before_the_key_is_known(inbox, session):
    with writing(inbox.engine) as writer:
        writer.add(ProbeShare(holder=NAME, number=1, policy_id="R1"))
        late = ProbeShare()
        late.holder, late.heir = NAME, OTHER
        writer.add(late)
        late.policy_id, late.number = "R1", 2
        numbered = [ProbeNote(words=f"{NAME} {number}") for number in range(30)]
        writer.add_all(numbered)
        writer.flush()
        assert {note.words: note.id for note in numbered} == {f"{NAME} {n}": note.id for n, note in enumerate(numbered)}

    shares = session.scalars(sa.select(ProbeShare).order_by(ProbeShare.number)).all()
    assert [(share.holder, share.heir) for share in shares] == [(NAME, None), (NAME, OTHER)]
    assert [note.words for note in session.scalars(sa.select(ProbeNote).order_by(ProbeNote.id))] == [
        f"{NAME} {number}" for number in range(30)
    ]


@both_databases
def test_a_text_moves_with_its_row_when_the_key_changes(people, inbox, session):
    people(R1=NAME, R2=OTHER)
    with writing(inbox.engine) as writer:
        loaded, expired = person(writer, "R1"), person(writer, "R2")
        loaded.reference = "R8"
        writer.expire(expired)
        expired.reference = "R9"

    assert (person(session, "R8").name, person(session, "R9").name) == (NAME, OTHER)


def test_a_row_that_is_changed_unread_keeps_its_binding(people, inbox, session):
    people(R1=NAME)
    with writing(inbox.engine) as writer:
        row = person(writer, "R1")
        writer.expire(row)
        row.address = OTHER
        writer.flush()
        row.name = None

    assert (person(session, "R1").name, person(session, "R1").address) == (None, OTHER)


def test_a_text_goes_from_row_to_row_as_plain_text(people, inbox, session):
    people(R1=NAME, R2=OTHER)
    with writing(inbox.engine) as writer:
        person(writer, "R2").name = person(writer, "R1").name
        writer.merge(ProbeShare(policy_id="R1", number=1, holder=person(writer, "R1").name))

    assert {person(session, "R2").name, session.get(ProbeShare, ("R1", 1)).holder} == {NAME}


def test_a_row_that_the_database_refused_can_be_written_afterwards(inbox, session):
    with writing(inbox.engine) as writer:
        writer.add(ProbeShare(policy_id="R1", number=1, holder=NAME))
        writer.flush()
        writer.expunge_all()
        share = ProbeShare(policy_id="R1", number=1, holder=OTHER)
        with pytest.raises(sa.exc.IntegrityError) as refused:
            flush_alone(writer, share)
        share.number = 2
        writer.add(share)

    assert "Devi" not in str(refused.value) + repr(refused.value.params)
    assert session.get(ProbeShare, ("R1", 2)).holder == OTHER


def flush_alone(session, row):
    with session.begin_nested():
        session.add(row)
        session.flush()


def test_a_renamed_column_reads_what_was_sealed_under_its_old_name(inbox, change, session):
    with writing(inbox.engine) as writer:
        writer.add(ProbeShare(policy_id="R1", number=1, holder=NAME))

    change("UPDATE probe_shares SET heir = holder")

    assert session.get(ProbeShare, ("R1", 1)).heir == NAME


def test_what_an_earlier_release_has_sealed_opens(inbox, change, session):
    """What a text is bound to is a format of storage: it may not change."""
    with writing(inbox.engine) as writer:
        writer.add(ProbeShare(policy_id="POL-ñ", number=7))

    change("UPDATE probe_shares SET holder = :value", bytes.fromhex(OF_1_0))

    assert session.get(ProbeShare, ("POL-ñ", 7)).holder == NAME


def test_what_does_not_know_its_row_is_refused_with_words_that_quote_nothing(inbox):
    with writing(inbox.engine) as session:
        note = ProbeNote(words=NAME)
        session.add(note)
    refused = {
        "the text of a row that was written": lambda session: session.execute(
            sa.update(ProbeNote).values(words=note.words)
        ),
        "is not text": lambda session: session.add(ProbeNote(words=NAME.encode())),
        "a statement of SQL": lambda session: session.execute(sa.update(ProbeNote).values(words=NAME)),
        "an insert of SQL": lambda session: session.execute(sa.insert(ProbeNote), [{"words": NAME}]),
        "a bulk insert": lambda session: session.bulk_save_objects([ProbeNote(words=NAME)]),
        "a comparison": lambda session: session.execute(sa.select(ProbeNote).where(ProbeNote.words == NAME)),
        "a choice": lambda session: session.execute(sa.select(ProbeNote).where(ProbeNote.words.in_([NAME]))),
    }
    for case, attempt in refused.items():
        with reading(inbox.engine) as session, pytest.raises((TypeError, sa.exc.StatementError)) as error:
            attempt(session) or session.flush()
        assert "SealedText" in str(error.value), case
        assert "Siti" not in str(error.value), case


def test_a_key_that_has_more_than_one_form_as_text_stops_the_start():
    """In a process of its own: SQLAlchemy remembers the model."""
    model = """
from sqlalchemy.orm import mapped_column
from receiver import Base, SealedText, UtcDateTime
class Moment(Base):
    __tablename__ = "moments"
    at = mapped_column(UtcDateTime, primary_key=True)
    words = mapped_column(SealedText)
"""
    answer = subprocess.run([sys.executable, "-c", model], cwd=ROOT, capture_output=True, text=True, check=False)

    assert "ArgumentError: Moment.words: a table with SealedText needs a primary key of texts" in answer.stderr


def test_a_statement_may_erase_the_texts_of_many_rows(people, inbox, session):
    people(R1=NAME, R2=OTHER)
    with writing(inbox.engine) as writer:
        known = person(writer, "R1")
        writer.execute(sa.update(ProbePerson).where(ProbePerson.status == "named").values(name=None))
        assert known.name is None

    assert session.scalars(sa.select(ProbePerson.name)).all() == [None, None]


def test_null_can_be_asked_for_and_a_column_alone_shows_no_ciphertext(people, session):
    people(R1=NAME, R2=None)

    assert session.scalars(sa.select(ProbePerson.reference).where(ProbePerson.name.is_(None))).all() == ["R2"]
    assert session.scalars(sa.select(ProbePerson.reference).where(ProbePerson.name != None)).all() == ["R1"]  # noqa: E711
    assert str(session.scalars(sa.select(ProbePerson.name).where(ProbePerson.reference == "R1")).one()) == "[sealed]"


def test_an_engine_that_is_not_the_receivers_neither_reads_nor_writes(people, database):
    people(R1=NAME)
    engine = make_engine(database)

    with Session(engine) as session:
        with pytest.raises(CannotUnseal, match="unknown_key"):
            person(session, "R1").name  # noqa: B018
        session.add(ProbeNote(words=NAME))
        with pytest.raises(TypeError, match="no keys"):
            session.flush()
    engine.dispose()


def test_two_receivers_in_one_process_use_their_own_keys(environment, assemble, tmp_path, sqlite_template):
    apps = []
    for number, key in enumerate((OLD, NEW)):
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        (tmp_path / f"{number}.db").write_bytes(sqlite_template(environment["PARTNER_PACKAGE"]).read_bytes())
        apps.append(assemble(environment | {"PAYLOAD_KEYS": key, "DATABASE_URL": url}))
    engines = [app.extensions["inbox"].engine for app in apps]
    for engine in engines:
        with writing(engine) as session:
            session.add(ProbeShare(policy_id="R1", number=1, holder=NAME))

    with engines[0].connect() as theirs, writing(engines[1]) as session:
        assert session.get(ProbeShare, ("R1", 1)).holder == NAME
        foreign = theirs.exec_driver_sql("SELECT holder FROM probe_shares").scalar_one()
        session.connection().exec_driver_sql("UPDATE probe_shares SET holder = ?", (foreign,))
    with reading(engines[1]) as session, pytest.raises(CannotUnseal, match="unknown_key"):
        session.get(ProbeShare, ("R1", 1)).holder  # noqa: B018


@postgresql_and_sqlite_in_long_runs
def test_reseal_moves_every_text_to_the_newest_key_and_names_the_place_of_what_it_cannot_open(
    environment, assemble, people, inbox, change
):
    people(R1=NAME, R2=OTHER, R3=None)
    with writing(inbox.engine) as session:
        session.add_all(ProbeNote(words=f"{NAME} {number}") for number in range(2 * BATCH + 1))
        session.add_all(ProbeShare(policy_id=policy, number=1, holder=NAME, heir=OTHER) for policy in ("R1", "R2"))
    change("UPDATE probe_people SET name = :value WHERE reference = 'R2'", b"broken")

    rotated = assemble(environment | {"PAYLOAD_KEYS": f"{NEW},{OLD}"}).test_cli_runner()
    first, second = (rotated.invoke(args=["events", "reseal", "--json"]) for _ in range(2))

    texts, payloads = 1 + 2 * BATCH + 1 + 4, 3
    assert json.loads(first.stdout) == {"resealed": texts + payloads, "unreadable": 1}
    assert json.loads(second.stdout) == {"resealed": 0, "unreadable": 1}
    assert (first.exit_code, first.stderr) == (1, "No key opens 1 in probe_people.name.\n")
    without_old = assemble(environment | {"PAYLOAD_KEYS": NEW}).extensions["inbox"].engine
    with reading(without_old) as session:
        notes = session.scalars(sa.select(ProbeNote).order_by(ProbeNote.id)).all()
        assert [note.words for note in notes] == [f"{NAME} {number}" for number in range(2 * BATCH + 1)]
        assert (person(session, "R1").name, person(session, "R3").name) == (NAME, None)
        shares = session.scalars(sa.select(ProbeShare)).all()
        assert [(share.holder, share.heir) for share in shares] == [(NAME, OTHER)] * 2


def test_reseal_passes_over_a_table_that_is_not_migrated_yet(people, change, cli):
    people(R1=NAME)
    change("DROP TABLE probe_notes")

    assert json.loads(cli("events", "reseal", "--json").stdout) == {"resealed": 0, "unreadable": 0}


@on_postgresql
def test_reseal_leaves_a_text_alone_that_is_changed_meanwhile(environment, assemble, people, change, inbox):
    people(R1=NAME)
    rotated = assemble(environment | {"PAYLOAD_KEYS": f"{NEW},{OLD}"})

    def write_meanwhile(_connection, _cursor, statement, *_rest):
        if statement.startswith("SELECT probe_people"):
            with writing(inbox.engine) as session:
                person(session, "R1").name = OTHER

    sa.event.listen(rotated.extensions["inbox"].engine, "after_cursor_execute", write_meanwhile)
    result = rotated.test_cli_runner().invoke(args=["events", "reseal", "--json"])

    assert json.loads(result.stdout) == {"resealed": 1, "unreadable": 0}, "the payload alone"
    with reading(inbox.engine) as session:
        assert person(session, "R1").name == OTHER


def test_a_text_that_was_written_with_the_old_key_is_read_until_that_key_is_gone(environment, assemble, people):
    people(R1=NAME)

    for keys, reads in ((f"{NEW},{OLD}", True), (NEW, False)):
        with reading(assemble(environment | {"PAYLOAD_KEYS": keys}).extensions["inbox"].engine) as session:
            if reads:
                assert person(session, "R1").name == NAME
            else:
                with pytest.raises(CannotUnseal, match="unknown_key"):
                    person(session, "R1").name  # noqa: B018
