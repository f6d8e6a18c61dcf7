"""The alarm of a worker, which is set for each attempt."""

import signal
import time

import pytest

from receiver.worker.time_limit import HandBack, HandlerTimeout, TimeLimit

LONG = 60
"""Seconds: far more than any machine is late."""


@pytest.fixture
def limit():
    return TimeLimit()


def busy(seconds):
    """What a handler does that computes."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        pass


def test_an_attempt_that_takes_too_long_is_stopped(limit):
    with pytest.raises(HandlerTimeout), limit.of(0.05):
        busy(LONG)


def test_the_alarm_of_an_attempt_ends_with_it(limit):
    with limit.of(LONG):
        pass

    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_an_alarm_that_the_library_of_a_handler_set_earlier_stops_nothing(limit):
    with limit.of(LONG):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        busy(0.1)


@pytest.mark.parametrize(
    "take",
    [
        lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN),
        lambda: signal.setitimer(signal.ITIMER_REAL, 0),
        lambda: (signal.signal(signal.SIGALRM, signal.SIG_IGN), signal.setitimer(signal.ITIMER_REAL, 60)),
    ],
    ids=["takes the signal", "switches the timer off", "takes both"],
)
def test_the_next_attempt_is_stopped_in_time_where_the_library_of_a_handler_took_the_alarm(limit, take):
    with limit.of(LONG):
        take()

    with pytest.raises(HandlerTimeout), limit.of(0.05):
        busy(LONG)


def test_a_worker_that_has_to_stop_hands_the_running_attempt_back_in_time(limit):
    def told_to_stop():
        limit.stop_soon(0.05)
        busy(LONG)

    with pytest.raises(HandBack), limit.of(LONG):
        told_to_stop()
