"""How people read moments on the pages: how long ago, in Malaysian time with UTC beside, or in UTC."""

import re
from html import unescape
from urllib.parse import unquote

import pytest

AT = "2026-11-24T17:30:00Z"
"""In Malaysia it is the next day."""


@pytest.fixture
def reader(signed_in, csrf_token):
    """A viewer's browser that asked for times in this way, and where it was led."""

    def choose(times, back="/events?state=dead"):
        client = signed_in("viewer")
        form = {"csrf_token": csrf_token(client.get("/events")), "times": times, "next": back}
        client.answer = client.post("/times", data=form)
        return client

    return choose


def times_of(page):
    """What the page says between its <time> tags, as one reads it."""
    seen = re.sub(r'<span class="visually-hidden">.*?</span>', "", page)
    return [unescape(re.sub("<[^>]*>", "", text)) for text in re.findall(r"<time [^>]*>(.*?)</time>", seen)]


def test_times_are_malaysian_with_utc_beside_where_a_reader_asks_for_it(reader, deliver, stored):
    deliver(event_id="evt_1", timestamp=AT)
    path = f"/events/{stored('evt_1').id}"

    shown = {times: times_of(reader(times).get(path).text) for times in ("ago", "malaysia", "utc")}

    assert "2026-11-25 01:30:00 MYT 2026-11-24 17:30:00 UTC" in shown["malaysia"]
    assert "2026-11-24 17:30:00 UTC" in shown["utc"]
    assert all(text.endswith(("ago", "now")) or text.startswith("in ") for text in shown["ago"])


def test_the_choice_outlives_the_session_and_leads_back_to_the_page_of_ours(reader):
    led = [reader("utc", back).answer.headers["Location"] for back in ("/events?state=dead", "//evil.example", "")]
    cookie = next(text for text in reader("utc").answer.headers.getlist("Set-Cookie") if text.startswith("times="))

    assert led == ["/events?state=dead", "/", "/"]
    assert all(flag in cookie for flag in ("Max-Age=", "HttpOnly", "SameSite=Lax"))
    assert reader("yesterday").answer.status_code == 400


def test_a_form_takes_times_as_the_page_shows_them_and_an_address_says_the_zone(reader, csrf_token):
    for page, find in (("/events", "/events/find"), ("/audit", "/audit/find")):
        client = reader("malaysia")
        form = {"csrf_token": csrf_token(client.get(page)), "since": "2026-11-25T01:30", "until": ""}

        address = client.post(find, data=form).headers["Location"]
        again = client.get(address).text

        assert re.search("since=2026-11-2(5T01:30[+]08:00|4T17:30:00[+]00:00)", unquote(address)), address
        assert 'value="2026-11-25T01:30"' in again
        assert "(Malaysian time)" in again
        assert 'value="2026-11-24T17:30"' in reader("utc").get(address).text


def test_a_stranger_may_not_choose_and_a_foreign_cookie_means_nothing(app, signed_in, deliver):
    deliver()
    client = signed_in()
    client.set_cookie("times", "'; drop table")

    assert app.test_client().post("/times").status_code == 400
    assert times_of(client.get("/events").text)[0].endswith(("ago", "now"))
