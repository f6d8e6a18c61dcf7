"""The words of an error quote data in more ways than anybody can mask: so people see its type, its place and a code."""

import json
import re
import sqlite3
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from receiver.registry import PermanentFailure, RetryLater, handles, shows_message
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import on_postgresql
from tests.receiver.partner.models import ProbePayment

HERE = r"tests/receiver/security/test_errors\.py"
NAME = "Nurhaliza Osman"
SHADOWS = (NAME, NAME.upper(), NAME.lower(), NAME[:9], NAME[9:], NAME[::-1], quote(NAME), NAME.encode().hex())


class Curious(Exception):
    """An error that keeps what it is given, as many libraries' do."""

    def __init__(self, value):
        super().__init__(value)
        self.value = self.code = self.sqlstate = self.reason = value

    def __repr__(self):
        return f"Curious({self.value})"


class BankClosed(Exception):
    """An error of the partner's own, whose words are his."""


def cause(value):
    try:
        raise KeyError(value)
    except KeyError as error:
        raise RuntimeError("no such customer") from error


def context(value):
    try:
        raise KeyError(value)
    except KeyError:
        raise RuntimeError("no such customer")  # noqa: B904 - that it has no cause is the point


def note(value):
    error = RuntimeError("no such customer")
    error.add_note(f"while working for {value}")
    raise error


def group(value):
    raise ExceptionGroup(f"for {value}", [ValueError(value), ExceptionGroup(value, [KeyError(value.upper())])])


def made_up_type(value):
    raise type(value.replace(" ", ""), (LookupError,), {})(value)


def made_up_place(value):
    exec(compile("raise ValueError", f"/srv/{value}.py", "exec"))  # as a template engine does


def raised(error):
    def raise_it(value):
        raise error(value)

    return raise_it


FORMS = {
    "plain": raised(ValueError),
    "in capitals": raised(lambda value: ValueError(f"no policy for {value.upper()}")),
    "in small letters": raised(lambda value: ValueError(value.lower())),
    "cut": raised(lambda value: ValueError(value[:9])),
    "backwards": raised(lambda value: ValueError(value[::-1])),
    "escaped for an address": raised(lambda value: ValueError(quote(value))),
    "escaped twice": raised(lambda value: ValueError(json.dumps(json.dumps({"n": value})))),
    "as bytes": raised(lambda value: ValueError(value.encode())),
    "as hex": raised(lambda value: ValueError(value.encode().hex())),
    "in several arguments": raised(lambda value: OSError(5, value, value)),
    "in its attributes": raised(Curious),
    "behind a number that does not parse": lambda value: int(value),
    "as a key": lambda value: {}[value],
    "as an attribute": lambda value: getattr(object(), value),
    "of text that does not encode": lambda value: f"{value}\udc80".encode(),
    "of JSON that does not parse": lambda value: json.loads(f'{{"name": {value}}}'),
    "in an expression": lambda value: re.compile(f"({value}"),
    "of an assertion": lambda value: pytest.fail(value),
    "exit": raised(SystemExit),
    "cause": cause,
    "context": context,
    "note": note,
    "group": group,
    "made-up type": made_up_type,
    "made-up place": made_up_place,
}


@pytest.fixture
def quoting(deliver):
    """Deliver an event whose handler raises an error of this form, about a person."""

    @handles("test.quoting.*")
    def quoting(event, session):
        FORMS[list(FORMS)[int(event.type.rpartition(".")[2])]](event.data["name"])

    def send(form, number=1):
        deliver(f"test.quoting.{list(FORMS).index(form)}", event_id=f"evt_{number}", data={"name": NAME})

    return send


@pytest.fixture
def kept(session):
    """Everything that is stored of errors."""

    def find():
        session.rollback()
        rows = [*session.scalars(sa.select(StoredEvent.last_error)), *session.scalars(sa.select(AuditEntry.detail))]
        return "\n".join(filter(None, rows))

    return find


@both_databases
def test_no_form_in_which_an_error_quotes_a_value_reaches_a_row_or_a_log_line(quoting, work, kept, capsys):
    leaks = {}
    for form in FORMS:
        quoting(form, list(FORMS).index(form))
    work()

    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    attempts = {line["event_type"]: line for line in printed if line["event"] == "attempt"}
    for form in FORMS:
        line = json.dumps(attempts[f"test.quoting.{list(FORMS).index(form)}"]).replace("test.quoting", "")
        leaks[form] = [shadow for shadow in SHADOWS if shadow in line]

    assert {form for form, found in leaks.items() if found} == set()
    assert not [shadow for shadow in SHADOWS if shadow in kept()]
    assert len(attempts) == len(FORMS)


def test_an_operator_reads_the_type_the_place_in_the_handler_and_what_caused_it(quoting, work, stored, capsys):
    quoting("cause", 1)
    quoting("group", 2)
    quoting("made-up type", 3)
    work()

    place = r"tests/receiver/security/test_errors\.py:[0-9]+ in"
    assert re.fullmatch(rf"RuntimeError at {place} cause, caused by KeyError", stored("evt_1").last_error)
    assert re.fullmatch(
        rf"ExceptionGroup at {place} group, together with ValueError, together with ExceptionGroup, "
        "together with KeyError",
        stored("evt_2").last_error,
    )
    assert re.fullmatch(rf"LookupError at {place} made_up_type", stored("evt_3").last_error)
    first = next(line for line in map(json.loads, capsys.readouterr().out.splitlines()) if line.get("exception"))
    assert re.search(rf"\n  at {place} quoting\..*\n  at {place} cause\ncaused by KeyError", first["exception"])


@both_databases
def test_a_row_that_the_database_refuses_is_told_by_its_code_and_not_by_what_stands_in_it(deliver, work, kept, stored):
    @handles("test.refused")
    def refused(event, session):
        for _ in range(2):
            values = {"reference": "POL-1", "status": event.data["name"], "rank": 1, "event_id": event.id}
            session.execute(sa.insert(ProbePayment).values(**values, occurred_at=event.occurred_at))

    deliver("test.refused", event_id="evt_1", data={"name": NAME})
    work()

    assert re.match(
        rf"IntegrityError \[constraint \((23505|SQLITE_CONSTRAINT_PRIMARYKEY)\)\] at {HERE}:",
        stored("evt_1").last_error,
    )
    assert not [shadow for shadow in SHADOWS if shadow in kept()]


@on_postgresql
@pytest.mark.parametrize("hides", [True, False])
def test_a_failing_row_is_not_quoted(deliver, work, kept, stored, hides):
    @handles("test.refused")
    def refused(event, session):
        connection = session.connection() if hides else session.connection().connection.driver_connection
        insert = "INSERT INTO probe_payments (reference, status, rank, event_id) VALUES ('POL-1', {}, 1, '1')"
        if hides:
            connection.execute(sa.text(insert.format(":name")), {"name": event.data["name"]})
        else:
            connection.execute(insert.format("%s"), (event.data["name"],))

    deliver("test.refused", event_id="evt_1", data={"name": NAME})
    work()

    assert "[constraint (23502)]" in stored("evt_1").last_error
    assert not [shadow for shadow in SHADOWS if shadow in kept()]


def test_what_a_handler_says_of_a_permanent_failure_is_shown_without_the_payloads_values(deliver, work, stored):
    @handles("test.hopeless")
    def hopeless(event, session):
        raise PermanentFailure(f"product TRAVEL is not sold to {event.data['name']}")

    deliver("test.hopeless", event_id="evt_1", data={"name": NAME})
    work()

    assert re.match(
        rf"PermanentFailure: product TRAVEL is not sold to \[text 15\] \(at {HERE}:[0-9]+ in ",
        stored("evt_1").last_error,
    )


def test_the_partner_lets_the_words_of_his_own_errors_be_seen(deliver, work, stored):
    shows_message(BankClosed)

    @handles("test.closed")
    def closed(event, session):
        raise BankClosed(f"opens at 9, says {event.data['name']}\x1b[2J\rgood")

    deliver("test.closed", event_id="evt_1", data={"name": NAME})
    work()

    assert stored("evt_1").last_error.startswith("BankClosed: opens at 9, says [text 15]")
    assert stored("evt_1").last_error.isprintable()  # so nothing of it moves a terminal's cursor


def test_a_message_that_is_too_long_to_be_looked_at_is_not_cut_into_what_nobody_recognises(deliver, work, stored):
    @handles("test.long")
    def long(event, session):
        raise PermanentFailure(f"{'x' * 1990} {event.data['name']}")

    deliver("test.long", event_id="evt_1", data={"name": NAME})
    work()

    assert stored("evt_1").last_error.startswith("PermanentFailure: [text 2006] (at ")


def test_an_error_that_is_put_off_says_only_why(deliver, work, stored):
    @handles("test.later")
    def later(event, session):
        raise RetryLater(60, f"the ledger of {event.data['name']} is closed")

    deliver("test.later", event_id="evt_1", data={"name": NAME})
    work()

    assert stored("evt_1").last_error == "not yet: the ledger of [text 15] is closed"


def test_a_library_that_logs_an_error_logs_no_word_of_it(app, capsys):
    import logging

    log = logging.getLogger("some.library")
    try:
        sqlite3.connect(":memory:").execute(f'SELECT * FROM "{NAME}"')
    except sqlite3.Error as error:
        log.warning("trying again after %s", error)
        log.exception("gave up: %r", error)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"].partition(" at ")[0] for line in lines] == [
        "trying again after OperationalError [SQLITE_ERROR]", "gave up: 'OperationalError [SQLITE_ERROR]",
    ]  # fmt: skip
    assert "Nurhaliza" not in json.dumps(lines)
    assert lines[1]["exception"].startswith(
        "OperationalError [SQLITE_ERROR]\n  at tests/receiver/security/test_errors.py:"
    )
