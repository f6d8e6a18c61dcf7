"""Threads of libraries in a process whose main thread has signal handlers and a time limit."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signals_held_back() -> Iterator[None]:
    """A thread that is started in the block gets no signal: they must reach the main thread, whatever it waits for."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
