"""Which of several webhook secrets is in use: a rotation is over when the sender uses the new one alone (§4).

Nothing is kept while there is one secret. A row is named by a keyed digest of its secret, so a copy of the database
tells nobody the secret. The uses stay in memory, and are written once a minute, beside the deliveries.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from receiver.config import Settings
from receiver.database.causes import cause_of
from receiver.database.engine import writing
from receiver.database.insert import insert_into
from receiver.privacy.sealing import body_digest
from receiver.store.models import WebhookSecret

WRITE_INTERVAL = timedelta(minutes=1)
log = structlog.get_logger()


def secret_digests(settings: Settings) -> list[str]:
    """The names of the secrets' rows, the newest secret first. Empty where there is one secret."""
    if len(settings.webhook_secrets) < 2:
        return []
    secrets = (secret.encode() for secret in settings.webhook_secrets)
    return [body_digest(b"webhook secret: " + secret, settings.payload_keys) for secret in secrets]


class SecretsInUse:
    """What one process has seen: when each secret was used last."""

    def __init__(self, settings: Settings) -> None:
        self._digests = secret_digests(settings)
        self._used: dict[int, datetime] = {}
        self._write_at: datetime | None = None

    def note(self, secret: int, now: datetime) -> bool:
        """Note one use. Says whether it is time to write."""
        if not self._digests:
            return False
        is_first = secret not in self._used
        self._used[secret] = now
        return is_first or self._write_at is None or now >= self._write_at

    def write(self, engine: Engine, now: datetime) -> None:
        """Keep what was seen. Best effort: after an error it is written the next time."""
        if not self._used:
            return
        self._write_at = now + WRITE_INTERVAL
        try:
            self._write(engine, now)
        except SQLAlchemyError as error:
            log.warning("secrets_not_noted", error=cause_of(error))

    def _write(self, engine: Engine, now: datetime) -> None:
        """Each secret that is set has a row, and no other: one that comes back begins anew."""
        rows = [(digest, self._used.get(number)) for number, digest in enumerate(self._digests)]
        with writing(engine) as session:
            session.execute(sa.delete(WebhookSecret).where(WebhookSecret.digest.not_in(self._digests)))
            for digest, used_at in sorted(rows, key=lambda row: row[0]):  # all writers lock the rows in one order
                insert = insert_into(WebhookSecret, engine.dialect.name)
                insert = insert.values(digest=digest, known_since=now, used_at=used_at)
                is_later = insert.excluded.used_at > sa.func.coalesce(WebhookSecret.used_at, WebhookSecret.known_since)
                later = {"used_at": insert.excluded.used_at}
                session.execute(insert.on_conflict_do_update(index_elements=["digest"], set_=later, where=is_later))
