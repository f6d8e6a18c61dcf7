"""A loop that keeps the receiver alive: it survives whatever one of its turns raises.

To add such a loop, write one turn of it and pass it to `endless()`. Something must still notice when the loop is gone,
and then start it again or call the process not ready.
"""

import time
from collections.abc import Callable

import structlog

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
log = structlog.get_logger()


def endless(turn: Callable[[], bool], *, name: str) -> None:
    """Take turn after turn until one of them returns False.

    An error of a turn is logged with the loop's name. Then there is a pause before the next turn. The pause doubles as
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
