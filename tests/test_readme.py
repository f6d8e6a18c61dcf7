"""README.md is true: what it says that commands print, they print."""

import re

import sqlalchemy as sa

from app.inbox.models import StoredEvent
from app.sandbox.scenarios import SCENARIOS
from tests.processes import eventually, running
from tests.recordings import RECORDINGS, recorded


def test_the_recorded_diagnosis_is_what_the_doctor_prints():
    assert recorded("doctor") == RECORDINGS["doctor"].play()


def test_the_recorded_conformance_run_has_every_scenario_and_all_passed():
    lines = re.findall(r"^✓ §([0-9.]+) +(.+?) +[0-9.]+ s$", recorded("scenarios"), re.MULTILINE)

    assert lines == [(scenario.clause, scenario.name) for scenario in SCENARIOS]


def test_the_demo_processes_events_of_every_kind_and_its_receiver_ends_with_it(
    database, environment, session, tmp_path
):
    with running(environment | {"DATABASE_URL": database}, EMBEDDED_WORKER="1") as receiver:
        receiver.log = tmp_path / "log"
        demo = receiver.start("-m", "app.sandbox.demo")
        eventually(lambda: "Ctrl-C stops the receiver" in receiver.log.read_text())
        answered = receiver.answers("/readyz")

        demo.terminate()

        assert demo.wait(20) == 0
        assert (answered, receiver.status("/readyz")) == (True, 0)
    assert session.scalars(sa.select(StoredEvent.state)).all() == ["processed"] * 8
