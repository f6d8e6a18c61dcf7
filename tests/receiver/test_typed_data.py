"""Typed data: a handler gets data that fits its schema. Data that does not fit makes its event dead, with reasons."""

from decimal import Decimal

import pytest
from marshmallow import Schema, ValidationError, fields

from receiver import DataSchema
from receiver.registry import handles
from receiver.testing import both_databases

NAME = "Siti Nurhaliza binti Osman"


CURRENCIES = set()


class Item(DataSchema):
    price = fields.Decimal(required=True)


def not_too_early(value):
    if value.year < 2000:
        raise ValidationError("too_early")


def known(currency):
    if currency not in CURRENCIES:
        raise ValidationError(f"{currency} is no currency")


class PaidData(DataSchema):
    amount = fields.Decimal(required=True)
    currency = fields.String(validate=known)
    paid_on = fields.Date(validate=not_too_early)
    items = fields.List(fields.Nested(Item))


@pytest.fixture
def got():
    """The data that the handler got."""
    return []


@pytest.fixture
def currencies():
    """The currencies that the schema knows."""
    CURRENCIES.clear()
    CURRENCIES.update({"MYR", "SGD"})
    return CURRENCIES


@pytest.fixture
def paying(got, currencies):
    @handles("test.paid", data=PaidData)
    def paid(event, _session):
        got.append(event.data)


@pytest.fixture
def refused(paying, deliver, work, stored):
    """Deliver this data, and return the error that its event has."""

    def deliver_it(data):
        deliver("test.paid", event_id="evt_1", data=data)
        work()
        row = stored("evt_1")
        assert (row.state, row.attempts) == ("dead", 1)
        return row.last_error

    return deliver_it


@both_databases
def test_a_handler_gets_what_the_schema_read_and_unknown_fields_too(paying, deliver, work, got):
    deliver("test.paid", data={"amount": "99.50", "currency": None, "new": {"a": 1}})

    work()

    assert got == [{"amount": Decimal("99.50"), "currency": None, "new": {"a": 1}}]


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        ({}, "amount missing"),
        ({"amount": NAME}, "amount not_valid"),
        ({"amount": None}, "amount null"),
        ({"amount": 1, "currency": NAME}, "currency not_valid"),
        ({"amount": 1, "paid_on": "1999-12-31"}, "paid_on too_early"),
        ({"amount": 1, "items": [{"price": 1}, {"price": NAME}]}, "items.1.price not_valid"),
        ({"paid_on": "soon", "items": [{}]}, "amount missing, items.0.price missing, paid_on not_valid"),
    ],
)
def test_data_that_does_not_fit_makes_its_event_dead_with_the_reason_of_each_field_and_no_value(
    refused, got, data, reasons
):
    error = refused(data)

    named = error.removeprefix("DataDoesNotFit: the data does not fit PaidData: ").partition(" (at ")[0]
    assert ", ".join(sorted(named.split(", "))) == reasons
    assert (got, NAME in error) == ([], False)


def test_a_plain_schema_of_marshmallow_gives_codes_too(deliver, work, stored):
    class Plain(Schema):
        amount = fields.Integer(required=True)

    handles("test.plain", data=Plain)(lambda _event, _session: None)
    deliver("test.plain", event_id="evt_1", data={NAME: 1})

    work()

    assert "[key] not_valid" in stored("evt_1").last_error
    assert NAME not in stored("evt_1").last_error


@both_databases
def test_when_the_schema_is_mended_the_event_is_replayed(refused, app, work, got, stored, currencies):
    refused({"amount": "99.50", "currency": "THB"})

    currencies.add("THB")
    app.test_cli_runner().invoke(args=["events", "replay", "--state", "dead"])
    work()

    assert (stored("evt_1").state, got[0]["currency"]) == ("processed", "THB")


@both_databases
def test_they_are_counted_by_type(refused, deliver, work, app, environment):
    refused({})
    deliver("test.paid", event_id="evt_2", data={"amount": NAME})
    work()

    checked = app.test_cli_runner().invoke(args=["events", "check", "--json"])

    assert '"misfits": {"test.paid": 2}' in checked.output


def test_a_message_that_is_a_value_is_no_code(deliver, work, stored):
    def echo(name):
        raise ValidationError(name)

    class Echo(DataSchema):
        name = fields.String(validate=echo)

    handles("test.echo", data=Echo)(lambda _event, _session: None)
    deliver("test.echo", event_id="evt_1", data={"name": "siti"})

    work()

    assert "name not_valid" in stored("evt_1").last_error
    assert "siti" not in stored("evt_1").last_error
