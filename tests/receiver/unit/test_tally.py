"""Floods become sums, and no sum is lost on its way to the database."""

from datetime import UTC, datetime, timedelta

import pytest

from receiver.store.tally import OVERFLOW, ROWS_A_MINUTE, Key, Tally

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
KEY = Key("duplicate", "evt_1", "payment.success")


@pytest.fixture
def flooded():
    tally = Tally(OVERFLOW)
    for _ in range(ROWS_A_MINUTE + 7):
        tally.admits(KEY, NOW)
    return tally


def test_the_first_of_a_kind_get_their_own_rows_and_the_rest_are_counted(flooded):
    with flooded.finished_sums(LATER) as sums:
        assert sums == [(KEY, 7)]


def test_before_the_process_ends_the_sums_of_the_present_minute_are_handed_out_too(flooded):
    with flooded.finished_sums(NOW) as sums:
        assert sums == []

    with flooded.all_sums() as sums:
        assert sums == [(KEY, 7)]


def test_a_sum_is_handed_out_once(flooded):
    with flooded.finished_sums(LATER):
        pass

    with flooded.finished_sums(LATER) as sums:
        assert sums == []


def test_a_sum_that_could_not_be_written_is_handed_out_again(flooded):
    with pytest.raises(OSError, match="disk"), flooded.finished_sums(LATER):
        raise OSError("disk")

    with flooded.finished_sums(LATER) as sums:
        assert sums == [(KEY, 7)]


def test_work_that_is_tried_again_is_counted_once():
    tally, admitted = Tally(OVERFLOW), 0
    for _ in range(ROWS_A_MINUTE):
        asked = tally.asked_once(NOW)
        admitted += all(asked(KEY) for _try in range(2))

    assert admitted == ROWS_A_MINUTE
    assert not tally.asked_once(NOW)(KEY)
