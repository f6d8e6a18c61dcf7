"""A loop that keeps the receiver alive: it survives whatever one of its turns raises.

To add such a loop, write one turn of it and hand it to `endless()`. See to it that somebody notices when the loop is
gone all the same, and starts it again or calls the process not ready.
"""

import time
from collections.abc import Callable

import structlog

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
log = structlog.get_logger()


def endless(turn: Callable[[], bool], *, name: str) -> None:
    """Take one turn after the other until one of them returns False.

    What a turn raises is logged under the loop's name. The next turn comes after a pause, which doubles as
    long as turns fail.
    """
    pause = PAUSE_SECONDS
    while True:
        try:
            if not turn():
                return
            pause = PAUSE_SECONDS
        except Exception as error:
            log.error("turn_failed", loop=name, exc_info=error)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
