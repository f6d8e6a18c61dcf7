"""How gunicorn's master is told to stop. SIGINT means what SIGTERM means: some platforms send it, and so does Ctrl-C.

gunicorn's own SIGINT cuts off the requests that are being answered. And it would tell the worker beside the web workers
only when these are gone, so the two would need their time one after the other.
"""

import os
import signal
from types import FrameType
from typing import Protocol

from receiver.server.embedded import EmbeddedWorker


class Master(Protocol):
    """What we need of gunicorn's arbiter."""

    def signal(self, number: int, frame: FrameType | None) -> None:
        """Put the signal into the master's queue."""


def stop_together(master: Master, beside: EmbeddedWorker) -> None:
    """From now on, SIGTERM and SIGINT stop the web workers and the worker beside them at the same time."""
    process = os.getpid()

    def on_stop(_number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:  # a child has these handlers until it sets its own
            beside.begin_to_stop()
            master.signal(signal.SIGTERM, frame)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_stop)
