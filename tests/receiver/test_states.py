"""The states of an event, and the ways from one to another: lifecycle.py names them, and no code goes another way."""

import ast
from pathlib import Path

import pytest

from receiver.database.engine import writing
from receiver.store.lifecycle import REPLAYABLE, REVIVED_BY_REDELIVERY, State, checked, origins
from receiver.store.models import StoredEvent
from receiver.store.transitions import moving
from receiver.testing import both_databases

RECEIVER = Path(__file__).parents[2] / "receiver"


def test_every_state_can_be_left_for_pending_by_a_replay():
    assert origins(State.PENDING) == set(State) >= REPLAYABLE | REVIVED_BY_REDELIVERY


def test_a_way_that_is_not_named_is_an_error():
    with pytest.raises(Exception, match="dead to processed"):
        checked(State.PROCESSED, origin=State.DEAD)


@both_databases
def test_an_event_is_left_alone_where_no_way_leads(inbox, deliver, work, stored):
    deliver(event_id="evt_1")
    work()

    with writing(inbox.engine) as session:
        moved = session.execute(moving(State.DEAD).where(StoredEvent.event_id == "evt_1")).rowcount

    assert (moved, stored("evt_1").state) == (0, "processed")


def test_the_state_of_a_stored_event_is_changed_in_one_place():
    """Statements that set the column, but for those that insert an event."""
    changing = set()
    for path in RECEIVER.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            sets_state = any(keyword.arg == "state" for keyword in call.keywords)
            if sets_state and ast.unparse(call.func).endswith(".values") and "StoredEvent" in ast.unparse(call.func):
                changing.add(path.relative_to(RECEIVER).as_posix())

    assert changing == {"store/transitions.py"}
