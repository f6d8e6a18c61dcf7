"""A fork's receiver has a name of its own where people meet it: one setting, and no file of ours is changed."""

import json

import pytest

NAME = "Kelab Emas & Co 中"


@pytest.fixture
def named(environment):
    environment["RECEIVER_NAME"] = NAME


def test_pages_show_the_name_of_the_receiver(named, app):
    page = app.test_client().get("/sign-in").text

    assert "<title>Sign in · Kelab Emas &amp; Co 中</title>" in page
    assert ">Kelab Emas &amp; Co 中</a>" in page
    assert "Senang.io receiver" not in page


def test_a_receiver_with_a_name_has_a_cookie_of_its_own(named, app, signed_in):
    client = signed_in()

    assert [cookie.key for cookie in client._cookies.values()] == ["session-Kelab%20Emas%20%26%20Co%20%E4%B8%AD"]
    assert client.get("/events").status_code == 200


def test_each_log_line_has_the_name(named, deliver, work, app, capsys):
    deliver()
    work()
    app.test_client().get("/sign-in")

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert {line["event"] for line in lines} >= {"delivery", "attempt", "request"}
    assert {line.get("receiver") for line in lines} == {NAME}


def test_without_a_name_nothing_is_called_otherwise(deliver, signed_in, capsys):
    deliver()
    client = signed_in()

    assert "Senang.io receiver</title>" in client.get("/events").text
    assert [cookie.key for cookie in client._cookies.values()] == ["session"]
    assert not [line for line in capsys.readouterr().out.splitlines() if '"receiver"' in line]
