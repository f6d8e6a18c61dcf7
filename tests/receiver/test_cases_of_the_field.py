"""Deliveries of 45 real senders' schemes: each is accepted as the right event under settings written by hand.

tests/receiver/cases/signatures.json has the deliveries, made by independent code with made-up data; settings.py beside
it has the settings. To add a case: an entry in both.
"""

import json
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.config import ConfigurationError, load_settings
from receiver.protocol.fields import item_at
from receiver.protocol.moments import read_moment
from receiver.store.models import StoredEvent
from tests.receiver.cases.settings import ACCEPTED, FIELDS, NOT_SIGNED, SETTINGS
from tests.receiver.settings import LIVE

CASES = json.loads((Path(__file__).parent / "cases" / "signatures.json").read_text())
NOTHING_SIGNED = {"flutterwave-v3", "guide-bearer", "postmark", "telegram"}
CHANGED_WHERE_NOTHING_IS_SIGNED = NOTHING_SIGNED | {"mercadopago", "dragonpay"}
SIGN_A_MOMENT = {
    "calendly", "doku", "front", "mailgun", "mercadopago", "omise", "openinsure", "paddle", "slack", "standard-v1a",
    "twitch", "vonage", "wompi", "zendesk",
}  # fmt: skip
ENVELOPE_IN_A_LIST = {"asana", "xero", "mandrill"}


def request_of(text):
    """The address, the headers and the body of a delivery as it came over the wire."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    return first.split()[1], headers, body.encode()[: int(headers.pop("Content-Length"))]


class Case:
    """One sender, with a receiver that has its settings."""

    def __init__(self, slug, environment, assemble, settings=None):
        self.slug, self.case = slug, CASES[slug]
        settings = (settings or SETTINGS[slug]) | {"SENANG_WEBHOOK_SECRETS": self.case["secret"]}
        self.app = assemble(environment | settings)
        self.inbox = self.app.extensions["inbox"]
        now = datetime.fromisoformat(self.case["signed_at"])
        self.inbox.clock.advance(seconds=(now - self.inbox.clock.now()).total_seconds())

    def deliver(self, name):
        path, headers, body = request_of(self.case["deliveries"][name])
        return self.app.test_client().post(path, data=body, headers=headers)

    def rows(self):
        with Session(self.inbox.engine) as session:
            return session.scalars(sa.select(StoredEvent).order_by(StoredEvent.id)).all()

    def forget(self):
        with Session(self.inbox.engine) as session:
            session.execute(sa.delete(StoredEvent))
            session.commit()


@pytest.fixture
def cases(environment, assemble):
    """Every case in turn, on one database that is empty each time."""

    def walk():
        for slug in sorted(SETTINGS):
            case = Case(slug, environment, assemble)
            yield case
            case.forget()

    return walk


def told(case, place):
    """What a delivery says at the place of its truth."""
    _, headers, body = request_of(case["deliveries"]["delivery"])
    if place.startswith("header:"):
        return headers[place.removeprefix("header:")]
    if "form" in headers["Content-Type"]:
        return dict(parse_qsl(body.decode()))[place]
    return item_at(json.loads(body), place)


def problems_of(case):
    """What is not as it should be."""
    slug, found = case.slug, []
    statuses = {name: case.deliver(name).status_code for name in ("delivery", "second", "third")}
    if set(statuses.values()) != {200}:
        return [f"{slug}: {statuses}"]
    rows = case.rows()
    if [row.state for row in rows] != ["pending"] * 3 or len({row.event_id for row in rows}) != 3:
        found.append(f"{slug}: {[(row.state, row.event_id, row.quarantine_reason) for row in rows]}")
        return found
    again = case.deliver("delivery").json["status"]
    if again != "duplicate":
        found.append(f"{slug}: a re-delivery is {again}")
    tampered = case.deliver("tampered").status_code
    if (tampered == 401) == (slug in CHANGED_WHERE_NOTHING_IS_SIGNED):
        found.append(f"{slug}: tampered is {tampered}")
    stale = case.deliver("stale").status_code
    if (stale == 401) != (slug in SIGN_A_MOMENT):
        found.append(f"{slug}: stale is {stale}")
    return found + wrong_truths(case, rows[0])


def wrong_truths(case, row):
    """What the stored event says and the delivery does not."""
    truth, found = case.case["truth"], []
    if case.slug in ENVELOPE_IN_A_LIST or case.slug == "2c2p":
        return found
    if truth["event_type"] and row.event_type != str(told(case.case, truth["event_type"])):
        found.append(f"{case.slug}: type {row.event_type}")
    if truth["timestamp"]:
        moment = read_moment(told(case.case, truth["timestamp"]), case.inbox.settings.timestamp_zone)
        if row.occurred_at != moment:
            found.append(f"{case.slug}: time {row.occurred_at}")
    place = truth["event_id"]
    signed = place and not (place.startswith("header:") and case.slug == "sentry")
    if signed and str(told(case.case, place)) not in row.event_id:
        found.append(f"{case.slug}: ID {row.event_id}")
    return found


def test_every_case_is_accepted_as_its_event_and_told_from_what_was_changed_or_is_late(cases):
    assert [problem for case in cases() for problem in problems_of(case)] == []


def test_every_case_starts_in_live_only_with_its_weaknesses_named(environment):
    wrong = []
    for slug, settings in SETTINGS.items():
        live = environment | LIVE | settings | {"SENANG_WEBHOOK_SECRETS": CASES[slug]["secret"]}
        live |= {"DATABASE_URL": "postgres://db.example/x"}
        kept = {name: value for name, value in live.items() if name != ACCEPTED}
        for named, environ in ((True, live), (False, kept)):
            try:
                load_settings(environ)
                starts = True
            except ConfigurationError as error:
                weak = [mistake for mistake in error.mistakes if "ACCEPTED_WEAKNESSES" in mistake]
                starts = not weak
            if starts != (named or ACCEPTED not in settings):
                wrong.append((slug, named))

    assert wrong == []


def test_what_carries_no_signature_can_not_be_set_up(environment):
    for slug in NOT_SIGNED:
        with pytest.raises(ConfigurationError):
            load_settings(
                environment | {"SENANG_SIGNATURE_SCHEME": "none", "SENANG_WEBHOOK_SECRETS": CASES[slug]["secret"]}
            )


@pytest.mark.parametrize("axes", [{"ALGORITHM": "md5"}, {"ALGORITHM": "hash-md5"}, {"CONTENT": "{body_md5}"}])
def test_md5_is_named_and_refused(environment, axes):
    settings = {f"SENANG_SIGNATURE_{axis}": value for axis, value in axes.items()}

    with pytest.raises(ConfigurationError, match="MD5"):
        load_settings(environment | {"SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex"} | settings)


def test_an_event_id_from_a_header_that_is_not_signed_is_refused(environment):
    settings = SETTINGS["sentry"] | {FIELDS: "event_id=header:Request-ID,event_type=action"}

    with pytest.raises(ConfigurationError, match="not signed"):
        load_settings(environment | settings | {"SENANG_WEBHOOK_SECRETS": CASES["sentry"]["secret"]})
