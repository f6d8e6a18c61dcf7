"""Amounts are exact from the sender's bytes to a handler, a column, a page and a command: no digit is lost or made up.

A number that may be an account's is hidden as a whole (privacy/grammar.py). It is never shown rounded.
"""

import csv
import io
import json
import re
from decimal import Decimal

import pytest
import sqlalchemy as sa
from marshmallow import fields
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from receiver import DataSchema, Event, Money, handles
from receiver.protocol.json_body import parse_object, to_json
from receiver.store.models import StoredEvent
from receiver.testing import both_databases

KEPT = [
    "0", "0.0", "-0", "-0.00", "0.0000", "0.1", "0.10", "0.2", "0.3", "0.005", "0.0001", "-0.01", "-5.00", "1.005",
    "2.675", "1.234", "12345.678", "99.9", "99.50", "100.00", "1e2", "1E+3", "1e-4", "1.10e1", "5E0", "1e13",
    "1000000.01", "20261128.00", "123456789.01", "1234567890.12", "123456789012.34", "123456789012.3456",
    "12345678901234", "12345678901234.5678", "99999999999999.9999", "-99999999999999.9999", "0.30", "123.000000000",
]  # fmt: skip
"""Amounts that a Money column keeps, as a sender may write them."""
TOO_LONG = [
    "0.12345",
    "0.30000000000000004",
    "100000000000000",
    "4503599627370497.5",
    "9007199254740993",
    "1e14",
    "1e-5",
]
"""Amounts that have more digits than money has."""
AMOUNTS = [*KEPT, *TOO_LONG]
DEFAULT: dict[str, str] = {}
OVER_FIELDS = {
    "SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex",
    "SENANG_SIGNATURE_CONTENT": "{fields}",
    "SENANG_SIGNATURE_VALUE_SEPARATOR": "=",
}


class Amount(DataSchema):
    amount = fields.Decimal(required=True)


@pytest.fixture
def settings():
    return DEFAULT


@pytest.fixture
def environment(environment, settings):
    return environment | settings


@pytest.fixture
def till(inbox):
    """A table with an amount, by the event that brought it."""
    table = sa.Table(
        "till", sa.MetaData(), sa.Column("event_id", sa.String(200), primary_key=True), sa.Column("amount", Money)
    )
    table.create(inbox.engine)
    return table


@pytest.fixture
def seen(till):
    """What handlers got: the amount as it was sent and as the schema reads it, by the ID of the event."""
    got: dict[str, object] = {}

    @handles("till.sent")
    def sent(event: Event, session: Session) -> None:
        got[event.id] = event.data["amount"]

    @handles("till.read", data=Amount)
    def read(event: Event, session: Session) -> None:
        got[event.id] = event.data["amount"]
        session.execute(till.insert().values(event_id=event.id, amount=event.data["amount"]))

    return got


@pytest.fixture
def deliver_all(sender, payload, work):
    """Deliver each amount as a number and as text, in events of these types: what was sent, by the ID of its event."""

    def run(*event_types):
        sent = {}
        for number, amount in enumerate(AMOUNTS):
            for kind, written in (("number", amount), ("text", f'"{amount}"')):
                for event_type in event_types:
                    event_id = f"{event_type}_{number}_{kind}"
                    body = json.dumps(payload(event_type, event_id=event_id, data={"amount": "HERE"}))
                    assert sender.deliver(body.replace('"HERE"', written).encode()).status == 200
                    sent[event_id] = written
        work()
        return sent

    return run


@both_databases
@pytest.mark.parametrize("settings", [DEFAULT, OVER_FIELDS], ids=["default", "over fields"])
def test_forty_awkward_amounts_come_to_the_handler_and_into_its_column_to_the_last_digit(
    deliver_all, seen, till, session, settings
):
    sent = deliver_all("till.sent", "till.read")

    wrong = []
    kept = dict(session.execute(sa.select(till.c.event_id, till.c.amount)).all())
    states = dict(session.execute(sa.select(StoredEvent.event_id, StoredEvent.state)).all())
    for event_id, written in sent.items():
        amount = written.strip('"')
        as_sent = amount if written != amount or settings else Decimal(amount)
        is_read, is_kept = event_id.startswith("till.read"), amount in KEPT
        if seen[event_id] != (Decimal(amount) if is_read else as_sent) or isinstance(seen[event_id], float):
            wrong.append((written, "the handler got", seen[event_id]))
        if is_read and kept.get(event_id) != (Decimal(amount) if is_kept else None):
            wrong.append((written, "the column has", kept.get(event_id)))
        if states[event_id] != ("pending" if is_read and not is_kept else "processed"):
            wrong.append((written, states[event_id]))

    assert wrong == []
    assert len(AMOUNTS) >= 40


@pytest.mark.parametrize(
    ("settings", "database"),
    [
        pytest.param(DEFAULT, "sqlite", marks=pytest.mark.soak),
        (OVER_FIELDS, "sqlite"),
        pytest.param(DEFAULT, "postgresql", marks=pytest.mark.postgresql),
    ],
    indirect=["database"],
    ids=["default", "over fields", "on PostgreSQL"],
)
def test_people_see_each_amount_to_the_last_digit_or_not_at_all(deliver_all, seen, stored, signed_in, app, settings):
    sent = deliver_all("till.sent")
    page, run = signed_in(), app.test_cli_runner()

    wrong, shown = [], 0
    for event_id, written in sent.items():
        amount = written.strip('"')
        text = (
            str(Decimal(amount) if re.search("[.eE]", amount) else int(amount))
            if amount == written and not settings
            else amount
        )
        kind = "number" if amount == written and not settings else "text"
        allowed = {text, f"[{kind} {len(text)}]"}
        on_page = re.findall(r"amount:</span> <code>(.*?)</code>", page.get(f"/events/{stored(event_id).id}").text)
        printed = run.invoke(args=["events", "show", event_id, "--json"]).output
        listed = json.loads(printed, parse_float=str, parse_int=str)["masked_payload"]["data"]["amount"]
        request = run.invoke(args=["events", "support", event_id]).output
        told = [told.strip('"') for told in re.findall(r'"amount": ("?[^",}\s]+(?: [0-9]+\])?)', request)]
        found = {*on_page, listed, *told}
        shown += found == {text}
        if len(found) != 1 or not found <= allowed or not on_page or not told:
            wrong.append((written, on_page, listed, told))

    assert wrong == []
    assert shown > 50


@both_databases
def test_a_number_as_a_status_is_exported_as_it_was_written(sender, payload, signed_in):
    sent = {f"evt_{number}": amount for number, amount in enumerate(["0.10", "99.50", "1.10e1", "100.00", "7"])}
    for event_id, amount in sent.items():
        body = json.dumps(payload(event_id=event_id, status="HERE"))
        sender.deliver(body.replace('"HERE"', amount).encode())

    as_csv = csv.DictReader(io.StringIO(signed_in().get("/events/export.csv").text))
    as_json = signed_in().get("/events/export.json").json
    for rows in (as_csv, as_json):
        assert {row["event_id"]: row["reported_status"] for row in rows} == sent


def _number(text):
    return parse_object(f'{{"n": {text}}}'.encode())["n"]


@both_databases
def test_sums_in_sql_are_exact(till, inbox):
    parts = ["0.1", "0.2", "-0.0001", "123456789012.34", "99999999999999.9999", "99999999999999.9999"]
    with inbox.engine.begin() as connection:
        rows = [{"event_id": str(number), "amount": Decimal(part)} for number, part in enumerate(parts)]
        connection.execute(till.insert(), rows)
        of = till.c.amount
        first_two = connection.scalar(sa.select(sa.func.sum(of)).where(till.c.event_id < "2"))
        total = connection.scalar(sa.select(sa.func.sum(of)))
        least, most = connection.execute(sa.select(sa.func.min(of), sa.func.max(of))).one()
        more = connection.scalars(sa.select(of + Decimal("0.30")).where(till.c.event_id < "2").order_by(of)).all()
        found = connection.scalars(sa.select(till.c.event_id).where(of == Decimal("0.10"))).all()
        ordered = connection.scalars(sa.select(of).order_by(of)).all()
        five = sa.literal(Decimal("5.10"), Money)
        instead = connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(of), five)).where(till.c.event_id == "none"))
        nothing = connection.scalar(sa.select(sa.func.sum(of)).where(till.c.event_id == "none"))

    assert (first_two, total) == (Decimal("0.30"), sum(map(Decimal, parts)))
    assert (least, most) == (Decimal("-0.0001"), Decimal("99999999999999.9999"))
    assert (more, found, nothing) == ([Decimal("0.40"), Decimal("0.50")], ["0"], None)
    assert instead == Decimal("5.10")
    assert ordered == sorted(map(Decimal, parts))


@both_databases
def test_what_is_no_amount_is_refused_by_the_column_in_a_sentence_without_the_value(till, inbox):
    refused = {
        0.5: "money is a Decimal, not float",
        "0.5": "money is a Decimal, not str",
        True: "money is a Decimal, not bool",
        Decimal("0.00001"): "14 digits before the point and 4 behind",
        Decimal(10) ** 14: "14 digits before the point and 4 behind",
        10**14: "14 digits before the point and 4 behind",
        Decimal("NaN"): "money is a finite number",
        Decimal("-Infinity"): "money is a finite number",
    }
    for value, reason in refused.items():
        with inbox.engine.connect() as connection, pytest.raises(StatementError, match=reason) as error:
            connection.execute(till.insert().values(event_id="1", amount=value))
        assert str(value) not in str(error.value.orig)
        assert isinstance(error.value.orig, TypeError if "Decimal, not" in reason else ValueError)

    with inbox.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(till)) == 0


@both_databases
def test_a_difference_keeps_its_sides(till, inbox):
    amount = till.c.amount
    with inbox.engine.begin() as connection:
        connection.execute(till.insert().values(event_id="1", amount=Decimal("40.50")))
        found = connection.execute(sa.select(100 - amount, amount - 10)).one()
        of_sum = connection.scalar(sa.select(Decimal(100) - sa.func.sum(amount)))

    assert (tuple(found), of_sum) == ((Decimal("59.50"), Decimal("30.50")), Decimal("59.50"))


def test_products_and_quotients_in_sql_are_refused(till):
    amount, total = till.c.amount, sa.func.sum(till.c.amount)

    for product in (
        lambda: amount * 2, lambda: 2 * amount, lambda: amount / 2, lambda: 2 / amount, lambda: amount // 2,
        lambda: amount % 2, lambda: amount * amount, lambda: total * 2, lambda: total / 2,
        lambda: (amount + amount) * 2, lambda: -amount * 2,
    ):  # fmt: skip
        with pytest.raises(TypeError, match="in Python"):
            product()


def test_a_number_with_an_exponent_that_no_amount_has_is_kept_as_quarantined(sender, payload, session, work):
    exponents = ["1e-99999999999999999999", "0e99999999999999999999", "-0e-999999999", "1e-401", "1e309", "0e500"]
    for number, amount in enumerate(exponents):
        body = json.dumps(payload(event_id=f"evt_{number}", data={"amount": "HERE"})).replace('"HERE"', amount)
        answer = sender.deliver(body.encode())
        assert (answer.status, answer.json["status"]) == (200, "quarantined"), amount

    assert session.scalar(sa.select(sa.func.count()).select_from(StoredEvent)) == len(exponents)


def test_what_is_read_is_written_again_with_the_same_value(payload):
    for amount in (*AMOUNTS, "1e308", "1e-324", "5e-400", "1." + "0" * 5000 + "1"):
        assert _number(str(to_json(_number(amount)))) == Decimal(amount), amount
