"""The search behind the events page: it finds what reading everything finds, and no question reads everything."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from bench.fill import fill
from bench.plans import complaints, statements_of
from bench.questions import filters, questions
from receiver.actions import bulk
from receiver.database.engine import reading
from receiver.privacy.grammar import is_reference
from receiver.queries.count import Count
from receiver.queries.filters import BadFilter, Filter, Origin, from_cursor, to_cursor
from receiver.queries.search import COLUMNS, Neighbours, Row, count_failing, counts, neighbours, page, stream
from receiver.queries.subject import Place, subject
from receiver.store.lifecycle import State
from receiver.store.models import StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs

ROWS = 900
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def filled(inbox):
    """Some hundred events of every kind, three at a time received in the same microsecond."""
    fill(inbox.engine, ROWS)
    with reading(inbox.engine) as session:
        rows = [Row._make(row) for row in session.execute(sa.select(*COLUMNS))]
    return sorted(rows, key=lambda row: (row.received_at, row.id), reverse=True)


@pytest.fixture
def every_filter(filled, session):
    return filters(session.get(StoredEvent, ROWS // 2))


def is_wanted(row, wanted):
    """What a filter means, one row at a time."""
    searched = (row.event_id, row.stated_event_id, row.transaction_id, row.policy_id, row.claim_id)
    return (
        (not wanted.states or row.state in wanted.states)
        and (row.is_failing or not wanted.failing)
        and wanted.event_type in (None, row.event_type)
        and wanted.cause in (None, row.cause)
        and row.attempts >= (wanted.attempts or 0)
        and wanted.origin in (None, Origin.FOLLOW_UP if row.is_follow_up else Origin.DELIVERY)
        and (wanted.since is None or row.received_at >= wanted.since)
        and (wanted.until is None or row.received_at < wanted.until)
        and (
            wanted.term is None
            or wanted.term == f"#{row.id}"
            or wanted.term in searched
            or any(value and value.startswith(wanted.term) and is_reference(value) for value in searched)
        )
    )


def down(session, wanted, limit):
    """The rows of all pages, from the newest to the oldest."""
    rows, before = [], None
    while True:
        found = page(session, wanted, before=before, limit=limit)
        rows += found.rows
        if found.older is None:
            return rows
        before = found.older


def up(session, wanted, limit, after):
    """The rows of all pages from a place to the newest, the newest last."""
    rows = []
    while after is not None:
        found = page(session, wanted, after=after, limit=limit)
        rows += found.rows[::-1]
        after = found.newer
    return rows


@postgresql_and_sqlite_in_long_runs
def test_every_filter_finds_on_its_pages_and_in_its_stream_what_reading_everything_finds(
    every_filter, filled, session, inbox
):
    for name, wanted in every_filter.items():
        expected = [row for row in filled if is_wanted(row, wanted)]

        assert down(session, wanted, 50) == expected, name
        assert list(stream(inbox.engine, wanted)) == expected, name


@both_databases
@pytest.mark.parametrize("limit", [1, 2, 4])
def test_pages_neither_lose_nor_repeat_rows_of_one_microsecond(filled, session, limit):
    oldest = filled[60]

    upwards = up(session, Filter(), limit, (oldest.received_at, oldest.id))
    downwards = down(session, Filter(until=filled[0].received_at, since=filled[60].received_at), limit)

    assert upwards == filled[:60][::-1]
    assert downwards == [row for row in filled if filled[60].received_at <= row.received_at < filled[0].received_at]


@both_databases
def test_the_way_back_leads_through_the_same_pages(filled, session):
    first = page(session, Filter(), limit=10)
    second = page(session, Filter(), before=first.older, limit=10)
    back = page(session, Filter(), after=second.newer, limit=10)

    assert (first.newer, back.newer) == (None, None)
    assert back.rows == first.rows
    assert back.older == first.older


@both_databases
def test_events_that_arrive_meanwhile_do_not_move_the_older_pages(deliver, session):
    for _ in range(4):
        deliver()
    first = page(session, Filter(), limit=2)
    session.rollback()

    deliver()
    second = page(session, Filter(), before=first.older, limit=2)

    assert [row.id for row in (*first.rows, *second.rows)] == [4, 3, 2, 1]


@both_databases
def test_a_list_never_loads_a_payload(filled, inbox, session):
    with statements_of(inbox.engine) as statements:
        page(session, Filter())
        page(session, Filter(term="POL-"))
        list(stream(inbox.engine, Filter()))
        neighbours(session, filled[5], Filter())
        subject(session, "policy", "POL-7")

    assert statements
    assert not any("payload" in statement for statement, _ in statements)


@both_databases
def test_counts_are_by_state_and_leave_the_states_of_the_filter_aside(every_filter, filled, session):
    for name, wanted in every_filter.items():
        counted = counts(session, wanted)

        every_state = replace(wanted, states=frozenset(), failing=False)
        expected = [row.state for row in filled if is_wanted(row, every_state)]
        assert counted == {state: Count(expected.count(state)) for state in State}, name


@both_databases
def test_the_count_of_what_is_failing_leaves_the_states_of_the_filter_aside(every_filter, filled, session):
    for name, wanted in every_filter.items():
        failing = replace(wanted, states=frozenset({State.PENDING}), failing=True)

        assert count_failing(session, wanted) == Count(sum(is_wanted(row, failing) for row in filled)), name


@both_databases
def test_a_count_beyond_ten_thousand_is_capped_and_says_so(inbox, session):
    fill(inbox.engine, 10_800)

    counted = counts(session, Filter())
    of_a_term = counts(session, Filter(term="evt_"))

    assert str(counted[State.PROCESSED]) == "10,000+"
    assert str(counted[State.DEAD]) == "107"
    assert of_a_term[State.PROCESSED].capped
    assert str(of_a_term[State.PROCESSED]) == f"{of_a_term[State.PROCESSED].number}+"


@both_databases
def test_what_no_index_has_is_looked_for_in_ten_thousand_rows_at_a_time(inbox, session):
    fill(inbox.engine, 10_300)
    none, dead = Filter(attempts=11), Filter(attempts=10)

    first = page(session, none)
    rest = page(session, none, before=first.older)

    assert (first.rows, first.sifted, first.older is not None) == ([], True, True)
    assert (rest.rows, rest.sifted, rest.older) == ([], False, None)
    number = session.scalar(sa.select(sa.func.count()).where(StoredEvent.attempts == 10))
    assert len(down(session, dead, 50)) == len(list(stream(inbox.engine, dead))) == number > 100
    assert str(counts(session, none)[State.DEAD]) == "0"
    act = bulk.plan(inbox, dead, actor="siti", reason="a test", act=bulk.Act.DISMISS)
    bulk.confirm(inbox, act, actor="siti")
    while bulk.step(inbox):
        pass
    assert bulk.look(inbox, act).job.done == number


@both_databases
def test_a_term_that_begins_too_many_ids_says_so_and_still_finds_the_exact_one(inbox, session, deliver):
    fill(inbox.engine, 1500)
    exact = session.get(StoredEvent, 777)

    too_many = page(session, Filter(term="POL-"))
    found = page(session, Filter(term=exact.event_id))

    assert too_many.capped
    assert len(too_many.rows) == 50
    assert not found.capped
    assert [row.id for row in found.rows] == [777]


@both_databases
def test_of_a_reference_with_very_many_events_the_latest_are_found(inbox, session):
    fill(inbox.engine, 21_000)

    found = page(session, Filter(term="POL-7"), limit=10)

    newest = sa.select(StoredEvent.id).where(StoredEvent.policy_id == "POL-7").order_by(StoredEvent.id.desc())
    assert found.capped
    assert [row.id for row in found.rows] == session.scalars(newest.limit(10)).all()


@both_databases
def test_a_term_finds_event_transaction_policy_and_claim_from_their_beginning_on(deliver, session):
    deliver("claim.updated", event_id="evt-a", policy_id="POL-Ä-1", transaction_id="TXN_1", claim_id="CLM%1")

    for term in ("evt-a", "ev", "TXN_", "TXN_1", "POL-Ä-1", "CLM%1", "#1"):
        assert [row.id for row in page(session, Filter(term=term)).rows] == [1], term
    for term in ("EVT-a", "vt-a", "POL-Ä", "CLM%", "POL_", "POL%", "POL-Ä-1-1", "TXN_%", "#", "#0", "#١", "'; --", "𝔭"):
        assert page(session, Filter(term=term)).rows == [], term


@both_databases
def test_a_quarantined_body_is_found_by_the_id_that_it_claims(deliver, session):
    deliver(event_id="evt-twice", status="paid")
    deliver(event_id="evt-twice", status="failed")

    rows = page(session, Filter(term="evt-twice")).rows

    assert [(row.state, row.event_id, row.stated_event_id) for row in rows] == [
        ("quarantined", None, "evt-twice"),
        ("pending", "evt-twice", None),
    ]


@both_databases
def test_neighbours_are_the_rows_on_either_side_under_the_filter(filled, session):
    dead = Filter(states=frozenset({State.DEAD}))
    rows = [row for row in filled if row.state == "dead"]
    stranger = next(row for row in filled if rows[2].received_at < row.received_at < rows[1].received_at)

    assert neighbours(session, rows[0], dead) == Neighbours(None, rows[1])
    assert neighbours(session, rows[1], dead) == Neighbours(rows[0], rows[2])
    assert neighbours(session, rows[-1], dead) == Neighbours(rows[-2], None)
    assert neighbours(session, stranger, dead) == Neighbours(rows[1], rows[2])


@both_databases
def test_a_page_cannot_lie_on_both_sides(session):
    with pytest.raises(ValueError, match="before one row or after another"):
        page(session, Filter(), before=(MOMENT, 1), after=(MOMENT, 1))


@both_databases
def test_a_story_is_told_in_order_of_occurrence_and_marks_what_came_late(deliver, session, clock):
    for hour in (3, 1, 4, 2, 4):
        deliver(policy_id="POL-S", timestamp=(MOMENT + timedelta(hours=hour)).isoformat())
        clock.advance(minutes=1)
    deliver(policy_id="POL-T")

    story = subject(session, "policy", "POL-S")

    told = [(chapter.row.occurred_at.hour - 12, chapter.late) for chapter in story.chapters]
    assert told == [(1, True), (2, True), (3, False), (4, False), (4, False)]
    assert story.earlier is None


@both_databases
@pytest.mark.parametrize("limit", [1, 3, 8])
def test_a_story_says_the_same_on_pages_of_any_length(deliver, session, clock, limit):
    for hour in (5, 1, 1, 4, 2, 4, 4, 3):
        deliver(transaction_id="TXN-S", timestamp=(MOMENT + timedelta(hours=hour)).isoformat())
        clock.advance(minutes=1)
    whole = subject(session, "transaction", "TXN-S").chapters

    told, before = [], None
    while True:
        story = subject(session, "transaction", "TXN-S", before=before, limit=limit)
        told = [*story.chapters, *told]
        if story.earlier is None:
            break
        before = Place.parse(str(story.earlier))

    assert told == whole
    assert [chapter.late for chapter in whole] == [True, True, True, True, True, True, True, False]


@postgresql_and_sqlite_in_long_runs
@pytest.mark.parametrize(
    ("analyse", "plans"), [(True, "auto"), pytest.param(False, "force_generic_plan", marks=pytest.mark.soak)]
)
def test_every_question_is_answered_from_an_index(inbox, analyse, plans):
    """PostgreSQL rightly scans a small table; what counts is that it need not, whatever it knows of the values."""
    fill(inbox.engine, 2000, analyse=analyse)
    planner = ("enable_seqscan = off", f"plan_cache_mode = {plans}")

    for name, ask in questions(inbox).items():
        assert complaints(inbox.engine, ask, planner=planner) == [], name


@both_databases
def test_a_question_that_reads_everything_is_noticed(inbox):
    fill(inbox.engine, 2000)

    def scan():
        with reading(inbox.engine) as session:
            return session.scalars(sa.select(StoredEvent.id).where(StoredEvent.attempts > 7)).all()

    assert any("events" in complaint for complaint in complaints(inbox.engine, scan))


FILTERS = [
    Filter(),
    Filter(states=frozenset({State.DEAD, State.PENDING}), event_type="policy.issued"),
    Filter(since=MOMENT, until=MOMENT + timedelta(microseconds=1)),
    Filter(states=frozenset({State.PENDING}), failing=True, event_type="policy.issued"),
    Filter(term="a&b=c ü", event_type="x?y"),
    Filter(attempts=3, origin=Origin.FOLLOW_UP),
]


@pytest.mark.parametrize("wanted", FILTERS)
def test_a_filter_stands_in_an_address_and_comes_back_as_it_was(wanted):
    assert Filter.from_parameters(wanted.parameters()) == wanted


def test_empty_and_foreign_parameters_mean_nothing():
    parameters = {"state": [""], "type": [" "], "since": [""], "q": ["  "], "before": ["x"]}

    assert Filter.from_parameters(parameters) == Filter()
    assert Filter().parameters() == {}


def test_a_bare_date_means_the_whole_day_in_utc():
    wanted = Filter.from_parameters({"since": ["2026-03-01"], "until": ["2026-03-01"]})

    assert wanted == Filter(since=datetime(2026, 3, 1, tzinfo=UTC), until=datetime(2026, 3, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "asleep"),
        ("failing", "perhaps"),
        ("attempts", "0"),
        ("attempts", "²"),
        ("attempts", "9" * 400),
        ("origin", "elsewhere"),
        ("type", "x" * 201),
        ("q", "x" * 201),
        ("q", "evt\x00"),
        ("since", "yesterday"),
        ("since", "2026-02-30"),
        ("since", "0001-01-01T00:00+14:00"),
        ("until", "9999-12-31"),
        ("until", "9999-12-31T23:59-14:00"),
    ],
)
def test_a_parameter_that_means_nothing_is_named(name, value):
    with pytest.raises(BadFilter) as refused:
        Filter.from_parameters({name: [value]})

    assert refused.value.name == name


@pytest.mark.parametrize("text", ["", "~", "x~1", "2026-03-01T12:00:00+00:00", f"{MOMENT.isoformat()}~{'9' * 19}"])
def test_a_cursor_that_means_nothing_is_refused(text):
    with pytest.raises(BadFilter):
        from_cursor(text)
    with pytest.raises(BadFilter):
        Place.parse(text)


def test_a_cursor_comes_back_as_it_was():
    position = (MOMENT + timedelta(microseconds=7), 12)

    assert from_cursor(to_cursor(position)) == position
