"""What handlers ask for outside the database: a receipt by e-mail, and a call of the core system."""

from datetime import timedelta

import pytest

from app.handlers import core_system

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
