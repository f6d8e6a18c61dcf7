"""What a worker does between two batches of events, part by part: when each is due, and what happens when one fails.

The command that starts the worker hands it the parts, so this room knows none of them. A part that fails is logged, and
tried again after a pause. Events and the other parts go on.

To add a part: a function in receiver/cli/worker.py that does one bounded turn, and its line there.
"""

import time
from collections.abc import Callable, Mapping

import structlog

from receiver.database.causes import cause_of
from receiver.store.inbox import Inbox

Part = Callable[[Inbox, str], float]
"""Takes one turn for the worker of this name. Returns the seconds until the next turn, 0 when there is more to do."""
TRY_AGAIN_SECONDS = 10.0
log = structlog.get_logger()


class Upkeep:
    """The parts of one worker, each with the moment of its next turn. All are due at the start."""

    def __init__(self, inbox: Inbox, worker: str, parts: Mapping[str, Part]) -> None:
        self._inbox, self._worker, self._parts = inbox, worker, parts
        self._due_at = dict.fromkeys(parts, 0.0)

    def take_turns(self) -> bool:
        """Let each part that is due take one turn. Says whether one of them has more to do now."""
        ended_with = [self._take_turn(name, do) for name, do in self._parts.items() if self._is_due(name)]
        return 0 in ended_with

    def bring_forward(self, name: str) -> None:
        """Let this part be due now."""
        self._due_at[name] = 0.0

    def _is_due(self, name: str) -> bool:
        return time.monotonic() >= self._due_at[name]

    def _take_turn(self, name: str, do: Part) -> float:
        try:
            pause = do(self._inbox, self._worker)
        except Exception as error:  # whatever it is, events and the other parts go on
            log.warning("upkeep_failed", worker=self._worker, part=name, error=cause_of(error))
            pause = TRY_AGAIN_SECONDS
        self._due_at[name] = time.monotonic() + pause
        return pause
