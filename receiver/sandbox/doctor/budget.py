"""How long a diagnosis may compute. The search asks after every candidate, so a giant body costs no more than that."""

import time


class Budget:
    """Seconds of computing. A machine that is busy with other work takes nothing from them."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.process_time() + seconds

    @property
    def is_spent(self) -> bool:
        """Whether it is time to stop."""
        return time.process_time() > self._ends_at


ENDLESS = Budget(float("inf"))
