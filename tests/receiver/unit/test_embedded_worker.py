"""The keeper of the embedded worker outlives a machine that can't start a process for a while."""

import subprocess
import sys

from receiver.server.embedded import EmbeddedWorker
from receiver.testing.waiting import eventually
from tests.receiver.processes import alive


def test_a_worker_that_can_not_be_started_is_tried_again():
    started = []

    def spawn(_master):
        if len(started) < 2:
            started.append(None)
            raise BlockingIOError("no process is to be had")
        started.append(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]))
        return started[-1].pid

    embedded = EmbeddedWorker(spawn)
    embedded.start(stop_seconds=60)

    eventually(lambda: len(started) == 3)
    embedded.stop()
    assert not alive(started[-1].pid)
    started[-1].wait()
