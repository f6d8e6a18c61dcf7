"""How a test waits: for a fact, never for a moment."""

import threading
import time
from collections.abc import Callable

PATIENCE_SECONDS = 300
"""How long a test waits for a fact, at most. It says nothing about speed: it only ends what hangs."""


def eventually(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition is true. Raises AssertionError when that takes longer than `seconds`."""
    until = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        pause.wait(0.05)
