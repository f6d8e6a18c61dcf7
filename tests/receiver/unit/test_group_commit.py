"""Who waits together is stored together, and nobody goes on before it is durable."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver.ingest.group_commit import GroupCommit
from receiver.ingest.room import Overloaded, Refused, TooLate, Unavailable
from receiver.testing.waiting import PATIENCE_SECONDS, eventually


class Shelf:
    """A store that keeps what it is given. It can be made to wait, to refuse an item, or to be away."""

    def __init__(self):
        self.groups = []
        self.kept = set()
        self.away = False
        self.breaks_with = None
        self.open = threading.Event()
        self.entered = threading.Event()
        self.open.set()

    def store(self, items):
        self.entered.set()
        self.open.wait()
        if self.away:
            raise Unavailable("away")
        if self.breaks_with:
            raise self.breaks_with
        if "poison" in items:
            raise Refused("poison")
        self.groups.append(list(items))
        news = [item not in self.kept for item in items]
        self.kept.update(items)
        return news

    def announce(self):
        pass

    def close(self):
        pass


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def start(shelf):
    """A committer on the shelf. None of its threads outlives the test, or what ended one would be another test's."""
    started, before = [], set(threading.enumerate())

    def make(patience=float(PATIENCE_SECONDS), **options):
        started.append(GroupCommit(shelf, patience=patience, **options))
        return started[-1]

    yield make
    shelf.open.set()
    for committer in started:
        committer.close()
    eventually(lambda: not [thread for thread in set(threading.enumerate()) - before if thread.daemon])


@pytest.fixture
def pool(shelf):
    with ThreadPoolExecutor(100) as pool:
        yield pool
        shelf.open.set()


def occupy(shelf, committer, pool):
    """Let the committer be busy with one item, so that the next ones have to wait."""
    shelf.open.clear()
    first = pool.submit(committer.submit, "first")
    assert shelf.entered.wait(PATIENCE_SECONDS)
    return first


def test_a_lone_item_is_stored_at_once(shelf, start):
    assert start().submit("a") is True
    assert shelf.groups == [["a"]]


def test_what_was_stored_before_is_not_new(start):
    committer = start()
    committer.submit("a")

    assert committer.submit("a") is False


def test_all_who_wait_share_one_transaction(shelf, start, pool):
    committer = start()
    first = occupy(shelf, committer, pool)
    waiting = [pool.submit(committer.submit, number) for number in range(50)]
    eventually(lambda: committer.waiting == 50)

    shelf.open.set()

    assert [future.result(PATIENCE_SECONDS) for future in [first, *waiting]] == [True] * 51
    assert [len(group) for group in shelf.groups] == [1, 50]


def test_it_is_said_how_many_wait(shelf, start, pool):
    said = []
    committer = start(say_waiting=said.append)
    occupy(shelf, committer, pool)
    waiting = [pool.submit(committer.submit, number) for number in range(3)]
    eventually(lambda: said[-1:] == [3])

    shelf.open.set()

    assert all(future.result(PATIENCE_SECONDS) for future in waiting)
    eventually(lambda: said[-1] == 0)


def test_a_group_has_a_bound(shelf, start, pool):
    committer = start()
    occupy(shelf, committer, pool)
    waiting = [pool.submit(committer.submit, number) for number in range(80)]
    eventually(lambda: committer.waiting == 80)

    shelf.open.set()

    assert all(future.result(PATIENCE_SECONDS) for future in waiting)
    assert [len(group) for group in shelf.groups] == [1, 64, 16]


def test_nobody_goes_on_before_the_group_is_durable(shelf, start, pool):
    first = occupy(shelf, start(), pool)

    assert not first.done()

    shelf.open.set()
    assert first.result(PATIENCE_SECONDS) is True


def test_one_that_is_refused_fails_alone(shelf, start, pool):
    committer = start()
    occupy(shelf, committer, pool)
    futures = {item: pool.submit(committer.submit, item) for item in ("a", "poison", "b")}
    eventually(lambda: committer.waiting == 3)

    shelf.open.set()

    assert (futures["a"].result(PATIENCE_SECONDS), futures["b"].result(PATIENCE_SECONDS)) == (True, True)
    with pytest.raises(Refused):
        futures["poison"].result(PATIENCE_SECONDS)


def test_a_store_that_is_away_fails_all_of_the_group_and_none_of_the_next(shelf, start, pool):
    committer = start()
    occupy(shelf, committer, pool)
    waiting = [pool.submit(committer.submit, number) for number in range(3)]
    eventually(lambda: committer.waiting == 3)
    shelf.away = True
    shelf.open.set()
    for future in waiting:
        with pytest.raises(Unavailable):
            future.result(PATIENCE_SECONDS)

    shelf.away = False

    assert committer.submit("next") is True


def test_too_many_who_wait_are_turned_away_at_once(shelf, start, pool):
    committer = start(most_waiting=2)
    occupy(shelf, committer, pool)
    for number in range(2):
        pool.submit(committer.submit, number)
    eventually(lambda: committer.waiting == 2)

    with pytest.raises(Overloaded):
        committer.submit("one too many")


def test_too_much_that_waits_turns_others_away_before_memory_grows(shelf, start, pool):
    committer = start(most_bytes=1_000)
    occupy(shelf, committer, pool)
    pool.submit(committer.submit, "large", size=2_000)
    eventually(lambda: committer.waiting == 1)

    with pytest.raises(Overloaded):
        committer.submit("one too many", size=1)

    shelf.open.set()
    eventually(lambda: "large" in shelf.kept)
    assert committer.submit("next", size=1) is True


def test_it_can_be_closed_and_used_again(shelf, start):
    committer = start()
    committer.submit("a")
    committer.close()

    assert committer.submit("b") is True


def test_whoever_waits_too_long_is_sent_away_and_not_stored_later(shelf, start, pool):
    committer = start(patience=1.0)
    occupied = occupy(shelf, committer, pool)

    with pytest.raises(TooLate):
        committer.submit("late")

    shelf.open.set()
    with pytest.raises(TooLate):
        occupied.result(PATIENCE_SECONDS)
    committer.submit("next")
    assert shelf.groups == [["first"], ["next"]]


def test_closing_stores_who_still_waits(shelf, start, pool):
    committer = start()
    occupy(shelf, committer, pool)
    waiting = pool.submit(committer.submit, "a")
    eventually(lambda: committer.waiting == 1)

    shelf.open.set()
    committer.close()

    assert waiting.result(PATIENCE_SECONDS) is True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), KeyboardInterrupt(), SystemExit()])
def test_whatever_the_store_raises_fails_its_group_at_once_and_the_next_item_is_stored(shelf, start, error):
    committer = start()
    shelf.breaks_with = error
    with pytest.raises(Unavailable):
        committer.submit("a")

    shelf.breaks_with = None

    assert committer.submit("b") is True
    eventually(lambda: not committer.is_broken)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_committer_that_is_gone_is_started_again_though_nothing_comes(shelf, start):
    committer = start()
    shelf.breaks_with = SystemExit()
    with pytest.raises(Unavailable):
        committer.submit("a")

    eventually(lambda: not committer.is_broken)
    shelf.breaks_with = None
    assert committer.submit("b") is True


def test_an_item_has_no_more_time_than_its_delivery_has_left(shelf, start, pool):
    committer = start(patience=5.0)
    occupy(shelf, committer, pool)

    with pytest.raises(TooLate):
        committer.submit("late", ends_at=time.monotonic() + 0.2)


def test_who_has_less_time_does_not_wait_for_who_came_before(shelf, start, pool):
    committer = start(patience=5.0)
    occupy(shelf, committer, pool)
    before = pool.submit(committer.submit, "patient")
    eventually(lambda: committer.waiting)

    with pytest.raises(TooLate):
        committer.submit("late", ends_at=time.monotonic() + 0.2)

    assert not before.done()
