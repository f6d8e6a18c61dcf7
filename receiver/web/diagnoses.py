"""Runs the doctor's diagnosis in a process of its own. It only computes, so it would block the event loop.

Anybody can send what is captured, so the process is stopped when its time is up. One runs at a time, and few may wait.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from receiver.database.url import ROOT
from receiver.green import Lane
from receiver.protocol.captured import Captured
from receiver.sandbox.diagnosis import Diagnosis

SECONDS = 2.0
"""Time for the search. After it, the doctor says what it has tried."""
MOST_SECONDS = 20.0
"""Time for everything, with the start of the process."""
MOST_COMPARED = 65_536
"""A delivery with a larger body is examined when it is asked for, but not compared with others."""
_COMMAND = (sys.executable, "-m", "receiver.sandbox.doctor")
_lane = Lane(places=4)


def diagnosis_beside(
    captures: Sequence[Captured], secrets: Sequence[str], texts: Sequence[str], *, asked_by: str
) -> Diagnosis:
    """What the doctor says about the first delivery, compared with the others. Raises Crowded when too many ask."""
    first, *others = captures
    shown = [first, *(other for other in others if len(other.body) <= MOST_COMPARED)]
    asked = {
        "captures": [one.to_json().decode() for one in shown],
        "secrets": list(secrets),
        "texts": list(texts),
        "seconds": SECONDS,
    }
    with _lane.turn(asked_by):
        try:
            done = subprocess.run(  # noqa: S603 - our own module
                _COMMAND, input=json.dumps(asked), capture_output=True, text=True, cwd=ROOT, timeout=MOST_SECONDS
            )
        except subprocess.TimeoutExpired:
            return Diagnosis("not_found", f"The diagnosis took too long and was stopped. {_ON_THE_COMMAND_LINE}")
    if done.returncode != 0:
        return Diagnosis("not_found", f"The diagnosis failed. {_ON_THE_COMMAND_LINE}")
    return Diagnosis(**json.loads(done.stdout))


_ON_THE_COMMAND_LINE = "On the command line there is more time: flask --app wsgi senang doctor --captured"
