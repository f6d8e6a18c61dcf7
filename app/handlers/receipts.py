"""A receipt by e-mail after a payment. It is off until SMTP_URL is set.

SMTP_URL=smtps://user:password@mail.example.com:465     or smtp://…:587, which uses STARTTLS where it is offered
RECEIPT_FROM=receipts@your-company.example
"""

import os
import smtplib
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from receiver import Event, PermanentFailure, follows_up

TIMEOUT_SECONDS = 10


def are_on() -> bool:
    """Whether receipts are sent."""
    return bool(os.environ.get("SMTP_URL"))


@follows_up("receipt.send")
def send_receipt(event: Event) -> None:
    """Send it. The Message-ID is the idempotency key: a mailbox shows a message that comes twice once."""
    sender = os.environ.get("RECEIPT_FROM", "")
    if not sender:
        raise PermanentFailure("RECEIPT_FROM is not set")
    message = EmailMessage()
    message["Message-ID"] = f"<{event.id}@{sender.rpartition('@')[2]}>"
    message["From"], message["To"] = sender, event.data["to"]
    message["Subject"] = f"Your payment {event.transaction_id}"
    message.set_content(f"We received {event.data['currency']} {event.data['amount']}. Thank you.")
    with _mail_server() as server:
        server.send_message(message)


def _mail_server() -> smtplib.SMTP:
    address = urlsplit(os.environ["SMTP_URL"])
    kind = smtplib.SMTP_SSL if address.scheme == "smtps" else smtplib.SMTP
    server = kind(address.hostname or "", address.port or 0, timeout=TIMEOUT_SECONDS)
    server.ehlo()
    if address.scheme == "smtp" and server.has_extn("starttls"):
        server.starttls()
    if address.username:
        server.login(unquote(address.username), unquote(address.password or ""))
    return server
