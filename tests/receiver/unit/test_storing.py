"""What waits beside a delivery is bounded, and nobody waits beyond the delivery's own time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver.ingest.room import Overloaded, TooLate
from receiver.ingest.storing import Storing
from receiver.testing.waiting import eventually

LONG = 30.0
THREADS = 4


@pytest.fixture
def opened():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def occupied(opened):
    """Threads that are all busy until `opened`."""

    def occupy(**options):
        storing = Storing(threads=THREADS, **options)
        begun = threading.Semaphore(0)

        def wait():
            begun.release()
            opened.wait()

        for _ in range(THREADS):
            storing.beside(wait)
        for _ in range(THREADS):
            assert begun.acquire(timeout=LONG)
        return storing

    return occupy


def soon(seconds=0.05):
    return time.monotonic() + seconds


def test_work_has_no_more_time_than_its_delivery_has_left():
    with pytest.raises(TooLate):
        Storing(threads=THREADS).result(lambda: "done", size=1, ends_at=time.monotonic() - 1)


def test_what_waited_in_vain_is_not_done_later(occupied, opened):
    storing, done = occupied(), []
    with pytest.raises(TooLate):
        storing.result(lambda: done.append("late"), size=1, ends_at=soon())

    opened.set()

    assert storing.result(lambda: "next", size=1, ends_at=soon(LONG)) == "next"
    assert done == []


def test_too_many_who_wait_are_turned_away_at_once(occupied):
    storing = occupied(most_waiting=THREADS + 1)
    with pytest.raises(TooLate):
        storing.result(lambda: "first", size=1, ends_at=soon())

    with pytest.raises(Overloaded):
        storing.result(lambda: "second", size=1, ends_at=soon(LONG))


def test_too_much_that_waits_turns_others_away_until_it_is_given_up(occupied, opened):
    storing = occupied(most_bytes=1_000)
    with ThreadPoolExecutor(1) as sender:
        large = sender.submit(storing.result, lambda: "large", size=2_000, ends_at=soon(LONG))
        eventually(lambda: storing._room.bytes == 2_000)
        with pytest.raises(Overloaded):
            storing.result(lambda: "one too many", size=1, ends_at=soon(LONG))
        opened.set()

        assert large.result() == "large"
    assert storing.result(lambda: "next", size=1, ends_at=soon(LONG)) == "next"


def test_what_is_given_up_holds_no_bytes(occupied):
    storing = occupied(most_bytes=1_000)
    with pytest.raises(TooLate):
        storing.result(lambda: "large", size=2_000, ends_at=soon())

    with pytest.raises(TooLate):  # and not Overloaded
        storing.result(lambda: "next", size=1, ends_at=soon())
