"""What handlers ask for outside the database: a receipt by e-mail, and a call of the core system."""

import ssl
from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from app.handlers import core_system
from app.models import Payment
from receiver.testing.certificates import self_signed

PAID = {"amount": "99.50", "currency": "MYR", "customer": {"email": "siti@example.com"}}


@pytest.fixture
def mail(mail_server, monkeypatch):
    """A mail server that receipts go to."""
    monkeypatch.setenv("SMTP_URL", mail_server.url)
    monkeypatch.setenv("RECEIPT_FROM", "receipts@company.example")
    return mail_server


@pytest.fixture
def core(other_system, monkeypatch):
    """A core system that hears of payments, and whose circuit is whole."""
    monkeypatch.setenv("CORE_SYSTEM_URL", other_system.url)
    monkeypatch.setenv("CORE_SYSTEM_TOKEN", "token")
    monkeypatch.setattr(core_system, "circuit", core_system.Circuit())
    return other_system


@pytest.fixture
def certificate(mail, tmp_path):
    """The mail server offers TLS, with a certificate that nobody has signed. This is the file of it."""
    mail.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = self_signed(tmp_path)
    mail.tls.load_cert_chain(certificate, key)
    return certificate


@pytest.fixture
def asked(deliver, work, follow_ups):
    """What became of the one follow-up of a payment."""

    def run(**data):
        deliver("payment.success", event_id="evt_1", transaction_id="TXN-7", data=PAID | data)
        work()
        [row] = follow_ups("evt_1")
        return row

    return run


def test_nothing_is_sent_until_it_is_configured(perform, follow_ups):
    row = perform("payment.success", transaction_id="TXN-7", data=PAID)

    assert follow_ups(row.event_id) == []


def test_a_payment_brings_one_receipt_however_often_its_handler_runs(perform, mail, follow_ups):
    row = perform("payment.success", transaction_id="TXN-7", data=PAID)

    [message], [asked] = mail.messages, follow_ups(row.event_id)
    assert (message["To"], message["Message-ID"]) == ("siti@example.com", f"<{asked.event_id}@company.example>")
    assert "MYR 99.50" in message.get_content()


def test_the_core_system_hears_of_a_payment_with_an_idempotency_key(perform, core, follow_ups):
    row = perform("payment.success", transaction_id="TXN-7", data=PAID)

    [call], [asked] = core.calls, follow_ups(row.event_id)
    assert call.body == {"transaction_id": "TXN-7", "amount": "99.50", "currency": "MYR"}
    assert (call.headers["idempotency-key"], call.headers["authorization"]) == (asked.event_id, "Bearer token")


@pytest.mark.parametrize(("answer", "state"), [(409, "processed"), (400, "dead"), (500, "pending"), (429, "pending")])
def test_what_its_answer_means(deliver, work, core, follow_ups, answer, state):
    core.answers.append(answer)
    deliver("payment.success", event_id="evt_1", transaction_id="TXN-7", data=PAID)

    work()

    assert [asked.state for asked in follow_ups("evt_1")] == [state]


def test_a_core_system_that_is_down_is_left_alone_for_a_while_and_no_attempt_is_charged(
    deliver, work, core, follow_ups, clock
):
    core.answers.extend([503] * 5)
    for number in range(7):
        deliver("payment.success", event_id=f"evt_{number}", transaction_id=f"TXN-{number}", data=PAID)

    work()

    [put_off] = follow_ups("evt_6")
    assert (len(core.calls), put_off.state, put_off.attempts) == (5, "pending", 0)
    assert put_off.due_at - clock.now() > timedelta(seconds=30)


def test_no_receipt_is_asked_for_without_a_sender(perform, mail, follow_ups, monkeypatch):
    monkeypatch.delenv("RECEIPT_FROM")

    assert follow_ups(perform("payment.success", transaction_id="TXN-7", data=PAID).event_id) == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_mail_server_is_spoken_to_only_with_a_certificate_that_is_trusted(
    deliver, work, follow_ups, mail, certificate, monkeypatch, scheme, clock
):
    monkeypatch.setenv("SMTP_URL", mail.url.replace("smtp", scheme))
    if scheme == "smtps":
        mail.socket = mail.tls.wrap_socket(mail.socket, server_side=True)
        mail.tls = None
    deliver("payment.success", event_id="evt_1", transaction_id="TXN-7", data=PAID)

    work()
    [refused] = follow_ups("evt_1")
    assert (refused.state, "SSLCertVerificationError" in refused.last_error, mail.messages) == ("pending", True, [])

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    clock.advance(hours=1)
    work()
    assert ([row.state for row in follow_ups("evt_1")], len(mail.messages)) == (["processed"], 1)


def test_a_password_is_not_sent_without_tls(asked, mail, monkeypatch):
    monkeypatch.setenv("SMTP_URL", mail.url.replace("//", "//user:password@"))

    assert (asked().state, mail.commands) == ("dead", ["EHLO", "QUIT"])


@pytest.mark.parametrize(("answer", "state"), [("235 welcome", "processed"), ("535 no", "pending")])
def test_a_connection_ends_however_the_login_does(asked, mail, certificate, monkeypatch, answer, state):
    monkeypatch.setenv("SMTP_URL", mail.url.replace("//", "//user:password@"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    mail.answers["AUTH"] = answer

    assert (asked().state, "AUTH" in mail.commands, mail.commands[-1]) == (state, True, "QUIT")


@pytest.mark.parametrize(("answer", "state"), [("550 nobody", "dead"), ("450 later", "pending")])
def test_what_a_refused_recipient_means(asked, mail, answer, state):
    mail.answers["RCPT"] = answer

    assert (asked().state, mail.messages) == (state, [])


NO_ADDRESSES = [
    " ", "siti", "siti@", "@example.com", "a@x.com, b@y.com", "a@x.com b@y.com", "a@x.com;b@y.com", "g: a@x.com;",
    "Siti <siti@example.com>", "siti@example.com\nBcc: b@y.com", "siti@example.com\n", "siti@exämple.com", "sití@x.com",
    "a..b@x.com", "a@x..com", "a" * 250 + "@x.com",
]  # fmt: skip


def test_what_is_not_one_address_is_dead_at_once_and_quoted_nowhere(deliver, work, stored, mail, follow_ups):
    for number, email in enumerate(NO_ADDRESSES):
        deliver(
            "payment.success", event_id=f"evt_{number}", transaction_id="T", data=PAID | {"customer": {"email": email}}
        )
    work()

    for number, email in enumerate(NO_ADDRESSES):
        [row] = follow_ups(f"evt_{number}")
        assert (stored(f"evt_{number}").state, row.state) == ("processed", "dead"), email
        assert row.last_error.startswith("PermanentFailure: the customer's e-mail is not one plain address (at "), email
    assert mail.commands == []


def test_a_customer_who_is_odd_does_not_stop_the_money(perform, session, mail, follow_ups):
    for number, customer in enumerate(([], {}, "Siti", {"email": []}, {"email": 7}, {"email": None})):
        row = perform("payment.success", transaction_id=f"TXN-{number}", data=PAID | {"customer": customer})
        assert follow_ups(row.event_id) == [], customer

    assert [payment.amount for payment in session.scalars(sa.select(Payment))] == [Decimal("99.50")] * 6


@pytest.mark.parametrize("unknown", ["amount", "currency"])
def test_what_is_not_known_is_not_told(perform, mail, core, unknown):
    perform("payment.success", transaction_id="TXN-7", data=PAID | {unknown: None})

    known = {"amount": "99.50", "currency": "MYR"}
    del known[unknown]
    assert (mail.messages, [call.body for call in core.calls]) == ([], [{"transaction_id": "TXN-7", **known}])


def test_an_amount_is_written_without_an_exponent(perform, mail, core):
    for amount in ("1E+2", 100, "0E-9999999"):
        perform("payment.success", transaction_id="TXN-7", data=PAID | {"amount": amount})

    assert [call.body["amount"] for call in core.calls] == ["100", "100", "0"]
    assert ["MYR 100. " in message.get_content() for message in mail.messages] == [True, True, False]


def test_a_redirect_is_not_followed(deliver, work, core, follow_ups):
    statuses = [301, 302, 303, 307, 308]
    core.answers.extend(statuses)
    core.location = f"{core.url}elsewhere"
    for number in range(5):
        deliver("payment.success", event_id=f"evt_{number}", transaction_id="TXN-7", data=PAID)
    work()

    rows = [row for number in range(5) for row in follow_ups(f"evt_{number}")]
    assert [row.state for row in rows] == ["dead"] * 5
    assert sorted(row.last_error.split(" (")[0][-3:] for row in rows) == [str(status) for status in statuses]
    assert len(core.calls) == 5


def test_an_answer_that_is_no_http_counts_as_a_failure(asked, core):
    core.answers.append("nonsense\r\n\r\n")

    assert (asked().state, core_system.circuit.failures) == ("pending", 1)
