"""The first delivery to a deploy, as the platform's router passes it on, and what became of it."""

from collections.abc import Mapping

import sqlalchemy as sa

from receiver.clock import Clock
from receiver.config import load_settings
from receiver.sandbox.samples import sample
from receiver.sandbox.sender import Answer, Sender, post_over_http
from receiver.store.models import StoredEvent

NAMES_THE_CLIENT = ("X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "DO-Connecting-IP", "Fly-Client-IP")


def deliver(url: str, environment: Mapping[str, str]) -> Answer:
    """What is answered to a signed event that came to the router over HTTPS, from somewhere else."""
    settings, clock = load_settings(environment), Clock()
    routed = {"X-Forwarded-Proto": "https"} | dict.fromkeys(NAMES_THE_CLIENT, "203.0.113.7")

    def post(address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return post_over_http(address, body, {**headers, **routed})

    payload = sample("payment.success", fields=settings.payload_fields, now=clock.now())
    return Sender(url, settings.scheme, settings.signature_keys[0], clock, post).deliver(payload)


def states(url: str) -> list[str]:
    """The states of the events in the database."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(StoredEvent.state)))
