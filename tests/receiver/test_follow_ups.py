"""Follow-ups: work outside the database that commits with the handler's writes and runs afterwards, as an event."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from receiver import advance, follow_up
from receiver.registry import DuplicateHandler, PermanentFailure, RetryLater, follows_up, handles
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import on_postgresql
from tests.receiver.partner.models import ProbePayment

DATA = {"amount": "99.50", "customer": {"name": "Siti Nurhaliza binti Osman", "email": "siti@example.com"}}


@pytest.fixture
def sent():
    """The follow-ups that were done, in order."""
    return []


@pytest.fixture
def says():
    """What the follow-up is to do, one after the other: an error to raise, or None."""
    return []


@pytest.fixture
def receipts(sent, says):
    """A handler that keeps a payment and asks for a receipt, and what sends it."""

    @handles("test.paid")
    def paid(event, session):
        advance(session, ProbePayment, event.transaction_id, status="paid", event=event)
        follow_up(session, event, "receipt.send", event.data)
        if event.status == "broken":
            raise PermanentFailure("broken")

    @follows_up("receipt.send")
    def send(event):
        sent.append(event)
        if says and (error := says.pop(0)):
            raise error


@pytest.fixture
def asked(session):
    """The rows of all follow-ups, as they are now."""

    def find():
        session.rollback()
        rows = sa.select(StoredEvent).where(StoredEvent.caused_by.is_not(None)).order_by(StoredEvent.id)
        return session.scalars(rows).all()

    return find


@both_databases
def test_it_is_done_after_the_commit_with_an_id_of_its_own_and_the_references_of_its_event(
    receipts, deliver, work, sent, asked, stored
):
    deliver("test.paid", event_id="evt_1", transaction_id="TXN-7", policy_id="POL-7", data=DATA)

    work()

    [done], [row] = sent, asked()
    assert (done.id, done.type, done.data) == (row.event_id, "receipt.send", DATA)
    assert (done.transaction_id, done.policy_id, done.status) == ("TXN-7", "POL-7", None)
    assert (row.state, row.caused_by, row.attempts) == ("processed", stored("evt_1").id, 1)


@both_databases
def test_a_handler_that_fails_has_asked_for_nothing(receipts, deliver, work, sent, asked, stored):
    deliver("test.paid", event_id="evt_1", transaction_id="TXN-7", status="broken")

    work()

    assert (stored("evt_1").state, asked(), sent) == ("dead", [], [])


@both_databases
def test_a_second_run_of_the_handler_asks_for_no_second_one(receipts, perform, sent, asked):
    perform("test.paid", transaction_id="TXN-7")

    assert len(asked()) == len(sent) == 1


@both_databases
def test_another_key_asks_for_another_one(deliver, work, sent, receipts):
    @handles("test.twice")
    def twice(event, session):
        ids = {follow_up(session, event, "receipt.send", key=key) for key in ("customer", "agent", "customer")}
        assert len(ids) == 2

    deliver("test.twice")

    work()

    assert len({done.id for done in sent}) == len(sent) == 2


@both_databases
def test_one_that_fails_is_tried_again_and_ends_dead_and_its_event_stays_processed(
    receipts, environment, deliver, work, sent, says, asked, clock, stored
):
    says.extend([OSError("siti@example.com refused")] * 16)
    deliver("test.paid", event_id="evt_1", transaction_id="TXN-7", data=DATA)

    for _ in range(16):
        work()
        clock.advance(hours=6)

    [row] = asked()
    assert (row.state, row.attempts, len({done.id for done in sent})) == ("dead", 16, 1)
    assert "OSError at tests/receiver/test_follow_ups.py" in row.last_error
    assert "siti" not in row.last_error
    assert stored("evt_1").state == "processed"


def test_it_may_say_not_yet_and_give_up(receipts, deliver, work, says, asked, clock):
    says.extend([RetryLater(60, "the mail server is closed"), PermanentFailure("no address")])
    deliver("test.paid", transaction_id="TXN-7")

    work()
    put_off = asked()[0].state, asked()[0].attempts
    clock.advance(minutes=2)
    work()

    assert (put_off, asked()[0].state) == (("pending", 0), "dead")
    assert asked()[0].last_error.startswith("PermanentFailure: no address (at tests/receiver/")


@both_databases
def test_it_waits_for_its_time(deliver, work, clock, asked, receipts, sent):
    @handles("test.reminder")
    def remind(event, session):
        follow_up(session, event, "receipt.send", key="delay", delay=timedelta(days=3))
        follow_up(session, event, "receipt.send", key="moment", not_before=clock.now() + timedelta(days=1))

    deliver("test.reminder")
    numbers = []
    for hours in (0, 23, 2, 48):
        clock.advance(hours=hours)
        work()
        numbers.append(len(sent))

    assert numbers == [0, 0, 1, 2]


@both_databases
def test_what_a_sender_sends_under_its_name_waits_as_unhandled(receipts, deliver, work, stored, sent):
    deliver("receipt.send", event_id="evt_1")

    work()

    assert (stored("evt_1").state, sent) == ("unhandled", [])


@on_postgresql
def test_no_transaction_is_open_while_it_talks(deliver, work, inbox, receipts):
    open_ones = []

    @handles("test.talks")
    def ask(event, session):
        follow_up(session, event, "talk")

    @follows_up("talk")
    def talk(_event):
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state ~ 'in transaction'"
        with inbox.engine.connect() as connection:
            open_ones.append(connection.exec_driver_sql(count).scalar())

    for _ in range(3):
        deliver("test.talks")
    deliver("test.paid", transaction_id="TXN-7")

    work()

    assert open_ones == [0, 0, 0]


def test_on_sqlite_others_can_write_while_it_talks(deliver, work, inbox, receipts):
    @handles("test.talks")
    def ask(event, session):
        follow_up(session, event, "talk")

    @follows_up("talk")
    def talk(_event):
        deliver("test.paid", event_id="evt_meanwhile", transaction_id="TXN-8")

    deliver("test.talks")

    work()

    with inbox.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(ProbePayment.reference == "TXN-8")) == 1


class TestLeftUndone:
    @pytest.fixture
    def environment(self, environment):
        return environment | {"FOLLOW_UPS": "0"}

    def test_where_the_setting_says_so_nothing_is_sent(self, receipts, deliver, work, sent, asked):
        deliver("test.paid", transaction_id="TXN-7")

        work()

        assert (asked()[0].state, sent) == ("unhandled", [])


class TestAnotherMapping:
    @pytest.fixture
    def environment(self, environment):
        return environment | {"SENANG_PAYLOAD_FIELDS": "event_id=meta.id,event_type=meta.kind,data=content"}

    def test_it_has_our_own_fields_whatever_the_senders_are_called(
        self, receipts, deliver, work, sent, asked, signed_in
    ):
        deliver("test.paid", transaction_id="TXN-7", data=DATA)

        work()

        assert [done.data for done in sent] == [DATA]
        page = signed_in().get(f"/events/{asked()[0].id}").text
        assert (asked()[0].state, "99.50" in page, "Siti" in page) == ("processed", True, False)


def test_numbers_stay_exact_on_the_way(deliver, work, sent, receipts):
    deliver("test.paid", transaction_id="TXN-7", data={"amount": 0.1, "others": [1200.50, 1e2]})

    work()

    assert sent[0].data == {"amount": Decimal("0.1"), "others": [Decimal("1200.50"), Decimal("1E+2")]}


def test_the_pages_lead_from_an_event_to_its_follow_ups_and_back(receipts, deliver, work, asked, stored, signed_in):
    deliver("test.paid", event_id="evt_1", transaction_id="TXN-7", data=DATA)
    work()
    client, first, second = signed_in(), stored("evt_1").id, asked()[0].id

    pages = [client.get(f"/events/{number}").text for number in (first, second)]

    assert f'href="/events/{second}">receipt.send</a>' in pages[0]
    assert f'href="/events/{first}">the event whose handler asked for it</a>' in pages[1]
    assert "Siti" not in "".join(pages)
    assert '<span class="flag">follow-up</span>' in client.get("/events").text


def test_the_audit_log_says_who_asked_for_it(receipts, deliver, work, session, stored, asked):
    deliver("test.paid", event_id="evt_1", transaction_id="TXN-7")
    work()

    [entry] = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "follow-up")).all()
    assert (entry.result, entry.event_type, entry.inbox_id) == ("asked for", "receipt.send", asked()[0].id)
    assert entry.actor == f"handler of #{stored('evt_1').id}"


def test_it_works_in_a_handler_only(session, deliver, receipts):
    with pytest.raises(RuntimeError, match="in a handler"):
        follow_up(session, None, "receipt.send")


def test_two_functions_of_one_name_stop_the_start(receipts):
    with pytest.raises(DuplicateHandler, match=r"receipt\.send"):
        follows_up("receipt.send")(lambda _event: None)


def test_a_bulk_replay_sends_nothing_again_unless_it_names_the_follow_up(receipts, deliver, work, app, sent):
    for number in range(3):
        deliver("test.paid", transaction_id=f"TXN-{number}")
    work()
    replay = ["events", "replay", "--state", "processed"]

    said = app.test_cli_runner().invoke(args=replay)
    work()
    without = len(sent)
    app.test_cli_runner().invoke(args=[*replay, "--type", "receipt.send"])
    work()

    assert (said.exit_code, "3 replayed, 3 refused; a follow-up that was done" in said.output) == (0, True)
    assert (without, len(sent)) == (3, 6)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"amount": float("nan")}, "not_a_finite_number"),
        ({"amount": Decimal("1E+999")}, "number_too_long"),
        ({"names": {"a"}}, "TypeError"),
        ({1: "a"}, "TypeError"),
        ({"bytes": b"a"}, "TypeError"),
    ],
)
def test_data_that_could_not_be_read_again_is_the_failure_of_the_handler(deliver, work, stored, asked, data, says):
    @handles("test.odd")
    def ask(event, session):
        follow_up(session, event, "receipt.send", data)

    deliver("test.odd", event_id="evt_1")

    work()

    row = stored("evt_1")
    assert (row.state, asked()) == ("pending", [])
    assert "ValueError" in row.last_error or says in row.last_error


@pytest.mark.parametrize(
    "when", [{"not_before": datetime.max.replace(tzinfo=UTC)}, {"delay": timedelta(days=3_000_000)}]
)
def test_it_waits_for_ten_years_at_most(deliver, work, stored, asked, when):
    @handles("test.far")
    def ask(event, session):
        follow_up(session, event, "receipt.send", **when)

    deliver("test.far", event_id="evt_1")

    work()

    assert (stored("evt_1").state, asked()) == ("pending", [])
