"""A receipt by e-mail after a payment. It is off until both of these are set.

SMTP_URL=smtps://user:password@mail.example.com:465     or smtp://…:587, which uses STARTTLS where it is offered
RECEIPT_FROM=receipts@your-company.example

The mail server's certificate is checked. No password is sent without TLS.
"""

import os
import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from receiver import Event, PermanentFailure, follows_up

TIMEOUT_SECONDS = 10
LONGEST_ADDRESS = 254
_WORD = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"{_WORD}(\.{_WORD})*@[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII | re.IGNORECASE)


def are_on() -> bool:
    """Whether receipts are sent."""
    return bool(os.environ.get("SMTP_URL") and os.environ.get("RECEIPT_FROM"))


@follows_up("receipt.send")
def send_receipt(event: Event) -> None:
    """Send it. The Message-ID is the idempotency key: a mailbox shows a message that comes twice once."""
    if not are_on():
        raise PermanentFailure("SMTP_URL or RECEIPT_FROM is not set")
    sender, message = os.environ["RECEIPT_FROM"], EmailMessage()
    message["Message-ID"] = f"<{event.id}@{sender.rpartition('@')[2]}>"
    message["From"], message["To"] = sender, _one_address(event.data.get("to"))
    message["Subject"] = f"Your payment {event.transaction_id}"
    message.set_content(f"We received {event.data['currency']} {event.data['amount']}. Thank you.")
    with _mail_server() as server:
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            if all(code >= 500 for code, _ in error.recipients.values()):
                raise PermanentFailure("the mail server refused the customer's address") from error
            raise


def _one_address(to: object) -> str:
    """The address. Raises PermanentFailure for a list, a name, a newline and all else that is not one plain address."""
    if not isinstance(to, str) or len(to) > LONGEST_ADDRESS or not _ADDRESS.fullmatch(to):
        raise PermanentFailure("the customer's e-mail is not one plain address")
    return to


@contextmanager
def _mail_server() -> Iterator[smtplib.SMTP]:
    """A connection that is ready to send. It ends with the block, however that ends."""
    address, tls = urlsplit(os.environ["SMTP_URL"]), ssl.create_default_context()
    host, port = address.hostname or "", address.port or 0
    if address.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=tls)
    else:
        server = smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
    with server:
        server.ehlo()
        if address.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=tls)
        if address.username:
            if not isinstance(server.sock, ssl.SSLSocket):
                raise PermanentFailure("SMTP_URL has a user, but the mail server offers no TLS")
            server.login(unquote(address.username), unquote(address.password or ""))
        yield server
