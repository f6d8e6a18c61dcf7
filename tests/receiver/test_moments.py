"""Every moment from year 1 to 9999 that a sender may write: accepted, stored, sorted, shown and exported, at both ends.

What a moment without a zone means is a setting. Nothing is guessed.
"""

import csv
import io
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from receiver.protocol.moments import FIRST, LAST, NoMoment, moved, read_moment, written
from receiver.store.models import StoredEvent
from receiver.testing import both_databases
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs
from tests.receiver.partner.models import ProbePayment

KUALA_LUMPUR = ZoneInfo("Asia/Kuala_Lumpur")
NEW_YORK = ZoneInfo("America/New_York")
TEN = datetime(2026, 11, 27, 10, tzinfo=UTC)
EXTREMES = {
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00+08:00": "0001-01-01T00:00:00+00:00",
    "0009-06-01T00:00:00Z": "0009-06-01T00:00:00+00:00",
    "0999-12-31T23:59:59Z": "0999-12-31T23:59:59+00:00",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999+00:00",
    "9999-12-31T23:59:59.9999999-05:00": "9999-12-31T23:59:59.999999+00:00",
}  # as senders write "no time" and "for ever"


@postgresql_and_sqlite_in_long_runs
def test_moments_at_both_ends_of_the_calendar_break_no_page_no_export_and_no_command(
    app, deliver, work, stored, signed_in
):
    for number, moment in enumerate(EXTREMES):
        answer = deliver("payment.success", event_id=f"evt_{number}", timestamp=moment, transaction_id="TXN-1")
        assert answer.json["status"] == "accepted", moment
    work()
    client, runner = signed_in(), app.test_cli_runner()
    rows = [stored(f"evt_{number}") for number in range(len(EXTREMES))]

    addresses = ["/", "/events", "/audit", "/subjects/transaction/TXN-1", "/events?q=TXN-1"]
    addresses += [address for row in rows for address in (f"/events/{row.id}", f"/support/events/{row.id}")]
    pages = {address: client.get(address).status_code for address in addresses}
    commands = [["events", "list"], ["events", "remask"], ["events", "replay", "--state", "processed"]]
    for number in range(len(EXTREMES)):
        commands += [["events", "show", f"evt_{number}"], ["events", "support", f"evt_{number}"]]
    exits = {" ".join(command): runner.invoke(args=command).exit_code for command in commands}

    assert set(pages.values()) == {200}, pages
    assert set(exits.values()) == {0}, exits
    assert {row.state for row in rows} == {"processed"}
    assert [row.occurred_at.isoformat() for row in rows] == list(EXTREMES.values())
    exported = list(csv.DictReader(io.StringIO(client.get("/events/export.csv").text)))
    assert {row["occurred_at"] for row in exported} == {value.replace("T", " ") for value in EXTREMES.values()}
    assert len(client.get("/events/export.json").json) == len(EXTREMES)
    in_order = client.get("/subjects/transaction/TXN-1").text
    places = [in_order.rindex(f">evt_{number}<") for number in range(len(EXTREMES))]
    assert places == sorted(places)


@both_databases
def test_the_partners_tables_sort_moments_of_any_year(perform, session):
    perform("payment.failed", transaction_id="TXN-1", timestamp="0999-01-01T00:00:00Z")
    perform("payment.success", transaction_id="TXN-1", timestamp="2026-01-01T00:00:00Z")
    perform("payment.failed", transaction_id="TXN-1", timestamp="0001-01-01T00:00:00Z")

    row = session.get(ProbePayment, "TXN-1")
    assert (row.status, row.occurred_at.year) == ("paid", 2026)


def test_a_year_that_was_once_stored_unpadded_is_read(deliver, inbox, stored, signed_in):
    deliver(event_id="evt_1")
    with inbox.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE events SET occurred_at = '1-01-01 00:00:00.000000'")

    assert stored("evt_1").occurred_at == FIRST
    assert signed_in().get("/events").status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "/events?since=0001-01-01T00:00:00&until=9999-12-31T23:59:59",
        "/events?until=0001-01-01",
        "/support/time?since=0001-01-01T00:00&until=9999-12-31T23:59",
        "/support/time?until=0001-01-01T00:00",
        "/audit?since=0001-01-01T00:00&until=9999-12-31T23:59",
    ],
)
@both_databases
def test_pages_are_filtered_by_moments_at_both_ends_of_the_calendar(signed_in, deliver, address):
    deliver(event_id="evt_1")

    assert signed_in().get(address).status_code == 200


@pytest.mark.parametrize(
    "address", ["/support/time?until=9999-12-31T23:59-05:00", "/support/time?until=0001-01-01T00:00%2B08:00"]
)
def test_a_filter_that_is_off_the_calendar_is_named_and_breaks_no_page(signed_in, address):
    answer = signed_in().get(address)

    assert answer.status_code == 400
    assert "until" in answer.text


def test_a_moment_in_the_year_10000_of_another_zone_is_shown():
    assert written(LAST, KUALA_LUMPUR) == "10000-01-01 07:59:59"
    assert written(LAST) == "9999-12-31 23:59:59"
    assert written(FIRST, NEW_YORK).startswith("0000-12-31 19:")


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from([UTC, KUALA_LUMPUR, NEW_YORK]))
def test_every_moment_can_be_written_in_every_zone_and_read_again(moment, zone):
    assert read_moment(moment.isoformat()) == moment
    assert len(written(moment, zone)) in (19, 20)
    assert FIRST <= moved(moment, timedelta(days=400)) <= LAST


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-27T10:00:00Z", "2026-11-27t10:00:00z", "2026-11-27 10:00:00Z", "2026-11-27T18:00:00+0800",
        "2026-11-27T18:00:00+08", "2026-11-27 18:00:00 +0800", "2026-11-27 18:00:00+08:00", "2026-11-27 10:00:00 UTC",
        "2026-11-27 10:00:00 GMT", "2026-11-27T10:00:00,000Z", "2026-11-27T10:00:00.000000000Z",
        "2026-11-27T10:00:00.0Z", "20261127T100000Z", "2026-11-27T10:00Z", " 2026-11-27T10:00:00Z\n",
        "2026-11-27 18:00:00.000000000 +0800 +08", "2026-11-27T18:00:00+08:00[Asia/Kuala_Lumpur]",
        "2026-11-27T09:59:60Z", "Fri, 27 Nov 2026 18:00:00 +0800", "27 Nov 2026 10:00:00 GMT",
        "Fri Nov 27 2026 18:00:00 GMT+0800 (Malaysia Time)", "/Date(1795773600000+0800)/",
        1795773600, 1795773600.0, 1795773600000, 1795773600000.0, 1795773600000000, 1795773600000000000,
        "1795773600", "1795773600.000", "1795773600000", "1795773600000000",
        "Fri Nov 27 10:00:00 UTC 2026", "Fri Nov 27 18:00:00 +0800 2026", "27 November 2026 10:00:00 GMT",
        "November 27, 2026, 6:00:00 PM +08:00", "Nov 27, 2026 10:00:00\u202fAM UTC", "2026/11/27 10:00:00Z",
        "2026-11-27 18:00:00.000 +0800 +08 m=+0.000012", "2026-11-27T18:00:00+08:00[Asia/Kuala_Lumpur][u-ca=iso8601]",
    ],
)  # fmt: skip
def test_a_moment_is_read_in_each_form_in_which_real_senders_write_it(value):
    assert read_moment(value) == TEN


@pytest.mark.parametrize("value", [20261127, "20261127", 20261127.0, "20261127.0", "2026-11-27", [2026, 11, 27]])
def test_a_date_is_its_midnight_in_the_zone_of_the_setting(value):
    assert read_moment(value, KUALA_LUMPUR) == TEN - timedelta(hours=18)


@pytest.mark.parametrize(("value", "hour"), [("2026-11-27Z", 0), ("2026-11-27+08:00", -8), ("2026-11-27-05:00", 5)])
def test_a_date_with_a_zone_of_its_own_is_its_midnight_there(value, hour):
    assert read_moment(value) == TEN + timedelta(hours=hour - 10)


@pytest.mark.parametrize(("value", "hour"), [("12:00:00 AM", 0), ("12:30:00 PM", 12), ("1:00 pm", 13)])
def test_twelve_is_the_first_hour_of_each_half_of_a_day(value, hour):
    assert read_moment(f"Nov 27, 2026, {value} UTC").hour == hour


def test_a_fraction_is_exact_to_the_microsecond():
    expected = TEN + timedelta(microseconds=123456)

    assert {
        read_moment(value) for value in (1795773600.123456, "1795773600.123456", "2026-11-27T10:00:00,123456789Z")
    } == {expected}


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-27 18:00:00", "2026-11-27T18:00:00.000", "20261127180000", 20261127180000, "27 Nov 2026 18:00:00",
        "202611271800", 202611271800, 20261127180000.0, "20261127180000.0", "Fri Nov 27 18:00:00 2026",
        "Nov 27, 2026, 6:00:00 PM", [2026, 11, 27, 18, 0], [2026, 11, 27, 18, 0, 0], [2026, 11, 27, 18, 0, 0, 999],
    ],
)  # fmt: skip
def test_a_moment_without_a_zone_is_read_in_the_zone_of_the_setting_and_never_guessed(value):
    assert read_moment(value, KUALA_LUMPUR) == TEN
    with pytest.raises(NoMoment, match="missing_offset"):
        read_moment(value)


@pytest.mark.parametrize(
    "value",
    [
        "", "yesterday", "27/11/2026 10:00:00", "2026-13-01T00:00:00Z", "2026-11-27 10:00:00 MYT",
        "0000-00-00 00:00:00",
        "2026-11-27 10:00:00 UTC +0800", "2026-11-27T10:00:00+25:00", "2026-11-27T10:61:00Z", True, 10**30, [],
        "٢٠٢٦-١١-٢٧T10:00:00Z", "1e9", "\ud800", [2026], [2026, 11], [2026, 13, 1], [2026, 11, 27, 10, 0, 0, 0, 0],
        [2026, 11, True], [2026, 11, "27"], [10**400, 1, 1], [-1, 1, 1], [2026, 11, 27, [10], 0], {"seconds": 1},
        "Nov 27, 2026, 13:00:00 PM UTC", "Nov 27, 2026, 0:00:00 AM UTC", "Novx 27 2026 10:00:00 UTC",
        "Fri Nov 27 10:00:00 MYT 2026", "11/27/2026 10:00:00 AM UTC", float("inf"), float("-inf"),
    ],
)  # fmt: skip
def test_what_has_no_reading_or_two_is_no_moment(value):
    for zone in (None, KUALA_LUMPUR):
        with pytest.raises(NoMoment, match="not_a_timestamp"):
            read_moment(value, zone)


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_whatever_a_timestamp_is_only_the_typed_error_comes_out(value):
    with suppress(NoMoment):
        assert FIRST <= read_moment(value, KUALA_LUMPUR) <= LAST


class TestWithoutAZone:
    @pytest.fixture
    def with_zone(self, environment):
        environment["SENANG_TIMESTAMP_ZONE"] = "Asia/Kuala_Lumpur"

    @pytest.mark.usefixtures("with_zone")
    @pytest.mark.parametrize("value", ["2026-11-27 18:00:00", [2026, 11, 27, 18, 0]])
    def test_a_delivery_is_accepted_under_the_setting_and_its_handler_sees_the_moment(self, perform, value):
        row = perform("payment.success", timestamp=value)

        assert row.occurred_at == TEN

    def test_it_is_quarantined_without_the_setting_and_page_and_command_name_it(self, app, deliver, signed_in, session):
        answer = deliver(event_id="evt_1", timestamp="2026-11-27 18:00:00")

        row = session.scalars(sa.select(StoredEvent)).one()
        page = signed_in().get(f"/events/{row.id}").text
        shown = app.test_cli_runner().invoke(args=["events", "show", f"#{row.id}"]).output
        assert answer.json == {"status": "quarantined", "errors": {"timestamp": ["missing_offset"]}}
        assert "SENANG_TIMESTAMP_ZONE" in page
        assert "SENANG_TIMESTAMP_ZONE" in shown
