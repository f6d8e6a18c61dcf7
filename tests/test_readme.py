"""README.md is true: what it says that commands print, they print."""

import re

from app.sandbox.scenarios import SCENARIOS
from tests.recordings import RECORDINGS, recorded


def test_the_recorded_diagnosis_is_what_the_doctor_prints():
    assert recorded("doctor") == RECORDINGS["doctor"].play()


def test_the_recorded_conformance_run_has_every_scenario_and_all_passed():
    lines = re.findall(r"^✓ §([0-9.]+) +(.+?) +[0-9.]+ s$", recorded("scenarios"), re.MULTILINE)

    assert lines == [(scenario.clause, scenario.name) for scenario in SCENARIOS]
