"""§5 Event types."""

import pytest
import sqlalchemy as sa

from receiver.actions.replay import replay
from receiver.registry import handles
from receiver.sandbox.samples import TYPES
from receiver.store.models import Observation
from receiver.testing import both_databases

clause = pytest.mark.clause


@clause("5.1")
@both_databases
@pytest.mark.parametrize("event_type", [*TYPES, "onboarding.completed"])
def test_every_published_event_type_is_processed(perform, event_type):
    row = perform(event_type)

    assert row.state == "processed"


@clause("5.2")
@both_databases
def test_an_unknown_type_is_accepted_and_waits_until_a_handler_exists(deliver, work, stored, inbox, session):
    deliver("loyalty.granted", event_id="evt_1")
    work()
    waited = stored("evt_1").state

    handles("loyalty.granted")(lambda event, session: None)
    replay(inbox, stored("evt_1").id, actor="test")
    work()

    assert (waited, stored("evt_1").state) == ("unhandled", "processed")
    assert session.get(Observation, ("type", "loyalty.granted"))


@clause("5.3")
@both_databases
def test_a_type_that_never_comes_is_missed_by_nobody(work, session):
    work()

    assert session.scalars(sa.select(Observation)).all() == []
