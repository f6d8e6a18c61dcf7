"""A loop that keeps the receiver alive: it survives whatever one of its turns raises.

To add such a loop, write one turn of it and hand it to `endless()`. See to it that somebody notices when the loop is
gone all the same, and starts it again or calls the process not ready.
"""

import time
from collections.abc import Callable

import structlog

PAUSE_SECONDS = 0.1
log = structlog.get_logger()


def endless(turn: Callable[[], bool], *, name: str) -> None:
    """Take one turn after the other until one of them returns False.

    What a turn raises is logged under the loop's name, and after a short pause comes the next turn.
    """
    while True:
        try:
            if not turn():
                return
        except Exception as error:
            log.error("turn_failed", loop=name, exc_info=error)
            time.sleep(PAUSE_SECONDS)
