"""README.md and docs/ are true: what they say that commands print, the commands print."""

import re
import socket
from pathlib import Path

import sqlalchemy as sa

from receiver.sandbox.scenarios import SCENARIOS
from receiver.store.models import StoredEvent
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.processes import running
from tests.receiver.recordings import RECORDINGS, recorded


def test_the_recorded_diagnosis_is_what_the_doctor_prints():
    assert recorded("doctor") == RECORDINGS["doctor"].play()


def test_the_recorded_conformance_run_has_every_scenario_and_all_passed():
    lines = re.findall(r"^✓ §([0-9.]+) +(.+?) +[0-9.]+ s$", recorded("scenarios"), re.MULTILINE)

    assert lines == [(scenario.clause, scenario.name) for scenario in SCENARIOS]


def test_a_demo_whose_port_is_taken_says_so_before_anything_starts(environment):
    with running(environment) as receiver, socket.create_server(("127.0.0.1", 0)) as other:
        receiver.environment["PORT"] = str(other.getsockname()[1])
        refused = receiver.python("-m", "receiver.sandbox.demo")

    assert refused.returncode == 1
    assert "is taken" in refused.stderr


def test_the_demo_processes_events_of_every_kind_and_its_receiver_ends_with_it(
    database, environment, session, tmp_path
):
    with running(environment | {"DATABASE_URL": database}, EMBEDDED_WORKER="1") as receiver:
        receiver.log = tmp_path / "log"
        demo = receiver.start("-m", "receiver.sandbox.demo")
        eventually(lambda: demo.poll() is not None or "Ctrl-C stops the receiver" in receiver.log.read_text())
        answered, open_to_others = receiver.answers("/readyz"), listens_elsewhere(receiver.port)

        demo.terminate()

        assert demo.wait(PATIENCE_SECONDS) == 0
        assert not open_to_others
        assert (answered, receiver.status("/readyz")) == (True, 0)
    assert session.scalars(sa.select(StoredEvent.state)).all() == ["processed"] * 8


def listens_elsewhere(port):
    """Whether somebody listens on the port of another address than 127.0.0.1."""
    listening = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    places = {where for where, _, state in listening if state == "0A" and where.endswith(f":{port:04X}")}
    assert places
    return places != {f"0100007F:{port:04X}"}
